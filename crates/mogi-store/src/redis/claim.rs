//! Sessions of several nodes: who owns which, and which nodes there are.
//!
//! A session belongs to the node that claimed it last. Each claim has a greater epoch, and what an
//! owner changes under an older one is refused. So a node that hung, or was cut off, can do no harm
//! when it comes back.

use super::directory::Directory;
use super::encode::Found;
use super::functions::Function;
use super::journal::{self, Parts};
use super::keys::{Keys, Of, PUBLISHED, Per, Tag};
use super::link::Link;
use super::read::{self, Partial};
use super::store::{RedisStore, Undone};
use super::wire::{Commands, Reply, Request, Value, slot_of};
use crate::clock::now_ms;
use crate::error::StoreError;
use crate::ops::{Cause, SessionNo, StoreOp, StoredSession, StoredWill};
use crate::store::Damage;
use std::sync::Arc;
use std::time::Duration;

/// A client id that was claimed, and what there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The client id.
    pub client: Arc<str>,
    /// Its session, if it has one that outlives connections: with the numbers of what waits, not
    /// the messages.
    pub session: Option<StoredSession>,
    /// The claim's epoch; greater than that of each claim before.
    pub epoch: u64,
    /// The epoch of the claim before; 0: there was none.
    pub epoch_before: u64,
    /// Whose it was; `None`: nobody's. It may be the node that claims it now.
    pub old_owner: Option<Arc<str>>,
    /// Its will.
    pub will: Option<StoredWill>,
    /// Sessions that got messages the owner before had left undone.
    pub reached: Vec<SessionNo>,
    /// The retained messages among those, and ends of such.
    pub retained: Vec<StoreOp>,
}

/// A claim on its way: first the claim itself and what can be read at once, then the rest.
#[derive(Debug)]
pub(super) struct Claiming {
    pub(super) client: Arc<str>,
    pub(super) tag: Tag,
    /// What was claimed; `None` until it is.
    claimed: Option<Claimed>,
    pub(super) partial: Option<Partial>,
    /// What became of a will and may not be in all queues.
    will: Option<Parts>,
    damage: Damage,
    /// Nothing is claimed.
    only_reads: bool,
    /// What there is was read, or begun to be.
    read: bool,
}

impl Claiming {
    pub(super) fn new(client: &Arc<str>) -> Self {
        let damage = Damage::default();
        let (client, tag) = (Arc::clone(client), Tag::of(client));
        Self {
            client,
            tag,
            claimed: None,
            partial: None,
            will: None,
            damage,
            only_reads: false,
            read: false,
        }
    }

    /// A look at what waits, without a claim.
    pub(super) fn reading(client: &Arc<str>) -> Self {
        let nothing = Claimed {
            client: Arc::clone(client),
            session: None,
            epoch: 0,
            epoch_before: 0,
            old_owner: None,
            will: None,
            reached: Vec::new(),
            retained: Vec::new(),
        };
        Self { claimed: Some(nothing), only_reads: true, ..Self::new(client) }
    }

    pub(super) const fn only_reads(&self) -> bool {
        self.only_reads
    }

    /// What to ask next; nothing: that is all.
    pub(super) fn commands(&self, directory: &Directory, node: &str) -> Commands {
        if let Some(partial) = &self.partial {
            return partial.rest(&directory.keys);
        }
        let keys = &directory.keys;
        if self.only_reads {
            return read::commands_of_waiting(keys, &self.tag);
        }
        let mut commands = Commands::new();
        match &self.claimed {
            None => {
                let session = keys.of(&self.tag, Of::Session);
                let claim = [b"FCALL", Function::Claim.name(), b"1", session.as_bytes()];
                commands.begin(5);
                claim.iter().for_each(|word| {
                    commands.word(word);
                });
                commands.word(node.as_bytes());
            }
            // It was read before, and changed since.
            Some(_) => {
                commands.push(&[b"PING"]);
            }
        }
        commands.push(&[b"HGETALL", keys.of(&self.tag, Of::Will).as_bytes()]);
        commands.append(&read::commands(keys, &self.tag));
        commands
    }

