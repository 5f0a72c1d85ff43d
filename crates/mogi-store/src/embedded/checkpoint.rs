//! Between log, young and tables.

use super::log::changes::{self, Writer};
use super::log::{Found, Log};
use super::mind::retained_head;
use super::scan::read_checkpoint;
use super::stage::{Stage, Survey};
use super::young::Young;
use super::{EmbeddedStore, Engine, Front, LOOKED_UP, Mind, OnDamage, Open, Parts, keys, place};
use crate::clock::now_ms;
use crate::coding;
use crate::error::{ErrorKind, StoreError};
use crate::ops::{EntryNo, SessionNo, StoreOp};
use hashbrown::HashMap;
use std::fs;
use std::time::Instant;

impl EmbeddedStore {
    /// Appends the batches to the log, and takes them in.
    pub(super) fn append(&mut self, batches: &[&[StoreOp]]) -> Result<(), StoreError> {
        self.know()?;
        let ops = || batches.iter().copied().flatten();
        let Some(front) = &mut self.front else { return Ok(()) };
        let appended = front.log.append(|out| {
            let mut writer = Writer::default();
            ops().for_each(|op| writer.put(op, out));
        });
        appended.map_err(|error| self.explained(error))?;
        self.run(|parts| {
            let Parts { engine, mind, front, .. } = parts;
            front.unsynced = front.unsynced.or_else(|| Some(Instant::now()));
            front.since = front.since.or_else(|| Some(Instant::now()));
            front.young.marks.alive_at_ms = now_ms();
            ops().try_for_each(|op| take_in(&mut front.young, op, engine, mind))
        })
    }

    /// Makes what was appended durable.
    pub(super) fn sync_log(&mut self) -> Result<(), StoreError> {
        let Some(Front { log, .. }) = self.front.as_ref().filter(|it| it.unsynced.is_some()) else {
            return Ok(());
        };
        if !log.is_open() {
            // A new file says nothing of a checkpoint before it: one that is in doubt has to be
            // durable by then, as the next process would take it for that.
            self.know()?;
        }
        let Some(front) = &mut self.front else { return Ok(()) };
        let synced = match front.log.is_open() {
            true => front.log.sync(),
            false => begin(front),
        };
        synced.map_err(|error| self.explained(error))?;
        if let Some(front) = &mut self.front {
            front.unsynced = None;
        }
        Ok(())
    }

    /// Sees to it that a record can be appended.
    pub(super) fn make_room(&mut self) -> Result<(), StoreError> {
        self.know()?;
        let Some(front) = &mut self.front else { return Ok(()) };
        let full = front.log.bytes() >= self.options.log_bytes;
        let (bytes, limit) = (front.young.bytes(), self.options.young_bytes);
        if bytes >= limit || (full && bytes as u64 >= self.options.log_bytes / 2) {
            self.checkpoint()?;
        }
        let Some(front) = &mut self.front else { return Ok(()) };
        if front.log.bytes() >= self.options.log_bytes || !front.log.is_open() {
            begin(front).map_err(|error| self.explained(error))?;
        }
        Ok(())
    }

    /// Whether it is time for a checkpoint, as seen between two groups.
    pub(super) fn checkpoint_is_due(&self) -> bool {
        let Some(front) = &self.front else { return false };
        front.since.is_some_and(|since| since.elapsed() >= self.options.young_max)
    }

