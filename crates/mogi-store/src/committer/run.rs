//! What the committer's thread does.

use super::compact::Compactor;
use super::{Answer, Batch, Fetch, Notice, OnAnswer, OnNotice, Pending, Shared};
use crate::error::{ErrorKind, StoreError};
use crate::ops::StoreOp;
use crate::store::Store;
use mogi_core::Wait;
use std::path::Path;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// After a failure: the first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long it is tried again while closing.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// How often housekeeping is done while there is nothing else to do, or all the time.
const TICK_EVERY: Duration = Duration::from_millis(500);

/// Under load, how long a group gathers at most. Each message that is acknowledged within that time
/// need not be written, and the more share a sync, the fewer threads are woken for each: less
/// work for all, and for the disk.
const GATHER: Duration = Duration::from_millis(2);

/// How often it is looked meanwhile whether anything still comes. Where all who publish wait for
/// this group, nothing does.
const GATHER_STEP: Duration = Duration::from_micros(500);

/// Changes from which on that is load.
const GATHER_OPS: u64 = 500;

/// How often it is looked how much the store holds.
const USAGE_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Runner {
    shared: Arc<Shared>,
    store: Box<dyn Store>,
    on_answer: OnAnswer,
    on_notice: OnNotice,
    compactor: Compactor,
    /// Since when the store fails.
    failing: Option<Instant>,
    ticked: Instant,
    measured: Option<Instant>,
    /// How long it may sleep while nothing comes; `None`: for ever.
    sleep: Option<Duration>,
    /// The last group was large, and made up for itself to a good part or took little time: a
    /// larger one is better.
    gathers: bool,
    /// Something was written that nobody waited for, and not synced since.
    lazy: bool,
}

