//! Takes requests to the Redis node that has their slot, and brings the replies back.
//!
//! ```text
//!  send ─► inbox ─► driver ─┬─ lane (node A, ordered) ─► connection: one pipeline in flight
//!  (any thread)       │     ├─ lane (node A, aside)   ─► connection
//!  done ◄─────────────┘     └─ lane (node B, ordered) ─► …
//!                           scout: asks any node who has which slots
//! ```
//! Everything below `send` runs on one thread of its own. While a node's pipeline is out, what
//! comes for this node gathers and is its next one; so the busier, the fewer round trips.
//!
//! What a request may rely on:
//!
//! * Requests of one slot are carried out in the order of `send`, also over moved slots, failed
//!   connections and failovers. Two exceptions, both while a server refuses commands one by one:
//!   a slot that is moving (`ASK`) keeps order per key only for what was already in flight, and
//!   requests marked [`Request::frees`] overtake those refused for want of memory.
//! * Nothing is given up: what a server's *state* refuses (`CLUSTERDOWN`, `LOADING`, `OOM`, a
//!   changed password …) is sent again until it is carried out, and a [`Notice`] says so. Errors
//!   of a command itself (`WRONGTYPE`, those of scripts) are its [`Value`].
//! * What is *ambiguous*, sent and not answered when a connection ended, is sent again as
//!   [`Request::again`]. Nothing else is.
//! * A node that is slow or dead delays requests for its own slots only.
//!
//! A map: [`options`] and [`notice`]: what goes in and comes out beside requests; `commands`,
//! `value`, `slot`, `refusal`: the protocol; `driver`: the thread and its events; `track`: who
//! waits for whom; `line` and `lane`: what waits for one node, and its connection; `job`: a
//! request on its way; `topology` and `scout`: who has which slots; `troubles`: what is wrong;
//! `connect`, `tls`: connections.

mod commands;
mod connect;
mod driver;
mod job;
mod lane;
mod line;
pub mod notice;
pub mod options;
mod refusal;
mod scout;
mod slot;
mod tls;
mod topology;
mod track;
mod troubles;
mod value;

pub use commands::Commands;
pub use notice::{Notice, Refusal, Trouble};
pub use options::{Address, Depth, Library, Mode, Options, Secret, Tls, UrlError, Wait};
pub use slot::{SLOTS, slot_of};
pub use value::{ServerError, Value};

use job::Job;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

/// What to carry out on the keys of one slot.
#[derive(Clone, Debug)]
pub struct Request {
    /// The slot of all its keys, see [`slot_of`]; below [`SLOTS`].
    pub slot: u16,
    /// What to send; at least one command. No commands that block, and none that change the
    /// connection (`SELECT`, `MULTI`, `SUBSCRIBE`, `CLIENT REPLY` …).
    pub first: Commands,
    /// Between `MULTI` and `EXEC`: all of `first` or nothing. The replies are the commands' own.
    pub atomic: bool,
    /// What to send instead when it is not known whether `first` was carried out: the connection
    /// ended, or timed out, before the answer. `None`: `first` may be carried out twice.
    pub again: Option<Commands>,
    /// Answer only when also [`Options::wait`] replicas have it.
    pub durable: bool,
    /// Not in order with the other requests of its slot, on a connection of its own: for reads
    /// that must not wait behind writes.
    pub aside: bool,
    /// Gives memory back: overtakes requests of its slot that are refused with `OOM`.
    pub frees: bool,
}

impl Request {
    /// One that is sent in order and answered when the master has carried it out.
    #[must_use]
    pub const fn new(slot: u16, first: Commands) -> Self {
        Self { slot, first, atomic: false, again: None, durable: false, aside: false, frees: false }
    }
}

/// A request has been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// One value for each command of what was sent, in order; [`Value::ServerError`] for a
    /// command that failed.
    pub values: Vec<Value>,
    /// They are those of [`Request::again`], not of [`Request::first`].
    pub again: bool,
}

/// A request has no reply. Whether it was carried out is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The [`Cluster`] was dropped.
    Closed,
    /// Longer than the caller of [`Cluster::call`] would wait. It may still be carried out.
    TimedOut,
}

/// What comes of a request.
pub type Outcome = Result<Reply, Fault>;

