//! The changes of this node, in order, for its links to read.
//!
//! The last of them are kept. A link that is behind further than that, or begins, is told
//! everything at once ([`crate::interest::Interest::snapshot`]), and goes on from there.

use super::change::{Change, TAKEN};
use crate::store::SessionNo;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Changes that are kept.
const KEPT: usize = 16 * 1024;

/// Called when there are new changes.
type Notify = Box<dyn Fn() + Send + Sync>;

/// The log.
#[derive(Default)]
pub struct ChangeLog {
    inner: Mutex<Inner>,
    /// Changes so far.
    seq: AtomicU64,
    notify: OnceLock<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The last of them, encoded.
    changes: VecDeque<Arc<[u8]>>,
    /// Lasting sessions that live here.
    residents: BTreeMap<SessionNo, Resident>,
    /// Changes before something that is to be told at once, or not yet.
    holds: Vec<u64>,
    /// Nobody is told of single changes: links begin later.
    quiet: bool,
}

#[derive(Debug)]
struct Resident {
    client: Arc<str>,
    epoch: u64,
    /// How many changes there were with the last that said so.
    told: u64,
}

impl ChangeLog {
    /// How many changes there were.
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Has `notify` called when there are new changes; only the first call of this counts.
    pub fn on_change(&self, notify: Notify) {
        let _ = self.notify.set(notify);
    }

    /// The changes after the first `seen`, and how many there were with them; `None`: some of them
    /// are not kept any more.
    pub fn since(&self, seen: u64) -> Option<(Vec<Arc<[u8]>>, u64)> {
        let inner = self.inner();
        let all = self.seq();
        let behind = usize::try_from(all.checked_sub(seen)?).ok()?;
        let first = inner.changes.len().checked_sub(behind)?;
        let seq = inner.holds.iter().fold(all, |seq, held| seq.min(*held)).max(seen);
        let held = usize::try_from(all - seq).ok()?;
        let last = inner.changes.len().checked_sub(held)?;
        Some((inner.changes.range(first..last).cloned().collect(), seq))
    }

    /// What is pushed from now on is told when [`Self::release`] is called, all at once: whoever
    /// hears that a session moved lets go of it, and has to know its subscriptions by then.
    pub(crate) fn hold(&self) -> u64 {
        let mut inner = self.inner();
        let seq = self.seq();
        inner.holds.push(seq);
        seq
    }

    pub(crate) fn release(&self, held: u64) {
        let mut inner = self.inner();
        if let Some(at) = inner.holds.iter().position(|it| *it == held) {
            inner.holds.swap_remove(at);
        }
        drop(inner);
        if let Some(notify) = self.notify.get() {
            notify();
        }
    }

    /// Says whether changes are counted and not kept, while no link has begun: each is told
    /// everything at once then, and there may be millions.
    pub fn set_quiet(&self, quiet: bool) {
        self.inner().quiet = quiet;
    }

    /// Lasting sessions that live here.
    pub fn residents(&self) -> usize {
        self.inner().residents.len()
    }

    /// The client of a lasting session that lives here.
    pub fn client_of(&self, session: SessionNo) -> Option<Arc<str>> {
        Some(Arc::clone(&self.inner().residents.get(&session)?.client))
    }

    /// The epoch of a lasting session that lives here.
    pub fn epoch_of(&self, session: SessionNo) -> Option<u64> {
        self.inner().residents.get(&session).map(|resident| resident.epoch)
    }

    /// How many changes another node has to know of to know where that session is; 0: it does not
    /// live here.
    pub(crate) fn told_of(&self, session: SessionNo) -> u64 {
        self.inner().residents.get(&session).map_or(0, |resident| resident.told)
    }

    /// Adds a change. Subscriptions are told of sessions that live here only.
    pub(crate) fn push(&self, change: &Change) {
        let mut inner = self.inner();
        let told = match change {
            Change::Home { session, epoch, client } => {
                let (client, epoch, told) = (Arc::clone(client), *epoch, self.seq() + 1);
                inner.residents.insert(*session, Resident { client, epoch, told });
                true
            }
            Change::Gone { session } => inner.residents.remove(session).is_some(),
            Change::Subscribed { session, .. } | Change::Unsubscribed { session, .. } => {
                inner.residents.contains_key(session)
            }
            _ => true,
        };
        if !told {
            return;
        }
        if inner.quiet {
            self.seq.fetch_add(1, Ordering::Release);
            return;
        }
        let mut bytes = Vec::with_capacity(64);
        change.encode(&mut bytes);
        if inner.changes.len() >= KEPT {
            inner.changes.pop_front();
        }
        inner.changes.push_back(bytes.into());
        self.seq.fetch_add(1, Ordering::Release);
        drop(inner);
        if let Some(notify) = self.notify.get() {
            notify();
        }
    }

    /// The session lives elsewhere now: nothing is told of it any more.
    pub(crate) fn moved_away(&self, session: SessionNo) {
        self.inner().residents.remove(&session);
    }

    /// Calls `visit` with the sessions that live here, and with the brief ones of late, whose
    /// clients may still be connected elsewhere; the changes there were so far.
    pub(crate) fn homes(&self, mut visit: impl FnMut(Change)) -> u64 {
        let inner = self.inner();
        for (session, Resident { client, epoch, .. }) in &inner.residents {
            let client = Arc::clone(client);
            visit(Change::Home { session: *session, epoch: *epoch, client });
        }
        let taken = inner.changes.iter().filter(|change| change.first() == Some(&TAKEN));
        taken.flat_map(|change| Change::decode_all(change)).flatten().for_each(&mut visit);
        self.seq()
    }

    pub(crate) fn forget_all(&self) {
        *self.inner() = Inner::default();
    }

    // Poisoning: see `Interest`.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ChangeLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeLog").field("seq", &self.seq()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_at_once() {
        let log = ChangeLog::default();
        let session = SessionNo(7);
        log.push(&Change::Taken { epoch: 1, client: "a".into() });
        let held = log.hold();
        log.push(&Change::Home { session, epoch: 2, client: "b".into() });
        let (first, seen) = log.since(0).unwrap();
        assert_eq!((first.len(), seen), (1, 1));
        assert_eq!(log.since(seen).unwrap(), (Vec::new(), 1));
        let filter: Arc<str> = "t".into();
        log.push(&Change::Subscribed { session, options: 1, id: 0, filter });
        log.release(held);
        let (rest, seen) = log.since(seen).unwrap();
        assert_eq!((rest.len(), seen), (2, 3));
    }

    /// A link that begins behind that is told everything at once.
    #[test]
    fn what_is_pushed_quietly_is_counted_and_not_kept() {
        let log = ChangeLog::default();
        let session = SessionNo(7);
        log.set_quiet(true);
        log.push(&Change::Home { session, epoch: 2, client: "b".into() });
        log.set_quiet(false);
        assert_eq!((log.seq(), log.since(0), log.told_of(session)), (1, None, 1));
        let mut told = Vec::new();
        assert_eq!(log.homes(|change| told.push(change)), 1);
        assert_eq!(told, [Change::Home { session, epoch: 2, client: "b".into() }]);
        log.push(&Change::Gone { session });
        assert_eq!(log.since(1).map(|(changes, seq)| (changes.len(), seq)), Some((1, 2)));
    }
}
