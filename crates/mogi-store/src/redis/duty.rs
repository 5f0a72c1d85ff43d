//! What one node of several does at a time: a lease for each.

use super::claim::Nodes;
use super::wire::{Commands, Request, Value, slot_of};
use crate::error::StoreError;
use std::time::Duration;

/// What a lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DutyKey<'a> {
    /// Carrying the bridge of that name.
    Name(&'a str),
    /// Carrying what a bridge carries, by a hash of that.
    Job(&'a str),
}

impl Nodes {
    /// Takes a lease for so long, or renews it: `None`: it holds; else what its holder has written
    /// there. `text`: what this node writes, which no other one does.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn hold(
        &self,
        key: DutyKey<'_>,
        text: &str,
        ttl: Duration,
    ) -> Result<Option<String>, StoreError> {
        let key = self.keys.duty(key);
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let mut take = Commands::new();
        take.begin(6).word(b"SET").word(key.as_bytes()).word(text.as_bytes());
        take.word(b"PX").number(ttl_ms).word(b"NX");
        take.begin(2).word(b"GET").word(key.as_bytes());
        let [taken, holder] = self.ask(&key, take)?;
        if taken != Value::Nil || holder.text() != Some(text) {
            return Ok(other(&holder, text));
        }
        // Should it end right now, another one's lease is made longer by this, which does no harm.
        let mut renew = Commands::new();
        renew.begin(3).word(b"PEXPIRE").word(key.as_bytes()).number(ttl_ms);
        renew.begin(2).word(b"GET").word(key.as_bytes());
        let [_, holder] = self.ask(&key, renew)?;
        Ok(other(&holder, text))
    }

    /// Gives a lease back, if it is this node's.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn release(&self, key: DutyKey<'_>, text: &str) -> Result<(), StoreError> {
        let key = self.keys.duty(key);
        let mut look = Commands::one(&[b"GET", key.as_bytes()]);
        // Two replies, as everywhere here.
        look.push(&[b"PTTL", key.as_bytes()]);
        let [holder, left] = self.ask(&key, look)?;
        // One that is about to end may be another's when this arrives.
        if holder.text() == Some(text) && left.int().is_some_and(|left_ms| left_ms > 500) {
            let delete = Commands::one(&[b"DEL", key.as_bytes()]);
            self.link.call(vec![Request::new(slot_of(key.as_bytes()), delete)])?;
        }
        Ok(())
    }

    /// Two commands about a key, and their replies.
    fn ask(&self, key: &str, commands: Commands) -> Result<[Value; 2], StoreError> {
        let replies = self.link.call(vec![Request::new(slot_of(key.as_bytes()), commands)])?;
        let values = replies.into_iter().next().map(|reply| reply.values).unwrap_or_default();
        if let Some(error) = values.iter().find_map(Value::error) {
            return Err(self.link.told(error.to_string()));
        }
        let replies = values.try_into();
        replies.map_err(|_| self.link.told(format!("'{key}': not as many replies as commands")))
    }
}

/// Who holds it, if that is another one.
fn other(holder: &Value, text: &str) -> Option<String> {
    holder.text().filter(|holder| *holder != text).map(str::to_owned)
}
