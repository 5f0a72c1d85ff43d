//! Who runs the loops: one thread together while there is little to do, a thread each under load.
//!
//! ```text
//!  together:   captain ──► loop 0, loop 1, … loop n      no message crosses a thread
//!                 │  busy for a while, and there are processors for more threads
//!                 ▼  ▲  all threads together have little to do, or little to do it with
//!  spread:     captain ──► loop 0     mate 1 ──► loop 1     …     mate n ──► loop n
//! ```
//! Handing a message to another thread that sleeps costs more than all the rest of its way. So a
//! broker with little to do is one thread, whatever the number of workers, and wakes once for a
//! message; one with much to do uses every core that others leave it. The loops do not notice: a
//! loop is moved whole.

use crate::net::event_loop::{EventLoop, Then};
use crate::net::headroom::Headroom;
use crate::net::shared::Shared;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Over this time it is judged how busy the captain is.
const CAPTAIN_SPAN: Duration = Duration::from_millis(20);
/// Over this time it is judged whether the mates are needed.
const MATE_SPAN: Duration = Duration::from_millis(1000);
/// Percent of its time the captain may be busy before the loops are spread.
const SPREAD_ABOVE: u32 = 85;
/// Percent of one thread all threads together may be busy for loops to come back…
const GATHER_BELOW: u32 = 50;
/// …and where turns are small.
const GATHER_SMALL_BELOW: u32 = 120;
/// Messages below which a turn is small.
const SMALL_TURN: u64 = 6;

/// The thread that runs loop 0 always and the others when there is little to do.
pub(crate) struct Captain {
    shared: Arc<Shared>,
    /// The loops this thread runs; loop 0 is the first.
    aboard: Vec<EventLoop>,
    /// Waits for all loops at once.
    watch: Poll,
    fds: Vec<RawFd>,
    mates: Vec<Option<Mate>>,
    meter: Meter,
    /// Since this thread is busy, or it was looked last.
    headroom: Option<Headroom>,
}

struct Mate {
    orders: Sender<EventLoop>,
    thread: JoinHandle<io::Result<()>>,
}

impl Captain {
    /// A crew for these loops, of which the first is worker 0's.
    ///
    /// # Errors
    /// The system gives no readiness facility.
    pub(crate) fn new(shared: Arc<Shared>, mut loops: Vec<EventLoop>) -> io::Result<Self> {
        let watch = Poll::new()?;
        let mut fds = Vec::new();
        for (at, each) in loops.iter_mut().enumerate() {
            let fd = each.poll_fd();
            watch.registry().register(&mut SourceFd(&fd), Token(at), Interest::READABLE)?;
            fds.push(fd);
        }
        let mates = loops.iter().map(|_| None).collect();
        let meter = Meter::new(CAPTAIN_SPAN);
        let mut this = Self { shared, aboard: loops, watch, fds, mates, meter, headroom: None };
        this.say_together();
        Ok(this)
    }