    /// Takes the replies. What stands for packet ids of the one before is in
    /// [`Partial::pending`] of [`Self::partial`] then.
    pub(super) fn take(&mut self, values: &[Value]) -> Result<(), String> {
        if let Some(error) = values.iter().find_map(Value::error) {
            return Err(error.to_string());
        }
        if let Some(partial) = &mut self.partial {
            partial.take_rest(values, &mut self.damage);
            return Ok(());
        }
        if self.only_reads {
            self.partial = read::begin(&self.client, &self.tag, values, &mut self.damage);
            self.read = true;
            return Ok(());
        }
        let [claim, will, session @ ..] = values else { return Ok(()) };
        if self.claimed.is_none() {
            let claim = claim.array().unwrap_or_default();
            let text = |at: usize| claim.get(at).and_then(Value::text).unwrap_or_default();
            self.claimed = Some(Claimed {
                client: Arc::clone(&self.client),
                session: None,
                epoch: text(0).parse().unwrap_or(0),
                epoch_before: text(2).parse().unwrap_or(0),
                old_owner: Some(text(1)).filter(|it| !it.is_empty()).map(Arc::from),
                will: None,
                reached: Vec::new(),
                retained: Vec::new(),
            });
        }
        if let Some(claimed) = &mut self.claimed {
            claimed.will = Found::of(will).will().map(|(_, will)| will);
        }
        self.will = Found::of(will).get(PUBLISHED).and_then(journal::read);
        self.partial = read::begin(&self.client, &self.tag, session, &mut self.damage);
        self.read = true;
        Ok(())
    }

    /// Whether nothing is left to be read.
    pub(super) fn is_complete(&self, directory: &Directory) -> bool {
        self.read && self.partial.as_ref().is_none_or(|it| it.rest(&directory.keys).is_empty())
    }

    /// What the owner before may have left undone; asked once.
    pub(super) fn take_undone(&mut self) -> Vec<(Cause, Parts)> {
        let of_session = self.partial.as_mut().map(|it| std::mem::take(&mut it.pending));
        let will = self.will.take().map(|parts| (Cause::Will(Arc::clone(&self.client)), parts));
        of_session.unwrap_or_default().into_iter().chain(will).collect()
    }

    /// The epoch, once it was claimed.
    pub(super) fn epoch(&self) -> u64 {
        self.claimed.as_ref().map_or(0, |claimed| claimed.epoch)
    }

    /// Whether that node had the client before, under the claim of that epoch.
    pub(super) fn was_with(&self, node: &str, epoch: u64) -> bool {
        self.claimed.as_ref().is_some_and(|claimed| {
            claimed.old_owner.as_deref() == Some(node) && claimed.epoch_before == epoch
        })
    }

    /// Reads the session once more: it has changed.
    pub(super) fn begin_anew(&mut self) {
        (self.partial, self.read) = (None, false);
    }

    pub(super) fn finish(self) -> Option<Claimed> {
        let mut claimed = self.claimed?;
        claimed.session = self.partial.map(Partial::finish);
        Some(claimed)
    }
}

/// A node as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name.
    pub node: String,
    /// Where its cluster listener can be reached.
    pub address: String,
    /// When it last renewed its lease, in milliseconds since 1970.
    pub seen_at_ms: u64,
    /// Whether its lease holds.
    pub alive: bool,
    /// Whether another node has declared it dead since.
    pub dead: bool,
}

/// A client, and the node it was connected to last.
pub type ClientOf = (Arc<str>, Option<String>);

/// The nodes of a cluster. Calls block.
#[derive(Clone)]
pub struct Nodes {
    pub(super) link: Link,
    pub(super) keys: Keys,
    node: Arc<str>,
}

/// What stands in the place of the lease of a node that was declared dead.
const DEAD: &[u8] = b"dead";

/// The slots of a cluster.
const SLOTS: u16 = 16_384;

/// How long a node's number is its own without a word, in milliseconds.
const SLOT_MS: u64 = 3_600_000;

/// Nodes that have not been seen for so long are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

impl Nodes {
    pub(super) fn new(link: &Link, keys: &Keys, node: &Arc<str>) -> Self {
        Self { link: link.clone(), keys: keys.clone(), node: Arc::clone(node) }
    }

