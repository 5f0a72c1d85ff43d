//! The shared store: slots on masters with a replica each, and what is on its way to them.
//!
//! ```text
//!  site ──► queue of a slot ──► master ──► replica ──► reply
//!           in order, one out   (applied)  (acknowledged with `redis_wait 1`)
//! ```
//! Slots are ordered each by itself; what a master has and its replica has not may vanish with it.

use crate::kept::Kept;
use crate::rng::Rng;
use crate::trace::note;
use mogi_core::store::{StoredDelivery, StoredSession, StoredWaiting, StoredWill};
use mogi_core::{Cause, EntryNo, Fetch, SessionNo, StoreOp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Masters.
pub(crate) const SHARDS: usize = 3;

/// A slot: a client id's (`c:`), or a topic's (`t:`).
pub(crate) type Key = Arc<str>;

pub(crate) fn of_client(client: &str) -> Key {
    format!("c:{client}").into()
}

pub(crate) fn of_topic(topic: &str) -> Key {
    format!("t:{topic}").into()
}

/// Which client a session number belongs to.
pub(crate) type Clients = BTreeMap<SessionNo, Arc<str>>;

/// A turn of a worker.
pub(crate) type Turn = (u16, u64);

/// What a site asks of a slot.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Changes only the owner may make, with what follows from a packet id among them.
    Own {
        epoch: u64,
        ops: Vec<StoreOp>,
        follows: Vec<StoreOp>,
    },
    Add(StoreOp),
    Retain(StoreOp),
    Claim,
    Waiting(SessionNo),
    Fetch(u16, Fetch),
    /// What was to follow has followed.
    Settled {
        epoch: u64,
        session: SessionNo,
        cause: Cause,
    },
}

/// What the slot says.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done,
    Fenced,
    /// What is to be handed over is not there.
    Gone,
    Claimed(Box<Claim>),
    Waiting(Vec<StoredWaiting>),
    Found(u16, Fetch, Vec<(EntryNo, StoredDelivery)>),
}

/// What a claim found.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) epoch: u64,
    /// Owner and epoch before.
    pub(crate) before: (Option<usize>, u64),
    pub(crate) session: Option<StoredSession>,
    pub(crate) will: Option<Arc<StoredWill>>,
    /// What was left undone by the owner before.
    pub(crate) undone: Vec<(Cause, Vec<StoreOp>)>,
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) site: usize,
    pub(crate) number: u64,
    pub(crate) key: Key,
    pub(crate) ask: Ask,
    /// The turn it is of, if it is.
    pub(crate) turn: Option<Turn>,
    applied: bool,
}

/// A reply on its way.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) request: Request,
    pub(crate) answer: Answer,
}

#[derive(Debug, Default)]
struct Slot {
    live: Kept,
    safe: Kept,
    /// What the replica has not: who asked, and how it was afterwards.
    tail: VecDeque<(usize, u64, Kept, Answer)>,
}

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Store {
    slots: BTreeMap<Key, Slot>,
    queues: BTreeMap<(usize, Key), VecDeque<Request>>,
    pub(crate) replies: Vec<VecDeque<Reply>>,
    numbers: u64,
    /// Queues in which nothing goes on before the site has heard of its claim.
    claimed: BTreeSet<(usize, Key)>,
    pub(crate) failovers: u32,
}

impl Store {
    pub(crate) fn new(sites: usize) -> Self {
        Self { replies: (0..sites).map(|_| VecDeque::new()).collect(), ..Self::default() }
    }

    pub(crate) fn ask(&mut self, site: usize, key: &Key, ask: Ask, turn: Option<Turn>) -> u64 {
        self.numbers += 1;
        let (number, key) = (self.numbers, Arc::clone(key));
        let queue = self.queues.entry((site, Arc::clone(&key))).or_default();
        queue.push_back(Request { site, number, key, ask, turn, applied: false });
        number
    }

    /// The slot as its master has it.
    pub(crate) fn slot(&self, key: &str) -> Option<&Kept> {
        self.slots.get(key).map(|slot| &slot.live)
    }

