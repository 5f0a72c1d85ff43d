//! The store on the local disk.
//!
//! ```text
//!              ┌─► log: every group, synced            what was promised, in order
//!  write ──────┤
//!              └─► young: what of it still counts ──checkpoint──► tables (fjall)
//! ```
//! A group is appended to the [`log`] and taken in by [`young`], which is in memory. What is still
//! there when the log is full goes to the tables as one batch, together with the number of the last
//! record that is in them; then the log begins anew. A start reads the tables and goes through the
//! log behind that number. Most messages are delivered long before, and never get to the tables.
//!
//! [`fjall`] keeps the tables; this module decides what the records are ([`keys`]), how a
//! checkpoint becomes one batch of them (`stage`), and what happens when something goes wrong:
//! after an error of the engine it is closed, and the next call opens it again and reads what
//! stands there, so that nothing is believed that was not written. Young and log have it all.

mod checkpoint;
mod cursor;
mod engine;
#[cfg(test)]
mod faults;
mod fetch;
mod journal;
mod keys;
mod log;
pub mod migration;
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
mod young;

pub use options::{EmbeddedOptions, OnDamage, Sync};
pub use snapshot::Snapshot;

use crate::clock::now_ms;
use crate::error::{ErrorKind, StoreError};
use crate::ops::{EntryNo, SessionNo, StoreOp, StoredDelivery};
use crate::store::{Damage, LoadReport, Loaded, Store, Usage};
use engine::Engine;
use journal::Torn;
use log::Log;
use log::disk::Disk;
use mind::{FADE_MS, Mind};
use place::Place;
use purge::Purge;
use rubbish::Rubbish;
use scan::Scan;
use stage::Scratch;
use std::time::{Duration, Instant};
use young::Young;

/// Entries that are looked up to tell how much is stored.
const LOOKED_UP: usize = 1000;

/// A store in a directory of the local disk.
pub struct EmbeddedStore {
    // Dropped in this order: the directory is free when all else is closed.
    open: Option<Open>,
    /// What is written to, and what stands in it only. `None`: it was not read yet.
    front: Option<Front>,
    /// Makes the log's folder, for tests that need another.
    disk: Box<dyn Fn() -> Box<dyn Disk> + Send>,
    options: EmbeddedOptions,
    scratch: Scratch,
    rubbish: Rubbish,
    /// A sync of the engine failed: its journals are copied before they are relied on.
    suspect: bool,
    /// It was looked whether the tables are as durable as they say.
    confirmed: bool,
    /// Found since the last report.
    damage: Damage,
    /// Makes checkpoints fail.
    #[cfg(test)]
    trouble: faults::Trouble,
    place: Place,
}

/// The open engine, and what is known of what stands there.
struct Open {
    engine: Engine,
    /// `None`: nothing was read yet.
    mind: Option<Mind>,
    purge: Purge,
}

