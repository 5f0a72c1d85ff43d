//! A session comes here from another node, or from nowhere, or goes to one.
//!
//! ```text
//!  CONNECT ─► claim (the store raises the epoch) ─► Worker::claimed ─► other nodes know (told)
//!                                                                        │
//!          Worker::connect ◄─ Worker::catch_up ◄─ the waiting entries ◄──┘
//! ```
//! In this order nothing is missed: from the moment all others know, messages for the session come
//! here as well as into the store, and what was written before is in the store's list, which is
//! read afterwards. What is in both is there once, as entries have numbers.

use super::NOWHERE;
use super::change::Change;
use super::roster::{Eviction, ShadowRecord};
use crate::client::Client;
use crate::connect::lasts;
use crate::end::Ending;
use crate::event::Wait;
use crate::handshake::decode;
use crate::numbers::{claim_at, numbers_at};
use crate::paging::Missing;
use crate::session::{Catching, Session};
use crate::store::{
    EntryNo, SessionNo, StoredSession, StoredSubscription, StoredWaiting, StoredWill,
};
use crate::subscriptions::Subscription;
use crate::turn::Turn;
use crate::worker::Worker;
use mogi_codec::Connect;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a CONNECT needs before it is served, where there are other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: neither has the client a lasting session nor will it have one.
    NotNeeded,
    /// The client's session is to be claimed from the store.
    Needed,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The session lived here before, and nobody else had it since.
    Ours,
    /// There is no session; maybe a will of a client whose session ended with its connection.
    Nothing {
        /// That will: its connection has ended, or is taken over.
        will: Option<StoredWill>,
    },
    /// It lived elsewhere, or nowhere.
    Moved {
        /// The session, without the entries that wait.
        session: Box<StoredSession>,
        /// Its will.
        will: Option<StoredWill>,
    },
}

/// Where a claim leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// There is nothing to wait for: the client may connect.
    Here,
    /// Other nodes have to know of that many changes; then [`Worker::catch_up`] follows.
    After(u64),
    /// Another node has claimed the client since: whoever wanted in here is taken over.
    Stale,
}

impl Client {
    /// Whether a message another node wrote down as that entry is not to be delivered: it is here
    /// already, or comes from the store if that has it still.
    pub(crate) fn gets_otherwise(&mut self, key: u32, turn: &mut Turn, one: StoredWaiting) -> bool {
        if self.session.has_caught(one.entry) {
            return true;
        }
        let looked_up = turn.node.may_be_done(self, one.entry);
        if looked_up {
            self.look_up(key, turn, one);
        }
        looked_up
    }

    /// Has an entry come from the store, where it is there: an earlier node of the session may have
    /// done with it. Those that are known here already do not come again.
    pub(crate) fn look_up(&mut self, key: u32, turn: &mut Turn, one: StoredWaiting) {
        let Missing { plain, grouped } = self.session.missing(vec![one]);
        self.session.queue.merge_paged(plain);
        self.fetch_grouped(key, turn, grouped);
        self.pump(key, turn);
    }
}

impl Worker {
    /// What the CONNECT packet of that client needs. To be asked of the worker that owns the id.
    pub fn wants_claim(&self, client: &str, packet: &[u8]) -> Claim {
        let Some(cluster) = &self.node.cluster else {
            return Claim::NotNeeded;
        };
        let known = self.clients.find(client).and_then(|key| self.clients.get(key));
        let lasting_here = known.is_some_and(|client| client.session.number != SessionNo::NONE);
        // A will has to outlive this node, and another node that has the client later.
        let will_last = |connect: &Connect<'_>| lasts(connect) || connect.will.is_some();
        let will_last = decode(packet).is_ok_and(|connect| will_last(&connect));
        match lasting_here || will_last || cluster.has_shadow(client) {
            true => Claim::Needed,
            false => Claim::NotNeeded,
        }
    }

    /// The store is about to be asked for the client id: what becomes of its will from now on, the
    /// answer does not know.
    pub fn claiming(&mut self, client: &Arc<str>) {
        self.claiming.insert(Arc::clone(client), false);
    }

    /// Whether the store was asked for the client id and has not answered.
    pub fn is_claiming(&self, client: &str) -> bool {
        self.claiming.contains_key(client)
    }

    /// What the store has answered, as it is by now. `again`: no other node had the client since
    /// this one did, so that what became of its will here meanwhile counts. To be asked before
    /// [`Self::claimed`].
    pub fn as_of_now(&mut self, client: &str, claimed: Claimed, again: bool) -> Claimed {
        let changed = self.claiming.remove(client).unwrap_or_default();
        match claimed {
            Claimed::Nothing { .. } if changed && again => Claimed::Nothing { will: None },
            Claimed::Moved { session, .. } if changed && again => {
                Claimed::Moved { session, will: None }
            }
            other => other,
        }
    }

