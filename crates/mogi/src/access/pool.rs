//! Threads that check passwords or ask services, as that takes time a worker does not have.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Checks that wait, beyond which clients are refused.
const MAX_WAITING: usize = 4096;

/// Something to be done elsewhere.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A few threads, started when there is something to do.
pub(crate) struct Pool {
    limit: usize,
    name: &'static str,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    queue: Mutex<Queue>,
    bell: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    /// `name`: what the threads are called, with their number behind it.
    pub(crate) fn new(threads: u16, name: &'static str) -> Self {
        Self { limit: usize::from(threads.max(1)), name, state: Arc::default() }
    }

    /// Has something done; `false`: there is too much to do already.
    pub(crate) fn submit(&self, job: Job) -> bool {
        let mut queue = self.state.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.jobs.len() >= MAX_WAITING {
            return false;
        }
        queue.jobs.push_back(job);
        if queue.idle < queue.jobs.len() && queue.threads < self.limit {
            let state = Arc::clone(&self.state);
            let name = format!("{}-{}", self.name, queue.threads);
            match std::thread::Builder::new().name(name).spawn(move || state.work()) {
                Ok(_) => queue.threads += 1,
                Err(_) if queue.threads > 0 => {}
                Err(_) => {
                    queue.jobs.pop_back();
                    return false;
                }
            }
        }
        drop(queue);
        self.state.bell.notify_one();
        true
    }
}

impl State {
    fn work(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            }
            queue.idle += 1;
            queue = self.bell.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn everything_is_done_by_no_more_threads_than_allowed() {
        let pool = Pool::new(2, "test");
        let (done, results) = channel();
        for number in 0..100 {
            let done = done.clone();
            let job = move || done.send((number, std::thread::current().id())).expect("sent");
            assert!(pool.submit(Box::new(job)));
        }
        let results: Vec<_> = results.iter().take(100).collect();
        let threads: std::collections::HashSet<_> = results.iter().map(|it| it.1).collect();
        assert!(threads.len() <= 2);
        assert_eq!(results.iter().map(|it| it.0).sum::<i32>(), 99 * 100 / 2);
    }
}