/// What is not in the tables.
struct Front {
    log: Log,
    young: Young,
    /// Since when changes wait to be synced.
    unsynced: Option<Instant>,
    /// Since when there is something that is not in the tables.
    since: Option<Instant>,
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
        let path = options.dir.join(place::LOG);
        Self::open_on(options, Box::new(move || Log::folder(&path)))
    }

    /// As [`Self::open`], with the log on this disk.
    fn open_on(
        options: EmbeddedOptions,
        disk: Box<dyn Fn() -> Box<dyn Disk> + Send>,
    ) -> Result<Self, StoreError> {
        let place = Place::take(&options.dir)?;
        let mut store = Self {
            open: None,
            front: None,
            disk,
            options,
            scratch: Scratch::default(),
            rubbish: Rubbish::default(),
            suspect: false,
            confirmed: false,
            damage: Damage::default(),
            #[cfg(test)]
            trouble: faults::Trouble::default(),
            place,
        };
        store.engine()?;
        Ok(store)
    }

    /// The engine, opened if it is not open.
    fn engine(&mut self) -> Result<&mut Open, StoreError> {
        if self.open.is_none() {
            let engine = self.open_engine()?;
            let purge = Purge::default();
            return Ok(self.open.insert(Open { engine, mind: None, purge }));
        }
        // Not reached: it was looked at above.
        self.open.as_mut().ok_or_else(|| {
            StoreError::new(ErrorKind::Io, self.place.dir(), "the storage engine is not open")
        })
    }

    fn open_engine(&mut self) -> Result<Engine, StoreError> {
        if self.suspect {
            journal::renew(&self.place)?;
            self.suspect = false;
            #[cfg(test)]
            self.trouble.synced();
        }
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
        run: impl FnOnce(&mut Parts<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.know()?;
        let Self { open, front, options, scratch, rubbish, place, .. } = self;
        let result = match (open, front) {
            (Some(Open { engine, mind: Some(mind), purge }), Some(front)) => {
                run(&mut Parts { engine, mind, purge, front, options, scratch, rubbish, place })
            }
            _ => Err(StoreError::new(ErrorKind::Io, place.dir(), "it is not open")),
        };
        result.map_err(|error| self.failed(error))
    }

    /// Reads what has to be known before anything is changed.
    fn know(&mut self) -> Result<(), StoreError> {
        let known = self.front.is_some();
        if !self.confirmed {
            self.confirm()?;
        }
        if self.engine()?.mind.is_none() {
            if known {
                self.scan(&mut |_| {})?;
            } else {
                let open = self.engine()?;
                let mind = Scan::mind(&open.engine);
                self.engine()?.mind = Some(mind.map_err(|error| self.failed(error))?);
            }
        }
        if !known {
            self.front = Some(self.replay()?);
        }
        Ok(())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        self.engine()?;
        let Self { open, front, options, rubbish, place, .. } = self;
        let Some(open) = open else {
            return Err(StoreError::new(ErrorKind::Io, place.dir(), "it is not open"));
        };
        open.mind = None;
        let nothing = Young::default();
        let young = front.as_ref().map_or(&nothing, |front| &front.young);
        match Scan::new(&open.engine, rubbish, visit, (young, place.seed)).run(&young.marks) {
            // Nothing is touched then.
            Ok(_) if options.on_damage == OnDamage::Stop && !rubbish.is_empty() => {
                let what = "records in it are damaged";
                Err(StoreError::new(ErrorKind::Damaged, place.dir(), what))
            }
            Ok((mind, report)) => {
                open.mind = Some(mind);
                open.purge = Purge::default();
                self.dispose();
                Ok(report)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Gives everything back.
    fn load_once(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        // Where the tables have all of it, they are read once only.
        if self.front.is_none() && !self.confirm()? {
            self.know()?;
        }
        let report = self.scan(visit)?;
        self.know()?;
        Ok(report)
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
        self.explained(error)
    }

    /// What the operating system says now, which is often clearer.
    fn explained(&self, error: StoreError) -> StoreError {
        match self.place.probe() {
            Err(probed) if error.kind == ErrorKind::Io => probed,
            _ => error,
        }
    }
}

/// All of an open store.
struct Parts<'a> {
    engine: &'a Engine,
    mind: &'a mut Mind,
    purge: &'a mut Purge,
    front: &'a mut Front,
    options: &'a EmbeddedOptions,
    scratch: &'a mut Scratch,
    rubbish: &'a mut Rubbish,
    place: &'a Place,
}

impl Store for EmbeddedStore {
    fn sync(&mut self) -> Result<(), StoreError> {
        if self.options.sync == Sync::Always { self.sync_log() } else { Ok(()) }
    }

    fn write(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        if batches.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        self.append(batches)
    }

    fn load(&mut self, visit: &mut dyn FnMut(Loaded)) -> Result<LoadReport, StoreError> {
        let report = match self.load_once(visit) {
            Err(error)
                if error.kind == ErrorKind::Damaged
                    && self.options.on_damage == OnDamage::SetAside =>
            {
                self.salvage(&error)?;
                visit(Loaded::Anew);
                self.load_once(visit)?
            }
            loaded => loaded?,
        };
        Ok(LoadReport { damage: std::mem::take(&mut self.damage), ..report })
    }

    fn fetch(
        &mut self,
        session: SessionNo,
        entries: &[EntryNo],
        out: &mut Vec<(EntryNo, StoredDelivery)>,
    ) -> Result<(), StoreError> {
        self.run(|parts| {
            let Parts { engine, mind, front, rubbish, .. } = parts;
            if !front.young.lives(session, mind) {
                return Ok(());
            }
            let mut wanted = entries.to_vec();
            wanted.sort_unstable();
            wanted.dedup();
            let from = out.len();
            let others = front.young.fetch(session, &wanted, out);
            let both = out.len() > from;
            fetch::fetch(engine, session, &others, rubbish, out)?;
            if both && !others.is_empty() {
                out[from..].sort_unstable_by_key(|(entry, _)| *entry);
            }
            Ok(())
        })?;
        self.dispose();
        Ok(())
    }

    fn usage(&self) -> Usage {
        let disk_bytes = self.place.disk_bytes();
        let open = self.open.as_ref().and_then(|open| Some((open, open.mind.as_ref()?)));
        let Some(((open, mind), front)) = open.zip(self.front.as_ref()) else {
            return Usage { disk_bytes, ..Usage::default() };
        };
        let (sessions, flights) = front.young.counts(mind);
        Usage {
            disk_bytes,
            sessions,
            flights,
            retained: checkpoint::retained(&open.engine, mind, &front.young, self.place.seed),
            bodies: (mind.bodies.len() as u64).saturating_sub(checkpoint::freed_bodies(
                &open.engine,
                mind,
                &front.young,
            )),
            ending: mind.ended.len() as u64,
        }
    }

    fn tick(&mut self) -> Result<bool, StoreError> {
        if self.checkpoint_is_due() {
            self.checkpoint()?;
        }
        let more = self.run(|parts| parts.purge.step(parts.engine, parts.mind))?;
        let unsynced = self.front.as_ref().and_then(|front| front.unsynced);
        if let (Some(every), Some(since)) = (self.options.sync.every(), unsynced)
            && since.elapsed() >= every
        {
            self.sync_log()?;
        }
        Ok(more)
    }

    fn next_tick(&self) -> Option<Duration> {
        self.due()
    }
}

impl EmbeddedStore {
    /// When what is not synced yet is due, or is to get to the tables, or something ended is to be
    /// forgotten.
    fn due(&self) -> Option<Duration> {
        let open = self.open.as_ref()?;
        let front = self.front.as_ref()?;
        let after = |since: Instant, length: Duration| {
            length.saturating_sub(since.elapsed()).max(Duration::from_millis(1))
        };
        let every = self.options.sync.every();
        let unsynced = every.zip(front.unsynced).map(|(every, since)| after(since, every));
        let old = front.since.map(|since| after(since, self.options.young_max));
        let mind = open.mind.as_ref()?;
        let faded = mind
            .faded
            .front()
            .map(|(at, _)| Duration::from_millis((at + FADE_MS).saturating_sub(now_ms()).max(1)));
        [unsynced, old, faded].into_iter().flatten().min()
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // What was promised is synced already; this is for the other modes, and for a quick start.
        // Nobody is left to tell.
        if self.front.is_some() && self.checkpoint().is_err() {
            let _ = self.sync_log();
        }
    }
}