    /// Runs until the broker stops.
    ///
    /// # Errors
    /// A loop fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            self.take_home();
            if self.aboard.is_empty() {
                break;
            }
            let together = self.aboard.len() > 1;
            let idle = if together { self.run_together(&mut events)? } else { self.run_alone()? };
            if let Some(busy) = self.meter.add(idle) {
                self.shared.busy[0].store(busy, Ordering::Relaxed);
                // All may have stopped meanwhile.
                if together && !self.aboard.is_empty() && self.wants_mates(busy) {
                    self.spread()?;
                }
            }
        }
        drop(self.aboard);
        for mate in self.mates.into_iter().flatten() {
            drop(mate.orders);
            if let Ok(result) = mate.thread.join() {
                result?;
            }
        }
        Ok(())
    }

    /// Whether there is too much to do for one thread, and another would get something done.
    fn wants_mates(&mut self, busy: u32) -> bool {
        if busy <= SPREAD_ABOVE {
            self.headroom = None;
            return false;
        }
        let Some(usage) = self.headroom.get_or_insert_with(Headroom::watch).usage() else {
            return false;
        };
        let (room, denied) = (usage.has_room(), usage.is_denied());
        self.shared.denied.store(denied && !room, Ordering::Relaxed);
        room || denied
    }

    /// Runs the only loop aboard; how long it slept.
    fn run_alone(&mut self) -> io::Result<Duration> {
        let Some(first) = self.aboard.first_mut() else {
            return Ok(Duration::ZERO);
        };
        let (then, slept) = first.turn_metered()?;
        if then == Then::Stopped {
            self.aboard.clear();
        }
        Ok(slept)
    }

    /// Runs all loops that have something to do until none has; how long it slept before.
    fn run_together(&mut self, events: &mut Events) -> io::Result<Duration> {
        let before = Instant::now();
        match self.watch.poll(events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        let slept = before.elapsed();
        let mut wanted: u64 = 0;
        for event in events.iter() {
            wanted |= 1 << (event.token().0 % 64);
        }
        let mut mailed: u64 = 0;
        while wanted | mailed != 0 {
            let mut again = 0;
            let mut stopped = false;
            for each in &mut self.aboard {
                let bit = bit(each);
                let then = match (wanted & bit, mailed & bit) {
                    (0, 0) => continue,
                    (0, _) => each.turn_for_mail(),
                    _ => each.turn(false)?,
                };
                match then {
                    Then::Again => again |= bit,
                    Then::Wait => {}
                    Then::Stopped => stopped = true,
                }
            }
            if stopped {
                self.aboard.retain(|each| !each.has_stopped());
            }
            wanted = again;
            mailed =
                self.aboard.iter().filter(|each| each.has_mail()).fold(0, |all, it| all | bit(it));
            if self.meter.is_over() {
                // Under load this never ends by itself; the meter has to be read.
                self.rewatch(wanted | mailed);
                break;
            }
        }
        Ok(slept)
    }

    /// Has the loops that have work left turn up again at the next look.
    fn rewatch(&mut self, wanted: u64) {
        for each in &self.aboard {
            if wanted & bit(each) != 0 {
                self.shared.mailboxes[usize::from(each.index())].wake();
            }
        }
    }

    /// Gives every loop but the first a thread of its own.
    fn spread(&mut self) -> io::Result<()> {
        for mut each in self.aboard.split_off(1) {
            let index = usize::from(each.index());
            self.watch.registry().deregister(&mut SourceFd(&self.fds[index]))?;
            each.set_together(false);
            self.shared.mailboxes[index].set_together(false);
            // What came while nobody rang.
            self.shared.mailboxes[index].wake();
            if self.mates[index].is_none() {
                self.mates[index] = Some(Mate::hire(index, Arc::clone(&self.shared))?);
            }
            if let Some(mate) = &self.mates[index] {
                // It fails only if the mate has died, and then its loop died with it.
                let _ = mate.orders.send(each);
            }
        }
        self.say_together();
        Ok(())
    }

    /// Takes back the loops whose mates have too little to do.
    fn take_home(&mut self) {
        if !self.shared.any_home.swap(false, Ordering::AcqRel) {
            return;
        }
        let home =
            std::mem::take(&mut *self.shared.home.lock().unwrap_or_else(PoisonError::into_inner));
        for each in home {
            let index = usize::from(each.index());
            let fd = SourceFd(&self.fds[index]);
            let mut fd = fd;
            if self.watch.registry().register(&mut fd, Token(index), Interest::READABLE).is_ok() {
                self.aboard.push(each);
            }
        }
        self.say_together();
        for each in &self.aboard {
            self.shared.mailboxes[usize::from(each.index())].wake();
        }
    }

    fn say_together(&mut self) {
        let together = self.aboard.len() > 1;
        for each in &mut self.aboard {
            each.set_together(together);
            self.shared.mailboxes[usize::from(each.index())].set_together(together);
        }
    }
}

impl Mate {
    fn hire(index: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let (orders, work) = channel();
        let name = format!("mogi-{index}");
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || Self::serve(index, &shared, &work))?;
        Ok(Self { orders, thread })
    }

    fn serve(index: usize, shared: &Shared, work: &Receiver<EventLoop>) -> io::Result<()> {
        while let Ok(mut each) = work.recv() {
            let mut meter = Meter::new(MATE_SPAN);
            let mut headroom = Headroom::watch();
            loop {
                let (then, slept) = each.turn_metered()?;
                if then == Then::Stopped {
                    return Ok(());
                }
                if let Some(busy) = meter.add(slept) {
                    shared.busy[index].store(busy, Ordering::Relaxed);
                    let stopping = shared.stopping.load(Ordering::Acquire);
                    let idle = shared.total_busy() < gather_below(each.messages_per_turn());
                    let scarce = headroom.usage().is_some_and(|usage| usage.is_scarce());
                    let denied = shared.denied.load(Ordering::Relaxed);
                    if !stopping && (idle || scarce && !denied) {
                        break;
                    }
                }
            }
            shared.busy[index].store(0, Ordering::Relaxed);
            shared.home.lock().unwrap_or_else(PoisonError::into_inner).push(each);
            shared.any_home.store(true, Ordering::Release);
            shared.mailboxes[0].wake();
        }
        Ok(())
    }
}

/// A loop's bit in a set of loops.
fn bit(each: &EventLoop) -> u64 {
    1 << (u64::from(each.index()) % 64)
}

/// Percent of one thread all threads together may be busy for loops to come back. Turns of few
/// messages cost more than twice as much on several threads as they will on one.
const fn gather_below(messages_per_turn: u64) -> u32 {
    if messages_per_turn < SMALL_TURN { GATHER_SMALL_BELOW } else { GATHER_BELOW }
}

/// How busy a thread is.
struct Meter {
    span: Duration,
    since: Instant,
    slept: Duration,
}

impl Meter {
    fn new(span: Duration) -> Self {
        Self { span, since: Instant::now(), slept: Duration::ZERO }
    }

    /// Adds time slept; at the end of a span, the percentage of it the thread was busy.
    fn add(&mut self, slept: Duration) -> Option<u32> {
        self.slept += slept;
        let elapsed = self.since.elapsed();
        if elapsed < self.span {
            return None;
        }
        let idle = self.slept.as_micros() * 100 / elapsed.as_micros().max(1);
        *self = Self::new(self.span);
        Some(100u32.saturating_sub(idle as u32))
    }

    /// Whether the span is over.
    fn is_over(&self) -> bool {
        self.since.elapsed() >= self.span
    }
}