    /// The store has given the client id to this node, as of `epoch`.
    pub fn claimed(
        &mut self,
        now_ms: u64,
        client: &Arc<str>,
        claimed: Claimed,
        epoch: u64,
    ) -> Settled {
        self.turn.now_ms = now_ms;
        let node = Arc::clone(&self.node);
        let Some(cluster) = node.cluster.as_ref() else { return Settled::Here };
        if cluster.is_stale(client, epoch) {
            return Settled::Stale;
        }
        let (stored, will) = match claimed {
            Claimed::Ours => {
                // Whoever was told late where it lives wrote entries down without a word, and may
                // be doing so: this node may have begun a moment ago.
                let Some(session) = self.resident(client) else { return Settled::Here };
                session.epoch = claim_at(epoch);
                session.watch_entries();
                let number = session.number;
                return Settled::After(cluster.log().told_of(number));
            }
            Claimed::Nothing { will } => {
                // One that is here is taken over, whatever it has: it may be of an earlier stay,
                // and the will of a connection elsewhere. What the store has is the last, of a
                // connection that ended or does now ([MQTT-3.1.2-8]).
                self.leave_if_here(client);
                if let Some(will) = will {
                    self.publish_left_will(client, &will);
                }
                // Whatever was known of one: it has ended.
                cluster.settled_here(&node.interest, client, SessionNo::NONE);
                return Settled::Here;
            }
            Claimed::Moved { session, will } => (session, will),
        };
        self.leave_if_here(client);
        let held = cluster.log().hold();
        self.restore_at(now_ms, *stored, now_ms, epoch);
        cluster.log().release(held);
        if let Some(will) = will {
            self.restore_will(now_ms, client, &will, now_ms);
        }
        match self.resident(client) {
            Some(session) => session.watch_entries(),
            None => return Settled::Here,
        }
        Settled::After(cluster.log().seq())
    }

    fn leave_if_here(&mut self, client: &str) {
        if let Some(key) = self.clients.find(client) {
            self.leave(key, NOWHERE);
        }
    }

    /// Begins to notice which entries of a session that lives here end, because its waiting entries
    /// are about to be read; the session. `None`: it is not here, or that goes on already.
    pub fn begin_catch_up(&mut self, client: &str) -> Option<SessionNo> {
        let session = self.resident(client)?;
        if session.watches_entries() || session.number_if_lasting() == SessionNo::NONE {
            return None;
        }
        session.watch_entries();
        Some(session.number)
    }

    /// The session's waiting entries as the store had them a moment ago: those that are not known
    /// here join the queue.
    pub fn catch_up(&mut self, now_ms: u64, client: &str, waiting: Vec<StoredWaiting>) {
        self.turn.now_ms = now_ms;
        let Some(key) = self.clients.find(client) else {
            return;
        };
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Missing { plain, grouped } = client.session.missing(waiting);
        let catching = client.session.catching.take().unwrap_or_default();
        let fresh = plain.iter().map(|(entry, _)| *entry).chain(grouped.iter().copied());
        // What an earlier reading found may still be on its way as well.
        let fresh = fresh.chain(catching.caught);
        let caught = lately(now_ms, fresh);
        client.session.since = client.session.since.max(numbers_at(now_ms));
        if !caught.is_empty() {
            client.session.catching = Some(Box::new(Catching { ended: None, caught }));
        }
        client.session.queue.merge_paged(plain);
        client.fetch_grouped(key, &mut self.turn, grouped);
        client.pump(key, &mut self.turn);
    }

    /// Entries a session has from the store may come from another node as well, which wrote them
    /// down a moment ago and has a link to here already.
    pub(crate) fn expect_again(&mut self, key: u32, entries: impl Iterator<Item = EntryNo>) {
        if self.node.cluster.is_none() {
            return;
        }
        let caught = lately(self.turn.now_ms, entries);
        if let Some(client) = self.clients.get_mut(key).filter(|_| !caught.is_empty()) {
            client.session.catching.get_or_insert_default().caught = caught;
        }
    }

    /// The client is connected elsewhere, or its session lives there: it leaves, without a trace in
    /// the store. Whether it was here.
    pub fn evict(&mut self, now_ms: u64, eviction: &Eviction) -> bool {
        self.turn.now_ms = now_ms;
        let Some(key) = self.clients.find(&eviction.client) else {
            return false;
        };
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        if client.session.epoch >= eviction.epoch {
            // What was told is history: the client is here.
            if let Some(cluster) = &self.node.cluster {
                let session = client.session.number;
                cluster.settled_here(&self.node.interest, &eviction.client, session);
            }
            return false;
        }
        if eviction.moved {
            self.leave(key, eviction.peer);
        } else {
            self.disconnect(key, Ending::TakenOver { clean_start: true });
            if self.clients.find(&eviction.client) == Some(key) {
                self.end_session(key);
            }
        }
        true
    }

