//! Which client a session number belongs to: changes name sessions by number, keys by client.

use super::keys::{Keys, Of, Tag};
use super::wire::slot_of;
use crate::ops::{Cause, SessionNo, StoreOp};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;

/// The epoch of sessions another node owns: below all that are given.
const OTHERS: u64 = 1;

/// A session's client, and the claim under which it is changed.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) client: Arc<str>,
    pub(super) tag: Tag,
    /// The epoch of the claim; 0: nobody claimed it.
    pub(super) epoch: u64,
    /// Its end is on its way: what comes for it counts for nothing.
    ended: bool,
}

impl Home {
    fn new(client: &Arc<str>, tag: Tag) -> Self {
        Self { client: Arc::clone(client), tag, epoch: 0, ended: false }
    }
}

/// The sessions that are known here.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) keys: Keys,
    homes: HashMap<SessionNo, Home, RandomState>,
    /// Claims by client id, of connections and sessions here or to come.
    claims: HashMap<Arc<str>, Claim, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    epoch: u64,
    /// Its client has left.
    leaves: bool,
}

impl Directory {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, homes: HashMap::default(), claims: HashMap::default() }
    }

    /// The slot a change is for, if it counts for anything; sessions come and go with it.
    pub(super) fn route(&mut self, op: &StoreOp) -> Option<u16> {
        let session = match op {
            StoreOp::SessionSet { session, record } => {
                return Some(self.learn(*session, &record.client));
            }
            StoreOp::SessionEnd { session } => {
                let home = self.homes.get_mut(session)?;
                home.ended = true;
                return Some(home.tag.slot);
            }
            StoreOp::Retained { message, .. } => return Some(self.retained_slot(message.topic())),
            StoreOp::RetainedEnd { topic, .. } => return Some(self.retained_slot(topic)),
            StoreOp::WillSet { client, .. }
            | StoreOp::WillEnd { client }
            | StoreOp::WillTaken { client, .. } => {
                return Some(Tag::of(client).slot);
            }
            other => session_of(other)?,
        };
        let home = self.homes.get(&session).filter(|home| !home.ended)?;
        Some(home.tag.slot)
    }

    /// A session is there; its slot.
    pub(super) fn learn(&mut self, session: SessionNo, client: &Arc<str>) -> u16 {
        let epoch = self.epoch(client);
        let home = self.homes.entry(session).or_insert_with(|| Home::new(client, Tag::of(client)));
        home.ended = false;
        home.epoch = home.epoch.max(epoch);
        home.tag.slot
    }

    /// A session of the store; `owner`: whether this node, or none, has claimed it.
    pub(super) fn learn_owned(
        &mut self,
        session: SessionNo,
        client: &Arc<str>,
        epoch: u64,
        owner: bool,
    ) {
        self.learn_tagged(session, client, || Tag::of(client), epoch, owner);
    }

    /// The same where the client's tag is known.
    pub(super) fn learn_tagged(
        &mut self,
        session: SessionNo,
        client: &Arc<str>,
        tag: impl FnOnce() -> Tag,
        epoch: u64,
        owner: bool,
    ) {
        let epoch = match owner {
            true if epoch > 0 => {
                self.claim(client, epoch);
                epoch
            }
            true => self.epoch(client),
            false => {
                self.claims.remove(client);
                0
            }
        };
        let home = self.homes.entry(session).or_insert_with(|| Home::new(client, tag()));
        home.ended = false;
        home.epoch = if owner { home.epoch.max(epoch) } else { OTHERS };
    }

    /// This node has claimed the client id.
    pub(super) fn claimed(&mut self, client: &Arc<str>, epoch: u64, session: Option<SessionNo>) {
        self.claim(client, epoch);
        if let Some(session) = session {
            self.learn(session, client);
        }
    }

    fn claim(&mut self, client: &Arc<str>, epoch: u64) {
        self.claims.insert(Arc::clone(client), Claim { epoch, leaves: false });
    }

    /// This node has nothing to do with the client id any more; the epoch of its claim, if it was
    /// claimed and that is news.
    pub(super) fn leaves(&mut self, client: &str) -> Option<u64> {
        let claim = self.claims.get_mut(client)?;
        (!std::mem::replace(&mut claim.leaves, true)).then_some(claim.epoch)
    }

    /// The claim of that epoch is forgotten, unless the client came again.
    pub(super) fn released(&mut self, client: &str, epoch: u64) {
        if self.claims.get(client).is_some_and(|claim| claim.leaves && claim.epoch == epoch) {
            self.claims.remove(client);
        }
    }

    /// A session's end was refused, if it was one: it lives on with another node.
    pub(super) fn lives_on(&mut self, session: SessionNo) {
        if let Some(home) = self.homes.get_mut(&session) {
            home.ended = false;
        }
    }

    /// How many client ids this node has claimed.
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    /// A session whose end has arrived is forgotten.
    pub(super) fn forget(&mut self, session: SessionNo) {
        if self.homes.get(&session).is_some_and(|home| home.ended) {
            self.homes.remove(&session);
        }
    }

    /// A session of another node has ended there.
    pub(super) fn forget_far(&mut self, session: SessionNo) {
        let owned = |home: &Home| home.epoch > OTHERS && home.epoch == self.epoch(&home.client);
        if self.homes.get(&session).is_some_and(|home| !owned(home)) {
            self.homes.remove(&session);
        }
    }

    pub(super) fn clear(&mut self) {
        self.homes.clear();
    }

    pub(super) fn epoch(&self, client: &str) -> u64 {
        self.claims.get(client).map_or(0, |claim| claim.epoch)
    }

    pub(super) fn home(&self, session: SessionNo) -> Option<&Home> {
        self.homes.get(&session)
    }

    pub(super) fn key(&self, home: &Home, what: Of) -> String {
        self.keys.of(&home.tag, what)
    }

    fn retained_slot(&self, topic: &str) -> u16 {
        slot_of(self.keys.retained(topic).as_bytes())
    }
}

/// What others follow from, and the session it is of, if it is of one.
pub(super) fn cause_of(op: &StoreOp) -> Option<(SessionNo, Cause)> {
    match op {
        StoreOp::Received { session, packet_id, .. } => {
            Some((*session, Cause::PacketId(*packet_id)))
        }
        StoreOp::HandedOver { session, entry, .. } => Some((*session, Cause::Entry(*entry))),
        StoreOp::WillTaken { client, .. } => {
            Some((SessionNo::NONE, Cause::Will(Arc::clone(client))))
        }
        _ => None,
    }
}

/// The session a change is of.
pub(super) const fn session_of(op: &StoreOp) -> Option<SessionNo> {
    match op {
        StoreOp::SessionSet { session, .. }
        | StoreOp::SessionEnd { session }
        | StoreOp::SubscriptionSet { session, .. }
        | StoreOp::SubscriptionEnd { session, .. }
        | StoreOp::Enqueued { session, .. }
        | StoreOp::Assigned { session, .. }
        | StoreOp::Released { session, .. }
        | StoreOp::Delivered { session, .. }
        | StoreOp::HandedOver { session, .. }
        | StoreOp::Received { session, .. }
        | StoreOp::ReceivedEnd { session, .. } => Some(*session),
        StoreOp::Retained { .. }
        | StoreOp::RetainedEnd { .. }
        | StoreOp::WillSet { .. }
        | StoreOp::WillEnd { .. }
        | StoreOp::WillTaken { .. } => None,
    }
}
