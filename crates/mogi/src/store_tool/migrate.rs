//! `mogi store migrate`: takes everything from one place to another.
//!
//! A note in the other place says that it is not complete, from before the first change to after
//! the last one. If it is interrupted, the next run finds the note, looks what is there, and writes
//! what is missing.

use super::options::{Options, Side};
use super::place::Place;
use super::reading::Reading;
use super::target::{Contents, Target, in_use};
use super::{Failure, UNREADABLE, conclude, lack, print};
use mogi_core::store::StoreOp;
use mogi_store::embedded::migration;
use mogi_store::redis::{Purpose, RedisStore};
use mogi_store::{Progress, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TELL_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(options: &Options) -> Result<u8, Failure> {
    let [from, to] = &options.places[..] else { return Ok(0) };
    let from = Place::of(from, Side::From, options)?;
    let to = Place::of(to, Side::To, options)?;
    if from.to_string() == to.to_string() {
        return Err(Failure(UNREADABLE, format!("{from} is where it is already")));
    }
    let begun = Instant::now();
    refuse_users(&from)?;
    refuse_part(&from)?;
    let reading = Reading::open(&from, Purpose::Move)?;
    let mut target = Target::open(&to)?;
    let unfinished = target.migrating()?;
    let there = target.load()?;
    match unfinished {
        Some(other) if other != from.to_string() => {
            let line =
                format!("{to} holds a part of {other}: finish that migration, or empty {to} first");
            return Err(Failure(UNREADABLE, line));
        }
        Some(_) => eprintln!("Going on with a migration that was not finished."),
        None if there.is_empty() => target.begin(&from.to_string())?,
        None => {
            let line = format!("{to} holds state already: empty it, or name another place");
            return Err(Failure(UNREADABLE, line));
        }
    }
    let mut work = Work { reading, target, there, done: Progress::default(), told: begun };
    work.sessions()?;
    work.retained()?;
    work.wills()?;
    refuse_users(&from)?;
    work.finish(&from, begun)
}

/// # Errors
/// A broker uses it.
fn refuse_users(place: &Place) -> Result<(), Failure> {
    let user = match place {
        Place::Folder(dir) => migration::in_use_by(dir),
        Place::Redis(options) => {
            let users = RedisStore::open(options)?.users()?;
            (!users.is_empty()).then(|| users.join("; "))
        }
    };
    user.map_or(Ok(()), |user| Err(in_use(&place.to_string(), &user)))
}

/// # Errors
/// There is but a part of what was to be migrated there.
fn refuse_part(place: &Place) -> Result<(), Failure> {
    let of = match place {
        Place::Folder(dir) => migration::migrating(dir)?,
        Place::Redis(options) => RedisStore::open(options)?.migrating()?,
    };
    of.map_or(Ok(()), |other| {
        let line = format!("{place} holds a part of {other}: finish that migration first");
        Err(Failure(UNREADABLE, line))
    })
}

struct Work {
    reading: Reading,
    target: Target,
    /// What was there at the beginning.
    there: Contents,
    /// What is there by now.
    done: Progress,
    told: Instant,
}

impl Work {
    fn sessions(&mut self) -> Result<(), Failure> {
        let numbers: Vec<_> = self.reading.sessions.iter().map(|it| it.session).collect();
        for session in self.there.sessions.keys().copied() {
            if numbers.binary_search(&session).is_err() {
                self.target.put(StoreOp::SessionEnd { session })?;
            }
        }
        for (at, number) in numbers.into_iter().enumerate() {
            let there = self.there.sessions.get(&number);
            // From the broker's end on it was away, wherever it starts again.
            let session = &mut self.reading.sessions[at];
            session.record.left_at_ms =
                session.record.left_at_ms.or(self.reading.report.alive_at_ms);
            for op in lack::changes(session, there) {
                self.target.put(op)?;
            }
            let waiting = lack::waiting(session, there);
            let before = session.flights.len() + session.waiting.len() - waiting.len();
            self.done.entries += before as u64;
            let Self { reading, target, done, told, .. } = self;
            reading.each_of(at, &waiting, |session, entry, delivery| {
                done.entries += 1;
                tell(told, *done);
                target.put(StoreOp::Enqueued { session: session.session, entry, delivery })
            })?;
            self.done.sessions += 1;
            tell(&mut self.told, self.done);
        }
        Ok(())
    }

    fn retained(&mut self) -> Result<(), Failure> {
        let Self { reading, target, there, done, told } = self;
        let mut written: Result<(), StoreError> = Ok(());
        let mut gone = std::mem::take(&mut there.retained);
        reading.each_retained(|message, version| {
            done.retained += 1;
            tell(told, *done);
            let known = gone.remove(message.topic());
            if written.is_ok() && known.is_none_or(|known| known < version) {
                written = target.put(StoreOp::Retained { message, version });
            }
        })?;
        written?;
        for (topic, version) in gone {
            self.target.put(StoreOp::RetainedEnd { topic, version: version + 1 })?;
        }
        Ok(())
    }

    fn wills(&mut self) -> Result<(), Failure> {
        let mut gone = std::mem::take(&mut self.there.wills);
        for (client, will) in &self.reading.wills {
            gone.remove(client);
            let (client, will) = (Arc::clone(client), Arc::new(will.clone()));
            self.target.put(StoreOp::WillSet { client, will })?;
        }
        for client in gone {
            self.target.put(StoreOp::WillEnd { client })?;
        }
        self.target.flush()?;
        Ok(())
    }

    /// Looks whether all of it is there, and says so.
    fn finish(mut self, from: &Place, begun: Instant) -> Result<u8, Failure> {
        self.target.refuse_users()?;
        let report = self.target.load()?.report;
        let subscriptions: usize =
            self.reading.sessions.iter().map(|it| it.subscriptions.len()).sum();
        let wills = self.reading.wills.len();
        let expected = (self.done, subscriptions as u64, wills as u64);
        let found = (report.loaded, report.subscriptions, report.wills);
        let (done, to) = (self.done, &self.target.place);
        if found != expected {
            let line = format!(
                "{to} does not hold what was written: {found:?}, not {expected:?}. Something else \
                 writes to it"
            );
            return Err(Failure(UNREADABLE, line));
        }
        self.target.end()?;
        let seconds = begun.elapsed().as_secs_f64();
        print(&format!(
            "Migrated {} sessions with {subscriptions} subscriptions, {} messages for them, {} \
             retained messages and {wills} wills to {to} in {seconds:.1} s. {from} stays as it \
             is.\n",
            done.sessions, done.entries, done.retained
        ))?;
        Ok(conclude(&self.reading))
    }
}

/// Says how far it is, about once a second.
fn tell(told: &mut Instant, done: Progress) {
    if told.elapsed() >= TELL_EVERY {
        *told = Instant::now();
        eprintln!(
            "Migrating: {} sessions, {} messages for them and {} retained messages so far.",
            done.sessions, done.entries, done.retained
        );
    }
}