    /// Says that this node lives, for so long; whether no other node has declared it dead.
    /// `address`: where its cluster listener is; `start`: which start of it this is.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn renew(&self, address: &str, start: u64, ttl: Duration) -> Result<bool, StoreError> {
        let (key, all) = (self.keys.node(&self.node), self.keys.nodes());
        let mut lease = Commands::new();
        lease.begin(6).word(b"SET").word(key.as_bytes()).word(lease_of(address, start).as_bytes());
        lease.word(b"PX").number(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)).word(b"GET");
        let seen = format!("seen={} address={address}", now_ms());
        let names = [b"HSET", all.as_bytes(), self.node.as_bytes(), seen.as_bytes()];
        let replies = self.link.call(vec![
            Request::new(slot_of(key.as_bytes()), lease),
            Request::new(slot_of(all.as_bytes()), Commands::one(&names)),
        ])?;
        let before = replies.first().and_then(|reply| reply.values.first());
        Ok(before.is_none_or(|value| value.bytes() != Some(DEAD)))
    }

    /// Declares a node dead if its lease has ended; whether it is. It learns of that when it renews
    /// its lease. That the lease has ended does not mean that it is dead: while Redis could not be
    /// reached, nobody renewed theirs.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn declare_dead(&self, node: &str) -> Result<bool, StoreError> {
        let key = self.keys.node(node);
        let mut declare = Commands::new();
        declare.begin(6).word(b"SET").word(key.as_bytes()).word(DEAD).word(b"PX");
        declare.number(FORGOTTEN.as_millis() as u64).word(b"NX");
        declare.begin(2).word(b"GET").word(key.as_bytes());
        let replies = self.link.call(vec![Request::new(slot_of(key.as_bytes()), declare)])?;
        let now = replies.first().and_then(|reply| reply.values.get(1));
        Ok(now.is_some_and(|value| value.bytes() == Some(DEAD)))
    }

    /// Declares a node dead whose lease holds, because that start of it was seen to have ended;
    /// whether it is. `false`: it has started again since, or says of itself that it ends.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn declare_ended(&self, node: &str, address: &str, start: u64) -> Result<bool, StoreError> {
        let key = self.keys.node(node);
        let slot = slot_of(key.as_bytes());
        let look = Commands::one(&[b"GET", key.as_bytes()]);
        let replies = self.link.call(vec![Request::new(slot, look)])?;
        let lease = replies.first().and_then(|reply| reply.values.first());
        let lease = lease.and_then(Value::bytes);
        if lease != Some(lease_of(address, start).as_bytes()) {
            return Ok(lease == Some(DEAD));
        }
        // Should it start again right now, it is told with its next renewal, and begins anew.
        let mut declare = Commands::new();
        declare.begin(6).word(b"SET").word(key.as_bytes()).word(DEAD).word(b"PX");
        declare.number(FORGOTTEN.as_millis() as u64).word(b"XX");
        let replies = self.link.call(vec![Request::new(slot, declare)])?;
        let done = replies.first().and_then(|reply| reply.values.first());
        Ok(done.is_some_and(|value| *value != Value::Nil))
    }

    /// Takes a number that no other node has, for as long as it is taken again within the hour;
    /// the one this node had, if it had one. `None`: there are 256 nodes.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn take_slot(&self) -> Result<Option<u8>, StoreError> {
        let keys: Vec<String> = (0..=u8::MAX).map(|slot| self.keys.node_slot(slot)).collect();
        let owner = |reply: &Reply| match reply.values.first() {
            Some(Value::Nil) | None => None,
            Some(value) => Some(value.text().unwrap_or_default().to_owned()),
        };
        let asked = keys.iter().map(|key| {
            Request::new(slot_of(key.as_bytes()), Commands::one(&[b"GET", key.as_bytes()]))
        });
        let owners: Vec<Option<String>> =
            self.link.call(asked.collect())?.iter().map(owner).collect();
        let own = owners.iter().position(|owner| owner.as_deref() == Some(&*self.node));
        let free = (0..owners.len()).filter(|at| owners[*at].is_none());
        for at in own.into_iter().chain(free) {
            let key = &keys[at];
            let mut take = Commands::new();
            take.begin(if own == Some(at) { 5 } else { 6 }).word(b"SET").word(key.as_bytes());
            take.word(self.node.as_bytes()).word(b"PX").number(SLOT_MS);
            if own != Some(at) {
                take.word(b"NX");
            }
            let replies = self.link.call(vec![Request::new(slot_of(key.as_bytes()), take)])?;
            if replies.first().is_some_and(|reply| owner(reply).is_some()) {
                return Ok(u8::try_from(at).ok());
            }
        }
        Ok(None)
    }

    /// Keeps the number for another hour.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn keep_slot(&self, slot: u8) -> Result<(), StoreError> {
        let key = self.keys.node_slot(slot);
        let mut keep = Commands::new();
        keep.begin(3).word(b"PEXPIRE").word(key.as_bytes()).number(SLOT_MS);
        self.link.call(vec![Request::new(slot_of(key.as_bytes()), keep)])?;
        Ok(())
    }

    /// All nodes seen lately, this one too, by name; others are forgotten.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn all(&self) -> Result<Vec<NodeSeen>, StoreError> {
        let all = self.keys.nodes();
        let slot = slot_of(all.as_bytes());
        let now_ms = now_ms();
        let (kept, old): (Vec<_>, Vec<_>) = self.seen()?.into_iter().partition(|node| {
            node.alive || now_ms.saturating_sub(node.seen_at_ms) < FORGOTTEN.as_millis() as u64
        });
        if !old.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"HDEL", all.as_bytes()];
            words.extend(old.iter().map(|node| node.node.as_bytes()));
            self.link.call(vec![Request::new(slot, Commands::one(&words))])?;
        }
        Ok(kept)
    }

    /// All nodes that are not forgotten yet, by name.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(super) fn seen(&self) -> Result<Vec<NodeSeen>, StoreError> {
        let all = self.keys.nodes();
        let slot = slot_of(all.as_bytes());
        let list = Commands::one(&[b"HGETALL", all.as_bytes()]);
        let replies = self.link.call(vec![Request::new(slot, list)])?;
        let nothing = Value::Nil;
        let list = replies.first().and_then(|reply| reply.values.first()).unwrap_or(&nothing);
        let mut nodes: Vec<NodeSeen> = Found::of(list).pairs().filter_map(seen).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        let leases = nodes.iter().map(|seen| {
            let key = self.keys.node(&seen.node);
            Request::new(slot_of(key.as_bytes()), Commands::one(&[b"GET", key.as_bytes()]))
        });
        let replies = self.link.call(leases.collect())?;
        for (node, reply) in nodes.iter_mut().zip(&replies) {
            let lease = reply.values.first().and_then(Value::bytes);
            node.dead = lease == Some(DEAD);
            node.alive = lease.is_some() && !node.dead;
        }
        Ok(nodes)
    }

    /// The clients that have wills, and the node each was connected to last. It looks into all
    /// slots: to be asked when a node is gone, not more often.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn wills(&self) -> Result<Vec<ClientOf>, StoreError> {
        let slots = (0..SLOTS).map(|slot| {
            let key = self.keys.per(slot, Per::Wills);
            let ask = Commands::one(&[b"HKEYS", key.as_bytes()]);
            Request { aside: true, ..Request::new(slot, ask) }
        });
        let mut clients: Vec<Arc<str>> = Vec::new();
        for reply in self.link.call(slots.collect())? {
            let names = reply.values.first().and_then(Value::array).unwrap_or_default();
            clients.extend(names.iter().filter_map(Value::text).map(Arc::from));
        }
        let owners = clients.iter().map(|client| {
            let tag = Tag::of(client);
            let key = self.keys.of(&tag, Of::Session);
            let ask = Commands::one(&[b"HGET", key.as_bytes(), b"node"]);
            Request { aside: true, ..Request::new(tag.slot, ask) }
        });
        let owners = self.link.call(owners.collect())?;
        let owner = |reply: &Reply| {
            let owner = reply.values.first().and_then(Value::text);
            owner.filter(|owner| !owner.is_empty()).map(ToOwned::to_owned)
        };
        Ok(clients.into_iter().zip(owners.iter().map(owner)).collect())
    }

    /// The store, to look at what there is; nothing is changed by it.
    pub fn look(&self) -> RedisStore {
        RedisStore::looking(self.link.clone(), &self.keys, &self.node)
    }

    /// Says that this node ends.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn leave(&self) -> Result<(), StoreError> {
        let (key, all) = (self.keys.node(&self.node), self.keys.nodes());
        let lease = Commands::one(&[b"DEL", key.as_bytes()]);
        let name = Commands::one(&[b"HDEL", all.as_bytes(), self.node.as_bytes()]);
        self.link.call(vec![
            Request::new(slot_of(key.as_bytes()), lease),
            Request::new(slot_of(all.as_bytes()), name),
        ])?;
        Ok(())
    }
}

