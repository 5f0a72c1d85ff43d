//! What `mogi store` asks besides: who uses the store, and whether a migration is on its way.

use super::RedisStore;
use super::wire::{Commands, Reply, Request, SLOTS, Value, slot_of};
use crate::error::StoreError;

/// Slots that are asked who is connected: brokers are connected to all masters.
const ASKED: u16 = 64;

/// What the names of brokers' connections begin with.
const BROKER: &str = "mogi-";

/// What a broker's connections are called in `CLIENT LIST`: `mogi-NODE`, and `/PREFIX` behind it if
/// there is one, whose characters that must not stand there are `_`.
pub fn client_name(node: &str, prefix: &str) -> String {
    if prefix.is_empty() {
        return format!("{BROKER}{node}");
    }
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    format!("{BROKER}{node}/{}", prefix.chars().map(plain).collect::<String>())
}

impl RedisStore {
    /// The brokers that use this store, in words: those that are connected to Redis, and nodes
    /// whose lease has not run out.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn users(&self) -> Result<Vec<String>, StoreError> {
        let prefix = self.directory.keys.prefix();
        let requests = (0..SLOTS).step_by(usize::from(SLOTS / ASKED)).map(|slot| {
            let commands = Commands::one(&[b"CLIENT", b"LIST", b"TYPE", b"normal"]);
            Request { aside: true, ..Request::new(slot, commands) }
        });
        let mut users = Vec::new();
        for Reply { values, .. } in self.link.call(requests.collect())? {
            // A user who may not ask this has to know it.
            let list = values.first().and_then(Value::text).unwrap_or_default();
            users.extend(list.lines().filter_map(|line| broker(line, prefix)));
        }
        let connected = users.len();
        for node in self.nodes().seen()?.into_iter().filter(|node| node.alive) {
            if !users[..connected].iter().any(|user| user.starts_with(&named(&node.node))) {
                users.push(format!("{}whose lease has not run out yet", named(&node.node)));
            }
        }
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }

    /// Where the state comes from, if a migration has not brought all of it yet.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn migrating(&self) -> Result<Option<String>, StoreError> {
        let key = self.directory.keys.migrating();
        let replies = self.link.call(vec![self.about(&[b"GET", key.as_bytes()], &key)])?;
        let value = replies.first().and_then(|reply| reply.values.first());
        Ok(value.and_then(Value::text).map(str::to_owned))
    }

    /// Says that what is there is not all there is in `from`. Brokers do not start with it.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn begin_migration(&self, from: &str) -> Result<(), StoreError> {
        let key = self.directory.keys.migrating();
        let words = [b"SET", key.as_bytes(), from.as_bytes()];
        self.link.call(vec![self.about(&words, &key)]).map(drop)
    }

    /// Says that it is.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn end_migration(&self) -> Result<(), StoreError> {
        // The numbers of a node that was none.
        let marks = self.directory.keys.marks(&self.node);
        self.link.call(vec![self.about(&[b"UNLINK", marks.as_bytes()], &marks)])?;
        let key = self.directory.keys.migrating();
        self.link.call(vec![self.about(&[b"UNLINK", key.as_bytes()], &key)]).map(drop)
    }

    fn about(&self, words: &[&[u8]], key: &str) -> Request {
        let durable = words.first() != Some(&&b"GET"[..]);
        Request { durable, ..Request::new(slot_of(key.as_bytes()), Commands::one(words)) }
    }
}

fn named(node: &str) -> String {
    format!("the broker {node}, ")
}

/// The broker a line of `CLIENT LIST` is of, if it is one with this prefix.
fn broker(line: &str, prefix: &str) -> Option<String> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
    let name = field("name=")?.strip_prefix(BROKER)?;
    let node = name.split('/').next()?;
    let host = field("addr=")?.rsplit_once(':')?.0;
    (client_name(node, prefix).strip_prefix(BROKER) == Some(name))
        .then(|| format!("{}connected from {host}", named(node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_told_by_the_names_of_their_connections() {
        let line = |name: &str| format!("id=3 addr=10.0.0.1:4711 laddr=x:1 name={name} age=1");
        let named = "the broker n1, connected from 10.0.0.1";
        assert_eq!(broker(&line("mogi-n1"), "").as_deref(), Some(named));
        assert_eq!(broker(&line("mogi-n1/a:_b"), "a: b").as_deref(), Some(named));
        assert_eq!(client_name("n1", "a: b"), "mogi-n1/a:_b");
        for (name, prefix) in [("mogi-n1", "a:"), ("mogi-n1/a:", ""), ("mogi.store", ""), ("", "")]
        {
            assert_eq!(broker(&line(name), prefix), None, "{name} {prefix}");
        }
    }
}
