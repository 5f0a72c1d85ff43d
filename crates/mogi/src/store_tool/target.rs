//! The store that is migrated to: what it holds already, and what is written to it.

use super::place::Place;
use super::{Failure, UNREADABLE};
use mogi_core::store::{EntryNo, SessionNo, StoreOp, StoredSession};
use mogi_store::embedded::migration;
use mogi_store::redis::{Purpose, RedisStore};
use mogi_store::{EmbeddedOptions, EmbeddedStore, LoadReport, Loaded, Store, StoreError};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Changes, and bytes of messages, that are written at once.
const OPS: usize = 2000;
const BYTES: usize = 4 << 20;

pub(super) struct Target {
    kept: Kept,
    pub(super) place: String,
    ops: Vec<StoreOp>,
    bytes: usize,
}

enum Kept {
    Disk { store: Box<EmbeddedStore>, dir: PathBuf },
    Redis(Box<RedisStore>),
}

/// What is there.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) sessions: HashMap<SessionNo, StoredSession>,
    /// Versions of retained messages by topic.
    pub(super) retained: HashMap<Arc<str>, u64>,
    pub(super) wills: HashSet<Arc<str>>,
    pub(super) report: LoadReport,
}

impl Contents {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.retained.is_empty() && self.wills.is_empty()
    }
}

impl Target {
    /// Opens it; no broker can, or may, from now on.
    pub(super) fn open(place: &Place) -> Result<Self, Failure> {
        let kept = match place {
            Place::Folder(dir) => {
                let store = EmbeddedStore::open(EmbeddedOptions::new(dir.clone()))?;
                Kept::Disk { store: Box::new(store), dir: dir.clone() }
            }
            Place::Redis(options) => {
                let store = RedisStore::open(options)?.to(Purpose::Move);
                Kept::Redis(Box::new(store))
            }
        };
        let target = Self { kept, place: place.to_string(), ops: Vec::new(), bytes: 0 };
        target.refuse_users()?;
        Ok(target)
    }

    /// # Errors
    /// A broker uses it.
    pub(super) fn refuse_users(&self) -> Result<(), Failure> {
        let Kept::Redis(store) = &self.kept else { return Ok(()) };
        let users = store.users()?;
        if users.is_empty() { Ok(()) } else { Err(in_use(&self.place, &users.join("; "))) }
    }

    /// Where the state comes from that is there, if not all of it is.
    pub(super) fn migrating(&self) -> Result<Option<String>, StoreError> {
        match &self.kept {
            Kept::Disk { dir, .. } => migration::migrating(dir),
            Kept::Redis(store) => store.migrating(),
        }
    }

    /// Brokers do not start with it from now on.
    pub(super) fn begin(&self, from: &str) -> Result<(), StoreError> {
        match &self.kept {
            Kept::Disk { dir, .. } => migration::begin_migration(dir, from),
            Kept::Redis(store) => store.begin_migration(from),
        }
    }

    /// It is complete.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        match &self.kept {
            Kept::Disk { dir, .. } => migration::end_migration(dir),
            Kept::Redis(store) => store.end_migration(),
        }
    }

    pub(super) fn load(&mut self) -> Result<Contents, StoreError> {
        let mut contents = Contents::default();
        let report = self.store().load(&mut |loaded| match loaded {
            Loaded::Anew => contents = Contents::default(),
            Loaded::Session(session) => {
                contents.sessions.insert(session.session, session);
            }
            Loaded::Retained { message, version } => {
                contents.retained.insert(message.topic().into(), version);
            }
            Loaded::Will { client, .. } => {
                contents.wills.insert(client);
            }
            Loaded::Alive { .. }
            | Loaded::RetainedEnd { .. }
            | Loaded::Redone(_)
            | Loaded::Progress(_) => {}
        })?;
        Ok(Contents { report, ..contents })
    }

    /// Writes a change, sooner or later; [`Self::flush`] is for the last ones.
    pub(super) fn put(&mut self, op: StoreOp) -> Result<(), StoreError> {
        self.bytes += match &op {
            StoreOp::Enqueued { delivery, .. } => delivery.message.weight(),
            StoreOp::Retained { message, .. } => message.weight(),
            StoreOp::WillSet { will, .. } => will.message.weight(),
            _ => 0,
        };
        self.ops.push(op);
        if self.ops.len() >= OPS || self.bytes >= BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        let ops = std::mem::take(&mut self.ops);
        self.bytes = 0;
        if ops.is_empty() { Ok(()) } else { self.store().commit(&[&ops]) }
    }

    fn store(&mut self) -> &mut dyn Store {
        match &mut self.kept {
            Kept::Disk { store, .. } => &mut **store,
            Kept::Redis(store) => &mut **store,
        }
    }
}

/// Both places have to be at rest.
pub(super) fn in_use(place: &str, user: &str) -> Failure {
    let line = format!("{place} is in use by {user}: stop it while state is migrated");
    Failure(UNREADABLE, line)
}

/// Numbers of all messages of a session.
pub(super) fn entries(session: &StoredSession) -> HashSet<EntryNo> {
    let waiting = session.waiting.iter().map(|it| it.entry);
    waiting.chain(session.flights.iter().map(|it| it.entry)).collect()
}