/// What stands in the place of a lease.
fn lease_of(address: &str, start: u64) -> String {
    format!("address={address} start={start}")
}

fn seen((node, text): (&[u8], &[u8])) -> Option<NodeSeen> {
    let text = std::str::from_utf8(text).ok()?;
    let (seen, address) = text.strip_prefix("seen=")?.split_once(" address=")?;
    Some(NodeSeen {
        node: std::str::from_utf8(node).ok()?.to_owned(),
        address: address.to_owned(),
        seen_at_ms: seen.parse().ok()?,
        alive: false,
        dead: false,
    })
}

impl RedisStore {
    /// Makes this node the owner of the client id, and reads what there is of it.
    ///
    /// # Errors
    /// If Redis does not answer, or one of its keys is none of ours.
    pub fn claim(&mut self, client: &Arc<str>) -> Result<Claimed, StoreError> {
        let mut claiming = Claiming::new(client);
        loop {
            let commands = claiming.commands(&self.directory, &self.node);
            let request = Request::new(claiming.tag.slot, commands);
            let replies = self.link.call(vec![request])?;
            let values = replies.first().map_or(&[][..], |reply| &reply.values);
            claiming.take(values).map_err(|what| self.link.told(what))?;
            let session = claiming.partial.as_ref().map(|it| it.session.session);
            self.directory.claimed(client, claiming.epoch(), session);
            let undone = claiming.take_undone();
            let again = !undone.is_empty();
            for (cause, parts) in undone {
                let (client, epoch) = (Arc::clone(client), claiming.epoch());
                let session = session.unwrap_or(SessionNo::NONE);
                self.roll_forward(&Undone { client, session, epoch, cause, parts })?;
            }
            if again {
                claiming.begin_anew();
            } else if claiming.is_complete(&self.directory) {
                return claiming.finish().ok_or_else(|| self.link.told("it was not claimed"));
            }
        }
    }

