//! The suite every backend passes: what a store does, whatever it is made of.
//!
//! ```no_run
//! # use mogi_store::{MemoryStore, conformance::{Open, run}};
//! let mut store = MemoryStore::new();
//! run(&mut |open| {
//!     if open == Open::Empty {
//!         store = MemoryStore::new();
//!     }
//!     Box::new(store.clone())
//! });
//! ```
//! It panics where a store does something else, as tests do.

mod change;
mod entries;
mod random;
mod retained;
mod sessions;

pub use change::{
    assigned, delivered, delivery, enqueued, message, received, released, retained as retained_set,
    session_set, view_of,
};

#[cfg(test)]
pub(crate) use random::groups;

use crate::ops::{
    EntryNo, SessionNo, StoreOp, StoredDelivery, StoredFlight, StoredSession, StoredWaiting,
    StoredWill,
};
use crate::store::{LoadReport, Loaded, Store};
use mogi_core::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the suite wants of who makes stores. The one before is closed when it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// A store that holds nothing.
    Empty,
    /// The store of before, opened again.
    Again,
}

/// Makes stores.
pub type Factory<'a> = dyn FnMut(Open) -> Box<dyn Store> + 'a;

/// Runs all of it.
///
/// # Panics
/// If the store does something else.
pub fn run(factory: &mut Factory<'_>) {
    sessions::run(factory);
    entries::run(factory);
    retained::run(factory);
    random::run(factory, 64);
}

/// A store that is opened again after each step, so that everything is looked at twice: as it is in
/// memory and as it is on disk.
pub struct Subject<'a, 'f> {
    factory: &'a mut Factory<'f>,
    store: Option<Box<dyn Store>>,
}

impl<'a, 'f> Subject<'a, 'f> {
    /// With an empty store.
    pub fn new(factory: &'a mut Factory<'f>) -> Self {
        let store = factory(Open::Empty);
        let mut subject = Self { factory, store: Some(store) };
        assert_eq!(subject.load(), Contents::default(), "a new store holds nothing");
        subject
    }

    /// The store.
    pub fn store(&mut self) -> &mut dyn Store {
        let Self { factory, store } = self;
        &mut **store.get_or_insert_with(|| factory(Open::Again))
    }

    /// Commits one batch.
    pub fn commit(&mut self, batch: &[StoreOp]) {
        self.store().commit(&[batch]).expect("the store takes it");
    }

    /// Closes the store and opens it again.
    pub fn reopen(&mut self) {
        self.store = None;
        self.load();
    }

    /// All there is.
    pub fn load(&mut self) -> Contents {
        let mut contents = Contents::default();
        let mut last = None;
        let visit = &mut |loaded| {
            if let Loaded::Session(session) = &loaded {
                assert!(last < Some(session.session), "sessions come by rising numbers");
                last = Some(session.session);
            }
            contents.take(loaded);
        };
        let report = self.store().load(visit).expect("the store can be loaded");
        contents.check(&report);
        contents
    }

    /// The messages of these entries.
    pub fn fetch(&mut self, session: u64, entries: &[u64]) -> Vec<(EntryNo, StoredDelivery)> {
        let entries: Vec<_> = entries.iter().copied().map(EntryNo).collect();
        let mut out = Vec::new();
        let result = self.store().fetch(SessionNo(session), &entries, &mut out);
        result.expect("the store can be read");
        out
    }

    /// The numbers [`Self::fetch`] gives.
    pub fn fetched(&mut self, session: u64, entries: &[u64]) -> Vec<u64> {
        self.fetch(session, entries).into_iter().map(|(entry, _)| entry.0).collect()
    }

    /// Does housekeeping to its end.
    pub fn settle(&mut self) {
        while self.store().tick().expect("the store does its housekeeping") {}
    }

    /// Runs `check` on what there is now, and on what there is after opening it again.
    pub fn holds(&mut self, check: impl Fn(&Contents)) {
        check(&self.load());
        self.reopen();
        check(&self.load());
    }
}

/// All a store gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Sessions by number.
    pub sessions: BTreeMap<u64, StoredSession>,
    /// Retained messages by topic.
    pub retained: BTreeMap<String, (u64, Message)>,
    /// Wills by client id.
    pub wills: BTreeMap<Arc<str>, StoredWill>,
}

impl Contents {
    fn take(&mut self, loaded: Loaded) {
        let new = match loaded {
            Loaded::Session(mut session) => {
                // Their order is not promised.
                session.subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
                session.received.sort_unstable();
                let flights = session.flights.is_sorted_by_key(|StoredFlight { entry, .. }| *entry);
                let waiting =
                    session.waiting.is_sorted_by_key(|StoredWaiting { entry, .. }| *entry);
                assert!(flights && waiting, "entries come by rising numbers");
                self.sessions.insert(session.session.0, session).is_none()
            }
            Loaded::Retained { message, version } => {
                self.retained.insert(message.topic().to_owned(), (version, message)).is_none()
            }
            Loaded::Will { client, will } => self.wills.insert(client, will).is_none(),
            Loaded::Anew => {
                *self = Self::default();
                true
            }
            Loaded::Alive { .. }
            | Loaded::RetainedEnd { .. }
            | Loaded::Redone(_)
            | Loaded::Progress(_) => true,
        };
        assert!(new, "everything is given once");
    }

    fn check(&self, report: &LoadReport) {
        let loaded = report.loaded;
        assert_eq!(loaded.sessions, self.sessions.len() as u64);
        assert_eq!(loaded.retained, self.retained.len() as u64);
        assert_eq!(report.wills, self.wills.len() as u64);
        let sessions = || self.sessions.values();
        let entries: usize = sessions().map(|it| it.flights.len() + it.waiting.len()).sum();
        assert_eq!(loaded.entries, entries as u64);
        let subscriptions: usize = sessions().map(|it| it.subscriptions.len()).sum();
        assert_eq!(report.subscriptions, subscriptions as u64);
        assert!(!report.damage.any(), "nothing is damaged: {:?}", report.damage);
        assert!(self.sessions.keys().all(|number| *number <= report.last_session.0));
        let versions = self.retained.values().map(|(version, _)| *version);
        assert!(versions.max().unwrap_or(0) <= report.last_version);
    }

    /// The numbers of a session's waiting entries.
    pub fn waiting(&self, session: u64) -> Vec<u64> {
        let session = self.sessions.get(&session);
        session.map_or_else(Vec::new, |it| it.waiting.iter().map(|it| it.entry.0).collect())
    }
}
