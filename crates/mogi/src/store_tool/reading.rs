//! A store, opened and read: a copy of it, where it is on disk.

use super::place::Place;
use mogi_core::store::{
    EntryNo, StoredDelivery, StoredFlight, StoredSession, StoredWaiting, StoredWill,
};
use mogi_store::redis::{Purpose, RedisOptions, RedisStore};
use mogi_store::{
    Damage, EmbeddedOptions, EmbeddedStore, LoadReport, Loaded, Snapshot, Store, StoreError, Sync,
};
use std::path::Path;
use std::sync::Arc;

/// Messages that are fetched at once, by their number and by their size in bytes.
const STEP: usize = 500;
const STEP_BYTES: usize = 4 << 20;

/// The store as it was when it was read.
pub(super) struct Reading {
    // Dropped in this order: the copy is removed when it is closed.
    opened: Box<dyn Store>,
    /// The copy that is read; `None`: Redis itself is.
    snapshot: Option<Snapshot>,
    /// Where the store is, for people.
    pub(super) place: String,
    /// Who has it open.
    pub(super) in_use_by: Option<String>,
    /// By rising numbers.
    pub(super) sessions: Vec<StoredSession>,
    pub(super) wills: Vec<(Arc<str>, StoredWill)>,
    /// Bytes of topics, properties and payloads of retained messages.
    pub(super) retained_bytes: u64,
    pub(super) report: LoadReport,
    /// What was found so far, as of the store's own files.
    pub(super) damage: Damage,
}

/// A message on its way to a session's client.
pub(super) enum Item {
    /// With a packet id.
    Flight(StoredFlight),
    Waiting(StoredDelivery),
}

