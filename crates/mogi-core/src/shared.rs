//! Shared subscriptions: groups of which one member gets each message (section 4.8.2).
//!
//! A group is an immutable snapshot. Whoever routes a message picks a member, round robin among
//! those online, and among all when none is; so a group works across workers without a lock.

use crate::config::CoreConfig;
use crate::route::Target;
use crate::store::SessionNo;
use mogi_codec::QoS;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Messages waiting from which on a member is behind.
const BEHIND: i32 = 32;
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
    /// How many messages wait for it, as its owner counts them: about so many, which may be less
    /// than none for a moment.
    pub(crate) waiting: Arc<AtomicI32>,
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

/// A group as one worker has it, whose messages hold it while they wait. A count of holders that
/// several threads change costs each of them as much as all the rest of a delivery; so each worker
/// has its own.
#[derive(Clone, Debug)]
#[expect(clippy::redundant_allocation, reason = "the outer count is this worker's own")]
pub(crate) struct Through(Arc<Arc<Group>>);

impl Through {
    pub(crate) fn new(group: &Arc<Group>) -> Self {
        Self(Arc::new(Arc::clone(group)))
    }

    /// Whether both are the same group, with the same members.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&*self.0, &*other.0)
    }
}

impl Deref for Through {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.0
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
    pub(crate) fn pick(&self, turn: u32, qos: QoS, cfg: &CoreConfig) -> Option<&Member> {
        if self.online > 0 {
            return self.pick_online(turn as usize, cfg.max_queued_messages);
        }
        let waits = |member: &&Member| {
            member.durable
                && (cfg.queue_qos0_messages || qos.min(member.target.qos()) != QoS::AtMostOnce)
        };
        let waiting = self.members.iter().filter(waits).count();
        let nth = (turn as usize).checked_rem(waiting)?;
        self.members.iter().filter(waits).nth(nth)
    }

    /// Round robin; but one who is behind is passed over for one of the next who is less so, or a
    /// slow member's queue would overflow while others wait for work. All are looked at before a
    /// queue overflows: the next few may be of one worker, and that not be running.
    fn pick_online(&self, turn: usize, limit: usize) -> Option<&Member> {
        let nth = |n: usize| self.members.get((turn + n) % self.online);
        let waiting = |member: &&Member| member.waiting.load(Ordering::Relaxed);
        let first = nth(0)?;
        if waiting(&first) < BEHIND {
            return Some(first);
        }
        let least = |looked_at| (0..looked_at).filter_map(nth).min_by_key(waiting);
        let one = least(LOOKED_AT.min(self.online))?;
        let full = i32::try_from(limit / 4 * 3).unwrap_or(i32::MAX);
        if limit == 0 || waiting(&one) < full { Some(one) } else { least(self.online) }
    }

    /// Whether somebody other than that client is online.
    pub(crate) fn others_online(&self, worker: u16, client: u32) -> bool {
        self.members[..self.online].iter().any(|member| !member.is(worker, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mogi_codec::SubscribeOptions;

    fn member(client: u32, waiting: i32) -> Member {
        Member {
            worker: 0,
            target: Target::new(client, SubscribeOptions::default(), 0),
            generation: 1,
            online: true,
            durable: false,
            session: SessionNo::NONE,
            waiting: Arc::new(AtomicI32::new(waiting)),
            far: None,
        }
    }

    fn picked(waiting: &[i32], turns: u32) -> Vec<u32> {
        let mut group = Group::empty("g", "t");
        for (client, waiting) in waiting.iter().enumerate() {
            group = group.with(member(client as u32, *waiting));
        }
        let cfg = CoreConfig { max_queued_messages: 1000, ..CoreConfig::default() };
        let one = |turn| group.pick(turn, QoS::AtLeastOnce, &cfg).map(|it| it.target.client);
        (0..turns).filter_map(one).collect()
    }

    #[test]
    fn members_take_turns_while_none_is_behind() {
        assert_eq!(picked(&[0, 31, -3], 4), [0, 1, 2, 0]);
    }

    #[test]
    fn one_who_is_behind_is_passed_over_for_one_of_the_next_three() {
        assert_eq!(picked(&[500, 40, 33, 50, 32, 32], 1), [2]);
        assert_eq!(picked(&[500, 600, 700, 600, 32, 32], 1), [0]);
    }

    #[test]
    fn before_a_queue_overflows_all_are_looked_at() {
        assert_eq!(picked(&[900, 800, 990, 750, 760, 20, 700], 1), [5]);
    }
}