    /// All slots, as their masters have them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Kept)> {
        self.slots.iter().map(|(key, slot)| (key, &slot.live))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queues.is_empty() && self.replies.iter().all(VecDeque::is_empty)
    }

    /// Queues with something to do.
    pub(crate) fn busy(&self) -> Vec<(usize, Key)> {
        self.queues.keys().cloned().collect()
    }

    /// Lets a master carry out the oldest request of a queue, or its replica take one; whether
    /// there was something to do.
    pub(crate) fn work(&mut self, at: &(usize, Key), now_ms: u64) -> bool {
        if self.claimed.contains(at) {
            return false;
        }
        let Some(request) = self.queues.get_mut(at).and_then(VecDeque::front_mut) else {
            return false;
        };
        if request.applied {
            return self.replicate(&at.1);
        }
        request.applied = true;
        let request = request.clone();
        let slot = self.slots.entry(Arc::clone(&at.1)).or_default();
        let answer = slot.live.carry_out(&request, now_ms);
        note(|| format!("store: {}: site {}: {:?} -> {answer:?}", at.1, at.0, brief(&request)));
        slot.tail.push_back((request.site, request.number, slot.live.clone(), answer));
        true
    }

    fn replicate(&mut self, key: &Key) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        let Some((site, number, kept, answer)) = slot.tail.pop_front() else {
            return false;
        };
        slot.safe = kept;
        let at = (site, Arc::clone(key));
        // The site may have crashed, and be back: nobody waits for that any more.
        if let Some(queue) = self.queues.get_mut(&at)
            && queue.front().is_some_and(|request| request.number == number)
            && let Some(request) = queue.pop_front()
        {
            if matches!(request.ask, Ask::Claim) {
                self.claimed.insert(at.clone());
            }
            self.replies[site].push_back(Reply { request, answer });
            if queue.is_empty() {
                self.queues.remove(&at);
            }
        }
        true
    }

    /// A master dies; its replica has some of what it had. What was not acknowledged is asked
    /// again.
    pub(crate) fn fail_over(&mut self, shard: usize, rng: &mut Rng) {
        self.failovers += 1;
        note(|| format!("store: master {shard} fails"));
        for (key, slot) in self.slots.iter_mut().filter(|(key, _)| shard_of(key) == shard) {
            for _ in 0..rng.below(slot.tail.len() + 1) {
                let (.., kept, _) = slot.tail.pop_front().expect("counted");
                slot.safe = kept;
            }
            slot.tail.clear();
            slot.live = slot.safe.clone();
            for ((_, of), queue) in &mut self.queues {
                if of == key {
                    queue.iter_mut().for_each(|request| request.applied = false);
                }
            }
        }
    }

    /// A site is gone: of what it asked some may still be carried out.
    pub(crate) fn forget_site(&mut self, site: usize, rng: &mut Rng, now_ms: u64) {
        let all = self.busy();
        for at in all.into_iter().filter(|(of, _)| *of == site) {
            while rng.percent(50) && self.work(&at, now_ms) {}
            self.queues.remove(&at);
        }
        self.replies[site].clear();
        self.claimed.retain(|(of, _)| *of != site);
    }

    /// A site that starts does at once what it had left undone; the sessions that concerns, and
    /// retained messages.
    pub(crate) fn roll_forward(
        &mut self,
        owner: usize,
        clients: &Clients,
    ) -> (Vec<SessionNo>, Vec<StoreOp>) {
        // It is written once more before it is done, so that replicas have it.
        let slots = self.slots.iter().filter(|(_, slot)| slot.live.owner == Some(owner));
        let keys: Vec<Key> = slots.map(|(key, _)| Arc::clone(key)).collect();
        keys.iter().for_each(|key| while self.replicate(key) {});
        let own = || self.slots.values().filter(|slot| slot.live.owner == Some(owner));
        let received = own().filter_map(|slot| slot.live.session.as_ref());
        let undone = received.flat_map(|session| session.received.values().flatten());
        let published = own().filter_map(|slot| slot.live.published.as_ref());
        let undone = undone.chain(published.flat_map(|(_, follows)| follows));
        let undone: Vec<StoreOp> = undone.cloned().collect();
        let (mut concerned, mut retained) = (Vec::new(), Vec::new());
        for op in undone {
            let key = match &op {
                StoreOp::Enqueued { session, .. } => match clients.get(session) {
                    Some(client) => {
                        concerned.push(*session);
                        of_client(client)
                    }
                    None => continue,
                },
                StoreOp::Retained { message, .. } => of_topic(message.topic()),
                StoreOp::RetainedEnd { topic, .. } => of_topic(topic),
                other => unreachable!("{other:?} follows nothing"),
            };
            let slot = self.slots.entry(key).or_default();
            let tail = slot.tail.iter_mut().map(|(_, _, kept, _)| kept);
            for kept in tail.chain([&mut slot.live, &mut slot.safe]) {
                match op {
                    StoreOp::Enqueued { .. } => kept.add(&op),
                    _ => kept.retain(&op),
                }
            }
            retained.extend(Some(op).filter(|op| !matches!(op, StoreOp::Enqueued { .. })));
        }
        for key in keys {
            let slot = self.slots.entry(key).or_default();
            let tail = slot.tail.iter_mut().map(|(_, _, kept, _)| kept);
            tail.chain([&mut slot.live, &mut slot.safe]).for_each(Kept::settle_entries);
        }
        (concerned, retained)
    }

    /// The site has a reply.
    pub(crate) fn heard(&mut self, site: usize, key: &Key) {
        self.claimed.remove(&(site, Arc::clone(key)));
    }

    /// After a claim that found nothing new, what waits behind it is of the new epoch.
    pub(crate) fn restamp(&mut self, site: usize, key: &Key, from: u64, to: u64) {
        let queue = self.queues.get_mut(&(site, Arc::clone(key)));
        for request in queue.into_iter().flatten() {
            if let Ask::Own { epoch, .. } | Ask::Settled { epoch, .. } = &mut request.ask
                && *epoch == from
            {
                *epoch = to;
            }
        }
    }
}