impl Reading {
    /// Reads all but waiting messages and the contents of retained ones.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    pub(super) fn open(place: &Place, purpose: Purpose) -> Result<Self, StoreError> {
        let mut reading = match place {
            Place::Folder(dir) => Self::copy(dir)?,
            Place::Redis(options) => Self::redis(options, place, purpose)?,
        };
        reading.load()?;
        Ok(reading)
    }

    /// What is in Redis is read there.
    fn redis(options: &RedisOptions, place: &Place, purpose: Purpose) -> Result<Self, StoreError> {
        let store = RedisStore::open(options)?.to(purpose);
        let users = store.users()?;
        let in_use_by = (!users.is_empty()).then(|| users.join("; "));
        Ok(Self { in_use_by, ..Self::new(Box::new(store), None, place.to_string()) })
    }

    /// Copies the store in this folder.
    fn copy(dir: &Path) -> Result<Self, StoreError> {
        let snapshot = Snapshot::take(dir)?;
        if let Some(user) = snapshot.in_use_by() {
            eprintln!(
                "The store is in use by {user}: a copy in {} is read, and removed at the end.",
                snapshot.dir().display()
            );
        }
        // Nothing depends on the copy: it is not synced.
        let options =
            EmbeddedOptions { sync: Sync::Off, ..EmbeddedOptions::new(snapshot.dir().to_owned()) };
        let of_store = |error| of_store(Some(&snapshot), error);
        let opened = EmbeddedStore::open(options).map_err(of_store)?;
        let in_use_by = snapshot.in_use_by().map(str::to_owned);
        let place = snapshot.store().display().to_string();
        Ok(Self { in_use_by, ..Self::new(Box::new(opened), Some(snapshot), place) })
    }

    fn new(opened: Box<dyn Store>, snapshot: Option<Snapshot>, place: String) -> Self {
        Self {
            opened,
            snapshot,
            place,
            in_use_by: None,
            sessions: Vec::new(),
            wills: Vec::new(),
            retained_bytes: 0,
            report: LoadReport::default(),
            damage: Damage::default(),
        }
    }

    /// The copy of the store's folder, if it has one.
    pub(super) const fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    fn load(&mut self) -> Result<(), StoreError> {
        let Self { opened, sessions, wills, retained_bytes, .. } = self;
        let loaded = opened.load(&mut |loaded| match loaded {
            Loaded::Anew => {
                sessions.clear();
                wills.clear();
                *retained_bytes = 0;
            }
            Loaded::Session(session) => sessions.push(session),
            Loaded::Will { client, will } => wills.push((client, will)),
            Loaded::Retained { message, .. } => *retained_bytes += message.weight() as u64,
            Loaded::Alive { .. }
            | Loaded::RetainedEnd { .. }
            | Loaded::Redone(_)
            | Loaded::Progress(_) => {}
        });
        self.report = loaded.map_err(|error| of_store(self.snapshot.as_ref(), error))?;
        self.damaged(self.report.damage.clone());
        Ok(())
    }

    /// Gives the retained messages and their versions. They are read once more.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn each_retained(
        &mut self,
        mut give: impl FnMut(mogi_core::Message, u64),
    ) -> Result<(), StoreError> {
        let loaded = self.opened.load(&mut |loaded| {
            if let Loaded::Retained { message, version } = loaded {
                give(message, version);
            }
        });
        let report = loaded.map_err(|error| of_store(self.snapshot.as_ref(), error))?;
        self.damaged(report.damage);
        Ok(())
    }

    /// Gives the messages of the session at this place, in the order they are delivered in.
    ///
    /// # Errors
    /// The store cannot be read, or what `give` says.
    pub(super) fn each_message<E: From<StoreError>>(
        &mut self,
        at: usize,
        mut give: impl FnMut(&StoredSession, Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(session) = self.sessions.get(at) else { return Ok(()) };
        for flight in &session.flights {
            give(session, Item::Flight(flight.clone()))?;
        }
        self.each_of(at, &session.waiting.clone(), |session, _, delivery| {
            give(session, Item::Waiting(delivery))
        })
    }

    /// Gives those of the waiting messages of the session at this place.
    ///
    /// # Errors
    /// As of [`Self::each_message`].
    pub(super) fn each_of<E: From<StoreError>>(
        &mut self,
        at: usize,
        mut waiting: &[StoredWaiting],
        mut give: impl FnMut(&StoredSession, EntryNo, StoredDelivery) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(session) = self.sessions.get(at) else { return Ok(()) };
        let mut fetched = Vec::new();
        while !waiting.is_empty() {
            let mut bytes = 0;
            let mut fits = |weight: u32| {
                bytes += weight as usize;
                bytes <= STEP_BYTES
            };
            let few = &waiting[..waiting.len().min(STEP)];
            let count = few.iter().map(|it| it.weight).take_while(|it| fits(*it)).count().max(1);
            let (now, later) = waiting.split_at(count);
            waiting = later;
            let entries: Vec<EntryNo> = now.iter().map(|waiting| waiting.entry).collect();
            let result = self.opened.fetch(session.session, &entries, &mut fetched);
            result.map_err(|error| of_store(self.snapshot.as_ref(), error))?;
            for (entry, delivery) in fetched.drain(..) {
                give(session, entry, delivery)?;
            }
        }
        Ok(())
    }

    /// Adds to what was found. What a copy was set aside as is removed with it.
    fn damaged(&mut self, more: Damage) {
        let damage = &mut self.damage;
        damage.records += more.records;
        damage.torn_bytes += more.torn_bytes;
        damage.lost_journal_bytes += more.lost_journal_bytes;
        damage.started_anew |= more.started_anew;
        damage.found.extend(more.found);
    }
}

/// An error of the copy as one of the store.
fn of_store(snapshot: Option<&Snapshot>, error: StoreError) -> StoreError {
    let Some(snapshot) = snapshot else { return error };
    let path = match error.path.strip_prefix(snapshot.dir()) {
        Ok(rest) => snapshot.store().join(rest),
        Err(_) => error.path,
    };
    StoreError { path, ..error }
}
