//! Shared subscriptions: groups of which one member gets each message (section 4.8.2).
//!
//! A group is an immutable snapshot. Whoever routes a message picks a member, round robin among
//! those online, and among all when none is; so a group works across workers without a lock.

use crate::route::Target;
use crate::store::SessionNo;
use mogi_codec::QoS;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Messages waiting from which on a member is behind.
const BEHIND: u32 = 32;
/// Members looked at to find one that is less behind.
const LOOKED_AT: usize = 4;

/// A client in a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The worker that owns the client.
    pub(crate) worker: u16,
    /// The client, its key on that worker, and how it is to be delivered to.
    pub(crate) target: Target,
    /// Distinguishes the client from an earlier one with the same key.
    pub(crate) generation: u32,
    /// Whether it is connected.
    pub(crate) online: bool,
    /// Whether its session outlives its connection.
    pub(crate) durable: bool,
    /// Its session in the store, if it is there.
    pub(crate) session: SessionNo,
    /// How many messages wait for it, as its owner counts them.
    pub(crate) waiting: Arc<AtomicU32>,
    /// Its client id, where other nodes are to know it, or it is on one.
    pub(crate) far: Option<Arc<str>>,
}

impl Member {
    /// Notes that a message is on its way to the member's owner, who counts it out when it comes.
    pub(crate) fn expect_one(&self) {
        // Nobody would count it out here that came to another node.
        if crate::cluster::is_far(self.worker) {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is(&self, worker: u16, client: u32) -> bool {
        self.worker == worker && self.target.client == client
    }
}

/// The members of `$share/NAME/FILTER`, those online first.
#[derive(Debug)]
pub(crate) struct Group {
    name: Arc<str>,
    filter: Arc<str>,
    members: Vec<Member>,
    online: usize,
}

impl Group {
    pub(crate) fn new(name: &str, filter: &str, member: Member) -> Self {
        Self::empty(name, filter).with(member)
    }

    /// A group nobody is in any more.
    pub(crate) fn empty(name: &str, filter: &str) -> Self {
        Self { name: name.into(), filter: filter.into(), members: Vec::new(), online: 0 }
    }

    /// A copy with `member` in it.
    pub(crate) fn with(&self, member: Member) -> Self {
        let (worker, client) = (member.worker, member.target.client);
        let mut members: Vec<Member> =
            self.members.iter().filter(|other| !other.is(worker, client)).cloned().collect();
        members.push(member);
        self.rebuilt(members)
    }

    /// A copy without that client; `None` when nobody is left.
    pub(crate) fn without(&self, worker: u16, client: u32) -> Option<Self> {
        let members: Vec<Member> =
            self.members.iter().filter(|member| !member.is(worker, client)).cloned().collect();
        (!members.is_empty()).then(|| self.rebuilt(members))
    }

    fn rebuilt(&self, mut members: Vec<Member>) -> Self {
        members.sort_by_key(|member| !member.online);
        let online = members.iter().take_while(|member| member.online).count();
        Self { name: Arc::clone(&self.name), filter: Arc::clone(&self.filter), members, online }
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn shared_filter(&self) -> Arc<str> {
        Arc::clone(&self.filter)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn filter(&self) -> &str {
        &self.filter
    }

    /// The member whose turn it is. Absent members are for messages that can wait, and only where
    /// nobody is there.
    pub(crate) fn pick(&self, turn: u32, qos: QoS, queue_qos0: bool) -> Option<&Member> {
        if self.online > 0 {
            return self.pick_online(turn as usize);
        }
        let waits = |member: &&Member| {
            member.durable && (queue_qos0 || qos.min(member.target.qos()) != QoS::AtMostOnce)
        };
        let waiting = self.members.iter().filter(waits).count();
        let nth = (turn as usize).checked_rem(waiting)?;
        self.members.iter().filter(waits).nth(nth)
    }

    /// Round robin; but one who is behind is passed over for one of the next who is less so, or a
    /// slow member's queue would overflow while others wait for work.
    fn pick_online(&self, turn: usize) -> Option<&Member> {
        let nth = |n: usize| self.members.get((turn + n) % self.online);
        let waiting = |member: &&Member| member.waiting.load(Ordering::Relaxed);
        let first = nth(0)?;
        if waiting(&first) < BEHIND {
            return Some(first);
        }
        (0..LOOKED_AT.min(self.online)).filter_map(nth).min_by_key(waiting)
    }

    /// Whether somebody other than that client is online.
    pub(crate) fn others_online(&self, worker: u16, client: u32) -> bool {
        self.members[..self.online].iter().any(|member| !member.is(worker, client))
    }
}