/// Connections to a Redis server, or to all masters of a cluster. Dropping it ends them; what
/// has not been answered gets [`Fault::Closed`].
pub struct Cluster {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Starts the thread, which connects by itself; requests wait until it has.
    ///
    /// `on_notice` runs on that thread.
    ///
    /// # Errors
    /// If a file of [`Options::tls`] cannot be used, there is no seed, or no thread can start.
    pub fn start(
        options: Options,
        on_notice: impl FnMut(Notice) + Send + 'static,
    ) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::default());
        let driver = driver::Driver::new(options, Arc::clone(&inbox), Box::new(on_notice))?;
        let thread = std::thread::Builder::new().name("redis".to_owned());
        let thread = Some(thread.spawn(move || driver.run())?);
        Ok(Self { inbox, thread })
    }

    /// Sends a request; never waits. `done` runs on the layer's thread: it must be quick, and
    /// must not wait for another request.
    ///
    /// What is queued is counted, see [`Self::pending_bytes`]; the caller limits it.
    pub fn send(&self, request: Request, done: impl FnOnce(Outcome) + Send + 'static) {
        self.inbox.push([Job::new(request, Box::new(done))]);
    }

    /// Sends all requests at once, and waits for all replies; they have the requests' order.
    ///
    /// # Errors
    /// [`Fault::TimedOut`] if not all have come after `patience`.
    pub fn call(&self, requests: Vec<Request>, patience: Duration) -> Result<Vec<Reply>, Fault> {
        self.ask(requests).wait(patience)
    }

    /// Sends all requests at once; whoever asks may do something else before it waits.
    pub fn ask(&self, requests: Vec<Request>) -> Asked {
        let (sender, replies) = mpsc::channel();
        let jobs = requests.into_iter().enumerate().map(|(index, request)| {
            let sender = sender.clone();
            // Nobody listens any more if the time was up.
            Job::new(request, Box::new(move |outcome| drop(sender.send((index, outcome)))))
        });
        let jobs: Vec<_> = jobs.collect();
        let (left, found) = (jobs.len(), jobs.iter().map(|_| None).collect());
        self.inbox.push(jobs);
        Asked { replies, found, left }
    }

    /// Bytes of all requests that have not been answered.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.inbox.pending_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.inbox.close();
        let thread = self.thread.take();
        // The last owner may be a `done`, which runs there.
        let elsewhere = |it: &JoinHandle<()>| it.thread().id() != std::thread::current().id();
        if let Some(thread) = thread.filter(elsewhere) {
            // It has said why it panicked, if it did.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("pending_bytes", &self.pending_bytes()).finish()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection to Redis was closed",
            Self::TimedOut => "Redis did not answer in time",
        })
    }
}

impl std::error::Error for Fault {}

/// Requests that were sent.
#[derive(Debug)]
pub struct Asked {
    replies: mpsc::Receiver<(usize, Outcome)>,
    found: Vec<Option<Reply>>,
    left: usize,
}

impl Asked {
    /// Waits for all replies; they have the requests' order.
    ///
    /// # Errors
    /// [`Fault::TimedOut`] if not all have come after `patience`; they can be waited for again.
    pub fn wait(&mut self, patience: Duration) -> Result<Vec<Reply>, Fault> {
        let deadline = Instant::now() + patience;
        while self.left > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let (index, outcome) =
                self.replies.recv_timeout(left).map_err(|error| match error {
                    mpsc::RecvTimeoutError::Timeout => Fault::TimedOut,
                    mpsc::RecvTimeoutError::Disconnected => Fault::Closed,
                })?;
            self.left -= 1;
            if let Some(place) = self.found.get_mut(index) {
                *place = Some(outcome?);
            }
        }
        Ok(std::mem::take(&mut self.found).into_iter().flatten().collect())
    }
}

/// From the threads that send to the one that drives.
#[derive(Default)]
struct Inbox {
    jobs: Mutex<(Vec<Job>, bool)>,
    wake: Notify,
    pending_bytes: AtomicUsize,
}

impl Inbox {
    fn push(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut guard = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let (waiting, closed) = &mut *guard;
        if *closed {
            drop(guard);
            jobs.into_iter().for_each(|job| job.fail(Fault::Closed));
            return;
        }
        let idle = waiting.is_empty();
        for job in jobs {
            self.pending_bytes.fetch_add(job.size(), Ordering::Relaxed);
            waiting.push(job);
        }
        let wake = idle && !waiting.is_empty();
        drop(guard);
        if wake {
            self.wake.notify_one();
        }
    }

    /// What has come; `false` after the end.
    fn take(&self, into: &mut Vec<Job>) -> bool {
        let mut guard = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        into.append(&mut guard.0);
        !guard.1
    }

    /// Answers a request.
    fn finish(&self, job: Job) {
        self.pending_bytes.fetch_sub(job.size(), Ordering::Relaxed);
        job.finish();
    }

    fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.wake.notify_one();
    }
}

/// The driver's ends of a lane that was started.
struct Opened {
    /// No other of its track has had it.
    id: u64,
    orders: UnboundedSender<lane::Order>,
    /// Gives up the pipeline that is out.
    kill: Arc<Notify>,
}