impl Runner {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Box<dyn Store>,
        on_answer: OnAnswer,
        on_notice: OnNotice,
    ) -> Self {
        Self {
            shared,
            store,
            on_answer,
            on_notice,
            compactor: Compactor::default(),
            failing: None,
            ticked: Instant::now(),
            measured: None,
            sleep: Some(Duration::ZERO),
            gathers: false,
            lazy: false,
        }
    }

    /// Works until it is to end.
    pub(super) fn run(mut self) {
        self.measure();
        loop {
            if self.gathers {
                self.gather();
            }
            let taken = self.take();
            let (idle, closing) = (taken.is_empty(), taken.closing);
            if !self.work(taken) || closing {
                break;
            }
            let soon = Duration::from_millis(1);
            let due = self.store.next_tick().is_some_and(|left| left <= soon);
            if idle || due || self.ticked.elapsed() >= TICK_EVERY {
                self.tick(idle);
            }
        }
    }

    /// Lets a group become larger while it does.
    fn gather(&self) {
        let until = Instant::now() + GATHER;
        let mut before = self.shared.ops.load(Ordering::Relaxed);
        loop {
            std::thread::sleep(GATHER_STEP);
            if !self.shared.pending().fetches.is_empty() {
                return;
            }
            let ops = self.shared.ops.load(Ordering::Relaxed);
            if ops.saturating_sub(before) < GATHER_OPS / 10 || Instant::now() >= until {
                return;
            }
            before = ops;
        }
    }

    /// Everything that is pending; waits for it until it is time for housekeeping.
    fn take(&self) -> Pending {
        let mut pending = self.shared.pending();
        let housekeeping = self.sleep.map(|length| Instant::now() + length);
        let wake = &self.shared.wake;
        loop {
            let until = housekeeping.map(|at| at.saturating_duration_since(Instant::now()));
            let wait = match pending.patience() {
                Some(patience) => Some(patience),
                None => until,
            };
            if wait == Some(Duration::ZERO) {
                break;
            }
            pending.sleeping = true;
            pending = match wait {
                Some(length) => {
                    let woken = wake.wait_timeout(pending, length);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => wake.wait(pending).unwrap_or_else(PoisonError::into_inner),
            };
            pending.sleeping = false;
        }
        let closing = pending.closing;
        Pending {
            closing,
            ..std::mem::replace(&mut *pending, Pending { closing, ..Pending::default() })
        }
    }

    /// Commits the group and answers; whether that was done, and not given up.
    fn work(&mut self, taken: Pending) -> bool {
        if !taken.is_empty() {
            self.sleep = Some(TICK_EVERY);
        }
        let Pending { mut batches, turns, mut fetches, bytes, ops, wait, closing, .. } = taken;
        let dropped = self.compactor.compact(&mut batches) as u64;
        let (began, reads) = (Instant::now(), !fetches.is_empty());
        // From here on the group stays as it is: a part of it may be on disk after a failure, and
        // only the same group once more makes a whole of it.
        // What nobody waited for is to be there as well when the broker has ended.
        let wait = if closing { Wait::ForAll } else { wait };
        let done = self.commit(&batches, wait, &mut fetches);
        if let Err(error) = done {
            (self.on_notice)(Notice::Lost { ops, error });
            return false;
        }
        // What takes long by itself gathers the next group by itself; and who reads a long queue
        // asks for the next page soon.
        let pays = !reads && (dropped >= ops / 4 || began.elapsed() < GATHER);
        self.gathers = ops >= GATHER_OPS && pays;
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.ops.fetch_sub(ops, Ordering::Relaxed);
        {
            let status = &mut self.shared.status().0;
            status.ops_compacted += dropped;
            status.ops_written += ops - dropped;
            status.commits += u64::from(wait != Wait::Nobody && ops > dropped);
        }
        for (worker, turn) in turns {
            (self.on_answer)(worker, Answer::Stored { turn });
        }
        // Freeing many messages takes its time: nobody has to wait for it.
        drop(batches);
        fetches.into_iter().all(|fetch| self.answer(fetch))
    }

    /// Writes the group, and syncs it if somebody waits for it. Questions are answered in between:
    /// they need what was written, not that it is durable.
    fn commit(
        &mut self,
        batches: &[Batch],
        wait: Wait,
        fetches: &mut Vec<Fetch>,
    ) -> Result<(), StoreError> {
        let batches: Vec<&[StoreOp]> =
            batches.iter().map(|batch| &batch[..]).filter(|batch| !batch.is_empty()).collect();
        let awaited = match wait {
            // Where changes made up for one another, there is nothing to be durable.
            Wait::Nobody if batches.is_empty() => return Ok(()),
            Wait::ForThis if batches.is_empty() && !self.lazy => return Ok(()),
            Wait::Nobody => false,
            Wait::ForThis | Wait::ForAll => true,
        };
        let mut first = self.store.write(&batches);
        if awaited && first.is_ok() {
            if !fetches.drain(..).all(|fetch| self.answer(fetch)) {
                return Err(StoreError::new(
                    ErrorKind::Io,
                    Path::new("store"),
                    "it cannot be read",
                ));
            }
            first = self.store.sync();
        }
        match first {
            Ok(()) => self.recovered(),
            Err(error) => {
                // It is told even if the next attempt works: a disk that failed once fails again.
                self.fails(&error);
                self.until_done(|store| {
                    if awaited { store.commit(&batches) } else { store.write(&batches) }
                })?;
            }
        }
        self.lazy = !awaited;
        Ok(())
    }

    /// Answers; whether it was not given up.
    fn answer(&mut self, fetch: Fetch) -> bool {
        let Fetch { worker, token, session, entries: wanted } = fetch;
        let mut entries = Vec::with_capacity(wanted.len());
        let done = self.until_done(|store| {
            entries.clear();
            store.fetch(session, &wanted, &mut entries)
        });
        if done.is_ok() {
            self.shared.status().0.fetched += entries.len() as u64;
            (self.on_answer)(worker, Answer::Fetched { token, session, entries });
        }
        done.is_ok()
    }

    /// Tries again until it works, or until it is to end and has been tried for long enough.
    fn until_done(
        &mut self,
        mut run: impl FnMut(&mut dyn Store) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut pause = PAUSE_MIN;
        let mut closing_since = None;
        loop {
            let Err(error) = run(&mut *self.store) else {
                self.recovered();
                return Ok(());
            };
            self.fails(&error);
            if self.pause(pause) {
                let since = *closing_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= CLOSING_MAX {
                    return Err(error);
                }
                pause = PAUSE_MIN;
            } else {
                pause = PAUSE_MAX.min(pause * 2);
            }
        }
    }

    /// Waits; whether it is to end, which also ends the waiting.
    fn pause(&self, length: Duration) -> bool {
        let until = Instant::now() + length;
        let mut pending = self.shared.pending();
        if pending.closing {
            drop(pending);
            std::thread::sleep(length);
            return true;
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if pending.closing || left.is_zero() {
                pending.sleeping = false;
                return pending.closing;
            }
            // New batches need not wake it, but the end has to; both look the same.
            pending.sleeping = true;
            let woken = self.shared.wake.wait_timeout(pending, left);
            pending = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn fails(&mut self, error: &StoreError) {
        {
            let status = &mut self.shared.status().0;
            status.last_error = Some(error.clone());
            status.failing_since.get_or_insert_with(SystemTime::now);
        }
        if self.failing.is_none() {
            self.failing = Some(Instant::now());
            (self.on_notice)(Notice::Failing { error: error.clone() });
        }
    }

    fn recovered(&mut self) {
        let Some(since) = self.failing.take() else { return };
        self.shared.status().0.failing_since = None;
        let after_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.on_notice)(Notice::Recovered { after_ms });
    }

    /// Does housekeeping; `idle`: there is nothing else to do. If it fails, the next commit will
    /// fail too, and say so; unless there is none for a while.
    fn tick(&mut self, idle: bool) {
        self.ticked = Instant::now();
        match self.store.tick() {
            Ok(busy) => {
                // After work it comes once more: then all is quiet, and told.
                self.sleep = match busy {
                    true => Some(Duration::ZERO),
                    false if idle => self.store.next_tick(),
                    false => Some(self.store.next_tick().unwrap_or(TICK_EVERY).min(TICK_EVERY)),
                };
                self.recovered();
            }
            Err(error) => {
                self.sleep = Some(TICK_EVERY);
                self.fails(&error);
            }
        }
        if idle || self.measured.is_none_or(|at| at.elapsed() >= USAGE_EVERY) {
            self.measure();
        }
    }

    fn measure(&mut self) {
        let usage = self.store.usage();
        self.shared.status().1 = usage;
        self.measured = Some(Instant::now());
    }
}