impl Kept {
    fn carry_out(&mut self, request: &Request, now_ms: u64) -> Answer {
        match &request.ask {
            Ask::Own { epoch, ops, follows } => self.own(*epoch, ops, follows),
            Ask::Add(op) => {
                self.add(op);
                Answer::Done
            }
            Ask::Retain(op) => {
                self.retain(op);
                Answer::Done
            }
            Ask::Claim => self.claim(request.site, now_ms),
            Ask::Waiting(session) => {
                let kept = self.session.as_ref().filter(|kept| kept.number == *session);
                Answer::Waiting(kept.map(|kept| kept.waiting()).unwrap_or_default())
            }
            Ask::Fetch(worker, fetch) => {
                let kept = self.session.as_ref().filter(|kept| kept.number == fetch.session);
                let find =
                    |&entry: &EntryNo| Some((entry, kept?.entries.get(&entry)?.delivery.clone()?));
                let found = fetch.entries.iter().filter_map(find).collect();
                Answer::Found(*worker, fetch.clone(), found)
            }
            Ask::Settled { epoch, session, cause } => {
                if *epoch < self.epoch {
                    return Answer::Done;
                }
                if self.published.as_ref().is_some_and(|(of, _)| of == cause) {
                    self.published = None;
                }
                let kept = self.session.as_mut().filter(|kept| kept.number == *session);
                if let Some(kept) = kept {
                    match cause {
                        Cause::PacketId(_) => {
                            kept.received.entry(cause.clone()).and_modify(Vec::clear);
                        }
                        Cause::Entry(_) => drop(kept.received.remove(cause)),
                        Cause::Will(_) => {}
                    }
                }
                Answer::Done
            }
        }
    }

    fn claim(&mut self, site: usize, now_ms: u64) -> Answer {
        let before = (self.owner, self.epoch);
        self.epoch = now_ms.max(self.epoch + 1);
        self.owner = Some(site);
        let received = self.session.iter().flat_map(|kept| &kept.received);
        let stands = |cause: &Cause| matches!(cause, Cause::Entry(_));
        let undone = received.filter(|(cause, follows)| !follows.is_empty() || stands(cause));
        let undone = undone.map(|(cause, follows)| (cause.clone(), follows.clone()));
        Answer::Claimed(Box::new(Claim {
            epoch: self.epoch,
            before,
            session: self.session.as_ref().map(|kept| kept.stored()),
            will: self.will.clone(),
            undone: undone.chain(self.published.clone()).collect(),
        }))
    }
}

/// The master of a slot.
pub(crate) fn shard_of(key: &str) -> usize {
    key.bytes().fold(7usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte)) % SHARDS
}

/// A request in few words.
fn brief(request: &Request) -> String {
    let op = |op: &StoreOp| match op {
        StoreOp::Enqueued { entry, delivery, .. } => {
            format!("+{} is {:?}", entry.0, crate::message::id_of(delivery.message.payload()))
        }
        other => format!("{other:?}"),
    };
    match &request.ask {
        Ask::Own { epoch, ops, follows } => {
            let ops: Vec<String> = ops.iter().map(op).collect();
            format!("own {epoch}: {} ({} follow)", ops.join("; "), follows.len())
        }
        Ask::Add(one) | Ask::Retain(one) => op(one),
        other => format!("{other:?}"),
    }
}