    /// Ends the session of a client id if this node's claim still holds; whether there was one.
    /// `Ok(None)`: another node has claimed it since.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub fn end_if_owner(&mut self, client: &str, epoch: u64) -> Result<Option<bool>, StoreError> {
        let (keys, tag) = (&self.directory.keys, Tag::of(client));
        let all = [Of::Session, Of::Subs, Of::Queue, Of::Inflight, Of::Recv, Of::Late];
        let mut commands = Commands::new();
        commands.begin(13).word(b"FCALL").word(Function::EndIf.name()).number(7);
        for what in all {
            commands.word(keys.of(&tag, what).as_bytes());
        }
        commands.word(keys.per(tag.slot, Per::Sessions).as_bytes());
        commands.number(epoch).word(keys.flights(&tag).as_bytes()).word(client.as_bytes());
        let replies = self.link.call(vec![Request::new(tag.slot, commands)])?;
        match replies.first().and_then(|reply| reply.values.first()) {
            Some(Value::ServerError(error)) if error.code() == "FENCED" => Ok(None),
            Some(Value::ServerError(error)) => Err(self.link.told(error.to_string())),
            value => Ok(Some(value.and_then(Value::int) == Some(1))),
        }
    }

    /// The nodes that use this store.
    pub fn nodes(&self) -> Nodes {
        Nodes::new(&self.link, &self.directory.keys, &self.node)
    }
}
