//! Removes in small steps what nobody needs any more: all that ended sessions left, and the memory
//! of retained messages that ended a while ago.
//!
//! That a session ended stands on disk until the last of it is gone; so a crash in between only
//! means that it goes on later.

use super::engine::Engine;
use super::keys;
use super::mind::{FADE_MS, Mind, faded_at};
use crate::clock::now_ms;
use crate::coding;
use crate::error::StoreError;
use crate::ops::{EntryNo, SessionNo};
use fjall::OwnedWriteBatch;

/// Records removed in one step: about 10 ms.
const STEP: usize = 2_000;

/// How far the removal of the first ended session is.
#[derive(Debug, Default)]
pub(super) struct Purge {
    /// The entry to go on at: what is before it is gone, and would have to be passed again.
    resume: Option<(SessionNo, EntryNo)>,
}

impl Purge {
    /// Does one step; whether there is more to do now.
    pub(super) fn step(&mut self, engine: &Engine, mind: &mut Mind) -> Result<bool, StoreError> {
        let mut batch = engine.batch(0);
        let mut left = STEP;
        while left > 0
            && let Some(session) = mind.ended.first().copied()
        {
            let removed = self.session(engine, mind, session, left, &mut batch)?;
            left -= removed;
            if left > 0 {
                batch.remove(&engine.state, keys::of_session(keys::ENDED, session));
                mind.ended.pop_first();
                self.resume = None;
                // Ending costs a little even where nothing is left behind.
                left -= 1;
            }
        }
        self.faded(engine, mind, left, &mut batch)?;
        if !batch.is_empty() {
            engine.commit(batch)?;
        }
        let due = now_ms().saturating_sub(FADE_MS);
        let faded = mind.faded.front().is_some_and(|(at, _)| *at <= due);
        Ok(!mind.ended.is_empty() || faded)
    }

    /// Removes up to `limit` records of an ended session; how many there were.
    fn session(
        &mut self,
        engine: &Engine,
        mind: &mut Mind,
        session: SessionNo,
        limit: usize,
        batch: &mut OwnedWriteBatch,
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        let from = match self.resume {
            Some((resumed, from)) if resumed == session => from,
            _ => EntryNo(0),
        };
        engine.read(|| {
            let range = keys::queue(session, from)..=keys::queue(session, EntryNo(u64::MAX));
            for guard in engine.queue.range(range).take(limit) {
                let (key, record) = guard.into_inner()?;
                count += 1;
                self.resume = keys::split_queue(&key);
                let entry = coding::open(&key, &record).and_then(coding::entry);
                if let Some(body) = entry.and_then(|it| it.body)
                    && mind.unshare(session, body)
                {
                    batch.remove(&engine.bodies, body.to_be_bytes());
                }
                batch.remove(&engine.queue, key);
            }
            for kind in [keys::SUBSCRIPTION, keys::RECEIVED, keys::FLIGHT] {
                let prefix = keys::of_session(kind, session);
                for guard in engine.state.prefix(prefix).take(limit - count) {
                    batch.remove(&engine.state, guard.key()?);
                    count += 1;
                }
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// Forgets retained messages that ended long enough ago.
    fn faded(
        &self,
        engine: &Engine,
        mind: &mut Mind,
        limit: usize,
        batch: &mut OwnedWriteBatch,
    ) -> Result<(), StoreError> {
        let due = now_ms().saturating_sub(FADE_MS);
        for _ in 0..limit {
            if mind.faded.front().is_none_or(|(at, _)| *at > due) {
                break;
            }
            let Some((at, key)) = mind.faded.pop_front() else { break };
            let record = engine.read(|| engine.retained.get(&*key))?;
            // It may have one again, or may have ended once more.
            if record.is_some_and(|record| faded_at(&key, &record) == Some(at)) {
                batch.remove(&engine.retained, &*key);
            }
        }
        Ok(())
    }
}