    /// The store refuses a change of a client's session, or of its will
    /// ([`NONE`](SessionNo::NONE)), that was made under the claim of `epoch`: another node has it,
    /// unless this one has claimed it again since. To be told before the turn is
    /// ([`Self::stored`]): a will that was refused is not to be promised.
    pub fn fenced(&mut self, now_ms: u64, client: &str, session: SessionNo, epoch: u64) {
        self.turn.now_ms = now_ms;
        self.reset_fenced(client, claim_at(epoch));
        let Some(key) = self.clients.find(client) else {
            return;
        };
        let is_it = |it: &Client| {
            let same = session == SessionNo::NONE || it.session.number == session;
            same && it.session.epoch <= claim_at(epoch)
        };
        if self.clients.get(key).is_some_and(is_it) {
            self.leave(key, NOWHERE);
        }
    }

    /// This node was taken for dead, so its clients are not its own any more: what others had for
    /// them meanwhile did not come here.
    pub fn disown(&mut self, now_ms: u64) {
        self.turn.now_ms = now_ms;
        for key in self.keys() {
            self.leave(key, NOWHERE);
        }
        self.reset_all();
    }

    /// The clients with lasting sessions that live here.
    pub fn lasting_clients(&self) -> Vec<Arc<str>> {
        let clients = self.clients.slab.iter().map(|(_, client)| client);
        let lasting =
            clients.filter(|client| client.session.number_if_lasting() != SessionNo::NONE);
        lasting.map(|client| Arc::clone(&client.id)).collect()
    }

    /// The number of the client's lasting session, if it lives here.
    pub fn session_of(&self, client: &str) -> SessionNo {
        let key = self.clients.find(client);
        let client = key.and_then(|key| self.clients.get(key));
        client.map_or(SessionNo::NONE, |client| client.session.number)
    }

    /// Whether the client is connected here, or has a session here.
    pub fn knows(&self, client: &str) -> bool {
        self.clients.find(client).is_some()
    }

    /// Whether the client's lasting session lives here under the claim of `epoch`.
    pub fn holds(&self, client: &str, session: SessionNo, epoch: u64) -> bool {
        let key = self.clients.find(client);
        let client = key.and_then(|key| self.clients.get(key));
        client.is_some_and(|client| {
            client.session.number == session && client.session.epoch == claim_at(epoch)
        })
    }

    /// Has the turn in progress end with all changes in the store, though nobody waits for them.
    pub const fn flush_all(&mut self) {
        self.turn.wait = Wait::ForAll;
    }

    /// Tells the other nodes that a client is connected here.
    pub(crate) fn announce(&mut self, key: u32, epoch: u64) {
        let now_ms = self.turn.now_ms;
        let (Some(cluster), Some(client)) = (&self.node.cluster, self.clients.get_mut(key)) else {
            return;
        };
        let session = &mut client.session;
        session.epoch = match epoch {
            0 => self.node.next_session(now_ms).0,
            epoch => claim_at(epoch),
        };
        let (epoch, client) = (session.epoch, Arc::clone(&client.id));
        cluster.log().push(&match session.number_if_lasting() {
            SessionNo::NONE => Change::Taken { epoch, client },
            session => Change::Home { session, epoch, client },
        });
    }

    /// Drops a client and all it has here: its session lives with `peer`. Neither is its will
    /// published, nor anything changed in the store.
    fn leave(&mut self, key: u32, peer: u16) {
        let ending = Ending::TakenOver { clean_start: false };
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.session.will = None;
        let lasting = client.session.number_if_lasting();
        let record = ShadowRecord {
            session: lasting,
            client: Arc::clone(&client.id),
            mount: client.session.mount.clone(),
            epoch: client.session.epoch,
            subscriptions: stored_subscriptions(&client.session),
        };
        match client.link.take() {
            Some(link) => {
                self.turn.stats.clients_connected -= 1;
                self.log_disconnect(&record.client, &link, ending);
                self.say_goodbye(*link, ending);
            }
            None => self.turn.stats.clients_disconnected -= 1,
        }
        if let Some(cluster) = &self.node.cluster {
            cluster.log().moved_away(record.session);
            if lasting != SessionNo::NONE {
                // Before it is gone here, so that nobody misses it for a moment.
                cluster.move_away(&self.node.interest, peer, &record);
            }
        }
        self.remove_subscriptions(key);
        self.forget(key);
    }

    fn resident(&mut self, client: &str) -> Option<&mut crate::session::Session> {
        let key = self.clients.find(client)?;
        Some(&mut self.clients.get_mut(key)?.session)
    }
}

/// Entries a session read from the store that may yet come over a link as well: those written
/// lately. The others have arrived.
fn lately(now_ms: u64, entries: impl Iterator<Item = EntryNo>) -> BTreeSet<EntryNo> {
    let since = numbers_at(now_ms.saturating_sub(LATELY_MS));
    entries.filter(|entry| entry.0 >= since).collect()
}

/// How long a message may be on its way over a link.
const LATELY_MS: u64 = 600_000;

fn stored_subscriptions(session: &Session) -> Vec<StoredSubscription> {
    let stored = |(filter, subscription): (&str, Subscription)| StoredSubscription {
        filter: filter.into(),
        options: subscription.options.encode(),
        id: subscription.id,
    };
    session.subscriptions.iter().map(stored).collect()
}