    /// Puts everything into the tables; then the log begins anew.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        #[cfg(test)]
        let trouble = self.trouble.clone();
        let done = self.run(|parts| {
            let Parts { engine, mind, front, options, scratch, place, .. } = parts;
            if front.young.is_empty() {
                front.since = None;
                return Ok(());
            }
            let mut survey = Survey::new(options.share_from_bytes);
            front.young.each::<StoreError>(&mut |op| {
                survey.add(op);
                Ok(())
            })?;
            let mut stage = Stage::new(engine, mind, place.seed, scratch, survey);
            front.young.each(&mut |op| stage.apply(op))?;
            let batch = stage.finish(&front.young.marks, front.log.last());
            // From here on the tables may have it, or not.
            front.young.settled = front.young.marks.entry;
            #[cfg(test)]
            trouble.before_commit()?;
            engine.commit(batch)?;
            #[cfg(test)]
            trouble.before_sync()?;
            engine.sync()?;
            #[cfg(test)]
            trouble.synced();
            front.young.settle();
            front.log.restart();
            (front.unsynced, front.since) = (None, None);
            Ok(())
        });
        self.suspect |= done.is_err();
        done
    }

    /// Goes through the log behind the checkpoint.
    pub(super) fn replay(&mut self) -> Result<Front, StoreError> {
        let Some(Open { engine, mind: Some(mind), .. }) = &self.open else {
            return Err(StoreError::new(ErrorKind::Io, self.place.dir(), "it is not open"));
        };
        let checkpoint = read_checkpoint(engine)?;
        let mut young = Young::new(mind.marks);
        let (mut found, mut result) = (Found::default(), Ok(()));
        let path = self.options.dir.join(place::LOG);
        let stop = self.options.on_damage == OnDamage::Stop;
        let at = ((self.disk)(), &*path, self.place.seed);
        let log = Log::replay(at, checkpoint, stop, &mut found, |step| {
            if step.base {
                young.reset();
            }
            young.marks.alive_at_ms = young.marks.alive_at_ms.max(step.at_ms);
            let whole = changes::read(step.changes, |op| {
                if result.is_ok() {
                    result = take_in(&mut young, &op, engine, mind);
                }
            });
            debug_assert!(whole, "the checksum says that it is what was written");
        })?;
        result?;
        self.tell(found)?;
        let since = (!young.is_empty()).then(Instant::now);
        Ok(Front { log, young, unsynced: since, since })
    }

    /// Looks into the log at a start; whether it has nothing that the tables do not have.
    ///
    /// The process before may have been killed between the writing of a checkpoint and its sync,
    /// or that sync may have failed. Then the tables are made durable before the log goes on behind
    /// that checkpoint.
    pub(super) fn confirm(&mut self) -> Result<bool, StoreError> {
        let checkpoint = read_checkpoint(&self.engine()?.engine)?;
        let path = self.options.dir.join(place::LOG);
        let at = ((self.disk)(), &*path, self.place.seed);
        let mut found = Found::default();
        let mut void = true;
        Log::replay(at, checkpoint, false, &mut found, |_| void = false)?;
        if found.unconfirmed && !self.confirmed {
            self.open = None;
            self.suspect = true;
            self.engine()?;
        }
        self.confirmed = true;
        Ok(void && found.lost_bytes == 0)
    }

    /// Keeps what is damaged for people, and takes it down.
    fn tell(&mut self, found: Found) -> Result<(), StoreError> {
        self.damage.torn_bytes += found.torn_bytes;
        self.damage.lost_journal_bytes += found.lost_bytes;
        for (words, name, bytes) in found.damaged {
            let copy = self.place.make_aside()?.join(name);
            let failed = |error| StoreError::io(&copy, "copy this damaged log", &error);
            fs::write(&copy, bytes).map_err(failed)?;
            self.damage.note(|| words);
            self.damage.set_aside.push(copy);
        }
        Ok(())
    }
}

/// Begins a new file of the log with all that is not in the tables.
fn begin(front: &mut Front) -> Result<(), StoreError> {
    let Front { log, young, unsynced, .. } = front;
    log.begin(|out| {
        let mut writer = Writer::default();
        // Putting cannot fail.
        let _: Result<(), std::convert::Infallible> = young.each(&mut |op| {
            writer.put(op, out);
            Ok(())
        });
    })?;
    *unsynced = None;
    Ok(())
}

fn take_in(
    young: &mut Young,
    op: &StoreOp,
    engine: &Engine,
    mind: &Mind,
) -> Result<(), StoreError> {
    young.apply(op, mind, &mut |session, entry| {
        let key = keys::queue(session, entry);
        let known = mind.flights.contains_key(&(session, entry));
        Ok(known || engine.read(|| engine.queue.contains_key(key))?)
    })
}

/// Messages for several entries that none of them needs any more; no more of them are looked for
/// than is quickly done.
pub(super) fn freed_bodies(engine: &Engine, mind: &Mind, young: &Young) -> u64 {
    if mind.bodies.is_empty() {
        return 0;
    }
    let mut left: HashMap<u64, u32> = HashMap::new();
    for (session, entry) in young.gone(LOOKED_UP) {
        if let Ok(Some(body)) = body_of(engine, session, entry) {
            *left.entry(body).or_default() += 1;
        }
    }
    let freed = |(body, gone): &(&u64, &u32)| mind.bodies.get(*body).is_some_and(|it| it <= gone);
    left.iter().filter(freed).count() as u64
}

/// Retained messages, with those that are not in the tables. Where these are many, it is told from
/// some of them.
pub(super) fn retained(engine: &Engine, mind: &Mind, young: &Young, seed: u64) -> u64 {
    let (all, topics) = young.topics(LOOKED_UP);
    let (mut looked_up, mut more) = (0_i64, 0_i64);
    let mut key = Vec::new();
    for (topic, present) in topics {
        keys::put_text(&[], topic, seed, &mut key);
        let record = engine.read(|| engine.retained.get(&key)).ok().flatten();
        let mut input = record.as_ref().and_then(|record| coding::open(&key, record));
        let before = input.as_mut().and_then(retained_head).is_some_and(|(_, present)| present);
        looked_up += 1;
        more += i64::from(present) - i64::from(before);
    }
    mind.retained.saturating_add_signed(more * all as i64 / looked_up.max(1))
}

fn body_of(engine: &Engine, session: SessionNo, entry: EntryNo) -> Result<Option<u64>, StoreError> {
    let key = keys::queue(session, entry);
    let record = engine.read(|| engine.queue.get(key))?;
    let entry = record.as_ref().and_then(|record| coding::open(&key, record));
    Ok(entry.and_then(coding::entry).and_then(|entry| entry.body))
}
