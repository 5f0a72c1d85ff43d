//! Blocking calls, and what failed in words.

use super::wire::{Address, Asked, Cluster, Fault, Notice, Options, Reply, Request, Trouble, Wait};
use crate::error::{ErrorKind, StoreError};
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a blocking call waits for Redis.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests of one blocking call; more go in several.
const REQUESTS: usize = 4096;

/// Who else is told of notices.
type Listener = Box<dyn FnMut(&Notice) + Send>;

/// A connection to Redis for those who may wait.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) cluster: Arc<Cluster>,
    /// Where that is, for people.
    pub(super) place: String,
    /// Who has to have what is durable.
    pub(super) wait: Option<Wait>,
    state: Arc<Mutex<State>>,
    listener: Arc<Mutex<Option<Listener>>>,
}

/// What it has told is wrong.
#[derive(Default)]
struct State {
    /// What came last, unless that is over.
    trouble: Option<String>,
    /// Nodes that lack replicas, or disks.
    lacking: HashSet<Address>,
    /// Replicas of all masters.
    replicas: usize,
}

impl State {
    fn note(&mut self, notice: &Notice) {
        self.trouble = match notice {
            Notice::Degraded { .. } => Some(notice.to_string()),
            _ => None,
        };
        match notice {
            Notice::Degraded { node, why, .. } if is_lack(why) => {
                self.lacking.insert(node.clone());
            }
            Notice::Recovered { node, why, .. } if is_lack(why) => {
                self.lacking.remove(node);
            }
            Notice::Topology { replicas, .. } => self.replicas = *replicas,
            _ => {}
        }
    }
}

/// Whether everything is well but for those who are to have what is written as well.
const fn is_lack(why: &Trouble) -> bool {
    matches!(why, Trouble::Replicas { .. } | Trouble::Unsynced { .. })
}

impl Link {
    /// Connects when it is needed.
    ///
    /// # Errors
    /// As of [`Cluster::start`].
    pub(super) fn start(options: Options) -> Result<Self, StoreError> {
        let (place, wait) = (place(&options), options.wait);
        let state: Arc<Mutex<State>> = Arc::default();
        let listener: Arc<Mutex<Option<Listener>>> = Arc::default();
        let (of_notice, listening) = (Arc::clone(&state), Arc::clone(&listener));
        let cluster = Cluster::start(options, move |notice| {
            of_notice.lock().unwrap_or_else(PoisonError::into_inner).note(&notice);
            if let Some(listener) = &mut *listening.lock().unwrap_or_else(PoisonError::into_inner) {
                listener(&notice);
            }
        });
        let cluster = cluster.map_err(|error| {
            StoreError::new(ErrorKind::Unreachable, Path::new(&place), error.to_string())
        })?;
        Ok(Self { cluster: Arc::new(cluster), place, wait, state, listener })
    }

    /// From now on this is told of all notices, on the connection's thread.
    pub(super) fn listen(&self, listener: impl FnMut(&Notice) + Send + 'static) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// How many replicas there are, if nobody waits for them.
    pub(super) fn unawaited_replicas(&self) -> usize {
        let waits = self.wait.is_some_and(|wait| wait.is_any());
        if waits { 0 } else { self.state().replicas }
    }

    /// Sends all, and waits for all.
    pub(super) fn call(&self, requests: Vec<Request>) -> Result<Vec<Reply>, StoreError> {
        let mut replies = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter();
        loop {
            let some: Vec<_> = requests.by_ref().take(REQUESTS).collect();
            if some.is_empty() {
                return Ok(replies);
            }
            let some = self.cluster.call(some, PATIENCE).map_err(|fault| self.error(fault))?;
            replies.extend(some);
        }
    }

    /// As [`Self::call`] of requests that are to be durable: as long as all that lacks are those
    /// who are to have them as well, it waits.
    pub(super) fn call_durable(&self, requests: Vec<Request>) -> Result<Vec<Reply>, StoreError> {
        self.call_patiently(requests, PATIENCE)
    }

    fn call_patiently(
        &self,
        requests: Vec<Request>,
        patience: Duration,
    ) -> Result<Vec<Reply>, StoreError> {
        let mut asked = self.cluster.ask(requests);
        loop {
            match asked.wait(patience) {
                Err(Fault::TimedOut) if !self.state().lacking.is_empty() => {}
                result => return result.map_err(|fault| self.error(fault)),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one batch of requests after the other, and calls `take` with each one's replies while
    /// the next is on its way.
    pub(super) fn each<T>(
        &self,
        batches: impl Iterator<Item = (T, Vec<Request>)>,
        mut take: impl FnMut(T, Vec<Reply>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut finish = |(of, mut asked): (T, Asked)| {
            take(of, asked.wait(PATIENCE).map_err(|fault| self.error(fault))?)
        };
        let mut ahead = None;
        for (of, requests) in batches {
            if let Some(before) = ahead.replace((of, self.cluster.ask(requests))) {
                finish(before)?;
            }
        }
        ahead.map_or(Ok(()), finish)
    }

    pub(super) fn error(&self, fault: Fault) -> StoreError {
        let trouble = self.state().trouble.clone();
        let what = match (fault, trouble) {
            (Fault::TimedOut, Some(trouble)) => trouble,
            (fault, _) => fault.to_string(),
        };
        self.told(what)
    }

    pub(super) fn told(&self, what: impl Into<String>) -> StoreError {
        StoreError::new(ErrorKind::Unreachable, Path::new(&self.place), what)
    }
}

/// The address without user and password.
pub(super) fn place(options: &Options) -> String {
    let seeds: Vec<String> = options.seeds.iter().map(ToString::to_string).collect();
    format!("{}://{}", if options.tls.is_some() { "rediss" } else { "redis" }, seeds.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Server;
    use super::super::wire::{Commands, Depth};
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_is_to_be_durable_waits_for_a_replica_that_is_missing() {
        let server = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let timeout = Duration::from_millis(1);
        let wait = Some(Wait { replicas: 1, depth: Depth::Memory, timeout, if_any: false });
        let link = Link::start(Options { wait, ..server.options().connection() });
        let link = link.expect("started");
        let (noticed, notices) = mpsc::channel();
        link.listen(move |notice| drop(noticed.send(notice.to_string())));
        let set = Request::new(15_495, Commands::one(&[b"SET", b"a", b"1"]));
        let request = Request { durable: true, ..set };
        let patience = Duration::from_secs(1);
        let call = std::thread::spawn(move || link.call_patiently(vec![request], patience));
        let within = Duration::from_secs(60);
        while !notices.recv_timeout(within).expect("a notice").contains("0 of the 1 replicas") {}
        // Without patience it would have given up by the time the replica is there.
        std::thread::sleep(2 * patience);
        let port = server.port.to_string();
        let _replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
        let replies = call.join().expect("no panic").expect("durable at last");
        assert_eq!(replies.len(), 1);
    }
}
