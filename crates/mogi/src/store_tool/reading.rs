//! A copy of the store, opened and read.

use mogi_core::store::{EntryNo, StoredDelivery, StoredFlight, StoredSession, StoredWill};
use mogi_store::{
    Damage, EmbeddedOptions, EmbeddedStore, LoadReport, Loaded, Snapshot, Store, StoreError, Sync,
};
use std::path::Path;
use std::sync::Arc;

/// Messages that are fetched at once, by their number and by their size in bytes.
const STEP: usize = 500;
const STEP_BYTES: usize = 4 << 20;

/// The store as it was when it was copied.
pub(super) struct Reading {
    // Dropped in this order: the copy is removed when it is closed.
    opened: EmbeddedStore,
    pub(super) snapshot: Snapshot,
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
    /// Copies the store in this folder and reads all but waiting messages and the contents of
    /// retained ones.
    ///
    /// # Errors
    /// There is none, it cannot be copied, or the copy cannot be read.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
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
        let of_store = |error| of_store(&snapshot, error);
        let opened = EmbeddedStore::open(options).map_err(of_store)?;
        let mut reading = Self {
            opened,
            snapshot,
            sessions: Vec::new(),
            wills: Vec::new(),
            retained_bytes: 0,
            report: LoadReport::default(),
            damage: Damage::default(),
        };
        reading.load()?;
        Ok(reading)
    }

    /// Where the store is.
    pub(super) fn store(&self) -> &Path {
        self.snapshot.store()
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
            Loaded::Alive { .. } | Loaded::Progress(_) => {}
        });
        self.report = loaded.map_err(|error| of_store(&self.snapshot, error))?;
        self.damaged(self.report.damage.clone());
        Ok(())
    }

    /// Gives the retained messages, which are read once more.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn each_retained(
        &mut self,
        mut give: impl FnMut(mogi_core::Message),
    ) -> Result<(), StoreError> {
        let loaded = self.opened.load(&mut |loaded| {
            if let Loaded::Retained { message, .. } = loaded {
                give(message);
            }
        });
        let report = loaded.map_err(|error| of_store(&self.snapshot, error))?;
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
        let mut waiting = &session.waiting[..];
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
            result.map_err(|error| of_store(&self.snapshot, error))?;
            for (_, delivery) in fetched.drain(..) {
                give(session, Item::Waiting(delivery))?;
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
fn of_store(snapshot: &Snapshot, error: StoreError) -> StoreError {
    let path = match error.path.strip_prefix(snapshot.dir()) {
        Ok(rest) => snapshot.store().join(rest),
        Err(_) => error.path,
    };
    StoreError { path, ..error }
}
