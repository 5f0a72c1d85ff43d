//! The store on the local disk.
//!
//! [`fjall`] keeps sorted records in a journal and tables; this module decides what the records are
//! ([`keys`]), how a commit becomes one batch of them (`stage`), and what happens when something
//! goes wrong: after any error the engine is closed, and the next call opens it again and reads
//! what stands there, so that nothing is believed that was not written.

mod cursor;
mod engine;
mod fetch;
mod journal;
mod keys;
mod mind;
mod options;
mod place;
mod purge;
mod rubbish;
mod salvage;
mod scan;
mod snapshot;
mod stage;
#[cfg(test)]
mod tests;

pub use options::{EmbeddedOptions, OnDamage, Sync};
pub use snapshot::Snapshot;

use crate::clock::now_ms;
use crate::error::{ErrorKind, StoreError};
use crate::ops::{EntryNo, SessionNo, StoreOp, StoredDelivery};
use crate::store::{Damage, LoadReport, Loaded, Store, Usage};
use engine::Engine;
use journal::Torn;
use mind::{FADE_MS, Marks, Mind};
use place::Place;
use purge::Purge;
use rubbish::Rubbish;
use scan::Scan;
use stage::{Scratch, Stage};
use std::time::{Duration, Instant};

/// A store in a directory of the local disk.
pub struct EmbeddedStore {
    // Dropped in this order: the directory is free when all else is closed.
    open: Option<Open>,
    options: EmbeddedOptions,
    scratch: Scratch,
    rubbish: Rubbish,
    /// Found since the last report.
    damage: Damage,
    place: Place,
}

/// The open engine, and what is known of what stands there.
struct Open {
    engine: Engine,
    /// `None`: nothing was read yet.
    mind: Option<Mind>,
    written: Marks,
    purge: Purge,
    /// Since when commits wait to be synced.
    unsynced: Option<Instant>,
}

impl EmbeddedStore {
    /// Opens the directory's store, or starts one.
    ///
    /// # Errors
    /// * [`ErrorKind::Locked`]: another process has it open.
    /// * [`ErrorKind::TooNew`]: a later mogi wrote it.
    /// * [`ErrorKind::Damaged`]: it cannot be opened, and is not to be set aside.
    /// * The others if the operating system refuses.
    pub fn open(options: EmbeddedOptions) -> Result<Self, StoreError> {
        let place = Place::take(&options.dir)?;
        let mut store = Self {
            open: None,
            options,
            scratch: Scratch::default(),
            rubbish: Rubbish::default(),
            damage: Damage::default(),
            place,
        };
        store.engine()?;
        Ok(store)
    }

    /// The engine, opened if it is not open.
    fn engine(&mut self) -> Result<&mut Open, StoreError> {
        if self.open.is_none() {
            let engine = self.open_engine()?;
            return Ok(self.open.insert(Open {
                engine,
                mind: None,
                written: Marks::default(),
                purge: Purge::default(),
                unsynced: None,
            }));
        }
        // Not reached: it was looked at above.
        self.open.as_mut().ok_or_else(|| {
            StoreError::new(ErrorKind::Io, self.place.dir(), "the storage engine is not open")
        })
    }

    fn open_engine(&mut self) -> Result<Engine, StoreError> {
        let mut torn = Torn::default();
        let opened = Engine::open(&self.place, &self.options, &mut torn);
        self.damage.torn_bytes += torn.tail_bytes;
        self.damage.lost_journal_bytes += torn.lost_bytes;
        torn.places.drain(..).for_each(|place| self.damage.note(|| place));
        self.damage.set_aside.append(&mut torn.set_aside);
        match opened {
            Err(error)
                if error.kind == ErrorKind::Damaged
                    && self.options.on_damage == OnDamage::SetAside =>
            {
                let aside = self.place.set_data_aside()?;
                self.damage.note(|| error.what.clone());
                self.damage.set_aside.push(aside);
                self.damage.started_anew = true;
                Engine::open(&self.place, &self.options, &mut Torn::default())
            }
            opened => opened,
        }
    }

    /// Runs something on the open engine. After an error nothing is believed any more.
    fn run<T>(
        &mut self,
        run: impl FnOnce(&mut Open, &mut Context<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.know()?;
        let Self { open, options, scratch, rubbish, place, .. } = self;
        let mut context = Context { options, scratch, rubbish, place };
        let result = match open {
            Some(open) => run(open, &mut context),
            None => Err(StoreError::new(ErrorKind::Io, place.dir(), "it is not open")),
        };
        result.map_err(|error| self.failed(error))
    }

    /// Reads everything if what stands there is not known.
    fn know(&mut self) -> Result<(), StoreError> {
        if self.engine()?.mind.is_none() {
            self.scan(&mut |_| {})?;
        }
        Ok(())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        self.engine()?;
        let Self { open, options, rubbish, place, .. } = self;
        let Some(open) = open else {
            return Err(StoreError::new(ErrorKind::Io, place.dir(), "it is not open"));
        };
        open.mind = None;
        match Scan::new(&open.engine, rubbish, visit).run() {
            // Nothing is touched then.
            Ok(_) if options.on_damage == OnDamage::Stop && !rubbish.is_empty() => {
                let what = "records in it are damaged";
                Err(StoreError::new(ErrorKind::Damaged, place.dir(), what))
            }
            Ok((mind, report)) => {
                open.written = mind.marks;
                open.mind = Some(mind);
                open.purge = Purge::default();
                self.dispose();
                Ok(report)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Puts what can still be read into a new store, and the damaged one aside.
    fn salvage(&mut self, error: &StoreError) -> Result<(), StoreError> {
        self.open = None;
        let new = self.place.begin_new_data()?;
        let damaged = Engine::open_at(self.place.data(), &self.options)?;
        let broken = salvage::copy(&damaged, &Engine::open_at(new, &self.options)?)?;
        drop(damaged);
        let aside = self.place.set_data_aside()?;
        self.place.finish_new_data()?;
        let of = broken.join(", ");
        self.damage.note(|| format!("a table is damaged ({of}): {}", error.what));
        self.damage.records += 1;
        self.damage.set_aside.push(aside);
        Ok(())
    }

    /// Removes damaged records once they are copied.
    fn dispose(&mut self) {
        if self.rubbish.is_empty() {
            return;
        }
        let keys = self.rubbish.dispose(&self.place, &mut self.damage);
        let Some(open) = &self.open else { return };
        let mut batch = open.engine.batch(0);
        for (keyspace, key) in keys {
            batch.remove(open.engine.keyspace(keyspace), &*key);
        }
        if let Err(error) = open.engine.commit(batch) {
            self.failed(error);
        }
    }

    /// Closes the engine, whose state is in doubt, and looks what is really the matter.
    fn failed(&mut self, error: StoreError) -> StoreError {
        self.open = None;
        match self.place.probe() {
            Err(probed) if error.kind == ErrorKind::Io => probed,
            _ => error,
        }
    }
}

/// What there is besides the engine.
struct Context<'a> {
    options: &'a EmbeddedOptions,
    scratch: &'a mut Scratch,
    rubbish: &'a mut Rubbish,
    place: &'a Place,
}

impl Store for EmbeddedStore {
    fn sync(&mut self) -> Result<(), StoreError> {
        self.run(|open, with| {
            if with.options.sync == Sync::Always && open.unsynced.is_some() {
                open.engine.sync()?;
                open.unsynced = None;
            }
            Ok(())
        })
    }

    fn write(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        self.run(|open, with| {
            let Some(mind) = &mut open.mind else { return Ok(()) };
            let share = with.options.share_from_bytes;
            let seed = with.place.seed;
            let mut stage = Stage::new(&open.engine, mind, seed, with.scratch, batches, share);
            for op in batches.iter().copied().flatten() {
                stage.apply(op)?;
            }
            let batch = stage.finish(&open.written);
            if !batch.is_empty() {
                open.engine.commit(batch)?;
                open.written = mind.marks;
                open.unsynced = open.unsynced.or_else(|| Some(Instant::now()));
            }
            Ok(())
        })
    }

    fn load(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        let report = match self.scan(visit) {
            Err(error)
                if error.kind == ErrorKind::Damaged
                    && self.options.on_damage == OnDamage::SetAside =>
            {
                self.salvage(&error)?;
                visit(Loaded::Anew);
                self.scan(visit)?
            }
            scanned => scanned?,
        };
        Ok(LoadReport { damage: std::mem::take(&mut self.damage), ..report })
    }

    fn fetch(
        &mut self,
        session: SessionNo,
        entries: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Result<(), StoreError> {
        self.run(|open, with| {
            let known = open.mind.as_ref().is_some_and(|it| it.sessions.contains_key(&session));
            if !known {
                return Ok(());
            }
            fetch::fetch(&open.engine, session, entries, with.rubbish, out)
        })?;
        self.dispose();
        Ok(())
    }

    fn usage(&self) -> Usage {
        let mind = self.open.as_ref().and_then(|open| open.mind.as_ref());
        let disk_bytes = self.place.disk_bytes();
        mind.map_or_else(
            || Usage { disk_bytes, ..Usage::default() },
            |mind| Usage {
                disk_bytes,
                sessions: mind.sessions.len() as u64,
                retained: mind.retained,
                flights: mind.flights.len() as u64,
                bodies: mind.bodies.len() as u64,
                ending: mind.ended.len() as u64,
            },
        )
    }

    fn tick(&mut self) -> Result<bool, StoreError> {
        self.run(|open, with| {
            let Some(mind) = &mut open.mind else { return Ok(false) };
            let more = open.purge.step(&open.engine, mind)?;
            if let (Some(every), Some(since)) = (with.options.sync.every(), open.unsynced)
                && since.elapsed() >= every
            {
                open.engine.sync()?;
                open.unsynced = None;
            }
            Ok(more)
        })
    }

    fn next_tick(&self) -> Option<Duration> {
        self.due()
    }
}

impl EmbeddedStore {
    /// When what is not synced yet is due, or something ended is to be forgotten.
    fn due(&self) -> Option<Duration> {
        let open = self.open.as_ref()?;
        let every = self.options.sync.every();
        let unsynced = every.zip(open.unsynced).map(|(every, since)| {
            every.saturating_sub(since.elapsed()).max(Duration::from_millis(1))
        });
        let mind = open.mind.as_ref()?;
        let faded = mind
            .faded
            .front()
            .map(|(at, _)| Duration::from_millis((at + FADE_MS).saturating_sub(now_ms()).max(1)));
        [unsynced, faded].into_iter().flatten().min()
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            // What was promised is synced already; this is for the other modes, and nobody is left
            // to tell.
            let _ = open.engine.sync();
        }
    }
}
