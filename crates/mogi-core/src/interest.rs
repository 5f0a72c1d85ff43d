//! Which peers want a message: the one table all workers of a process read.
//!
//! ```text
//!  filter ──► peers that have subscribers       one bit each
//!             subscriptions of lasting sessions  by worker and client
//!             shared groups on this filter       immutable snapshots
//! ```
//! A session that outlives its connection is known here with its subscriptions, so that whoever
//! takes a message writes it down for all such sessions, in one batch with the publisher's packet
//! id, and need not wait for their workers. Where state lives in memory only, none are listed.
//! What is listed stands here only, and not in its worker's own table as well: most of what an
//! idle session costs are its filters.
//!
//! A worker looks here only when it meets a topic for the first time since the last change, so the
//! lock is not on the way of a message. [`Interest::version`] tells whether something changed; it
//! is raised *before* a SUBACK leaves, and a worker reads it after every read of a socket, so a
//! message sent after a SUBACK was seen is never routed by an older table.

use crate::cluster::change::{Change, FarMember};
use crate::cluster::{Cluster, is_far};
use crate::lasting::LastingSet;
use crate::route::Target;
use crate::shared::{Group, Member, Through};
use crate::store::SessionNo;
use crate::topics::{MatchScratch, Trie};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most peers a table can name; workers beyond that are not started.
pub const MAX_PEERS: usize = 64;

/// A set of peers, one bit each.
pub type PeerSet = u64;

/// The bit of peer `index`.
pub(crate) const fn bit(index: u16) -> PeerSet {
    1 << (index as u32 % MAX_PEERS as u32)
}

/// The workers of this node.
pub(crate) const LOCAL: PeerSet = (1 << crate::cluster::FIRST_NODE) - 1;

/// What the table knows of one filter.
#[derive(Debug, Default)]
pub(crate) struct Interested {
    pub(crate) peers: PeerSet,
    /// Sessions that outlive their connection, by worker and the client's key there.
    pub(crate) lasting: LastingSet,
    /// The groups on it, by name. Apart, as most filters have none.
    groups: Option<Box<Groups>>,
}

type Groups = BTreeMap<Arc<str>, Arc<Group>>;

impl Interested {
    fn is_empty(&self) -> bool {
        self.peers == 0 && self.lasting.is_empty() && self.groups.is_none()
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter().flat_map(|groups| groups.values())
    }
}

/// A subscription of a session that outlives its connection, as all workers see it.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    /// The worker that owns the client.
    pub(crate) worker: u16,
    pub(crate) session: SessionNo,
    /// The client, by its key on that worker, and how it is to be delivered to.
    pub(crate) target: Target,
}

/// The interest table.
#[derive(Debug)]
pub struct Interest {
    version: AtomicU64,
    seed: u64,
    table: RwLock<Trie<Interested>>,
    /// Where other nodes learn what changes here, if there are any.
    cluster: Option<Arc<Cluster>>,
}

impl Interest {
    pub(crate) fn new(seed: u64, cluster: Option<Arc<Cluster>>) -> Self {
        let table = RwLock::new(Trie::new(seed));
        Self { version: AtomicU64::new(1), seed, table, cluster }
    }

    /// Changes whenever the table does.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Calls `visit` with what is known of every filter that matches `topic`.
    pub(crate) fn matches(
        &self,
        topic: &str,
        scratch: &mut MatchScratch,
        visit: impl FnMut(&Interested),
    ) {
        self.read().matches(topic, scratch, visit);
    }

    /// Says whether `peer` wants messages of `filter` for others than lasting sessions, and what
    /// is to be known of the client at hand: its subscription if its session is a lasting one,
    /// else nothing.
    pub(crate) fn set_peer(
        &self,
        peer: u16,
        filter: &str,
        wants: bool,
        client: u32,
        lasting: Option<Lasting>,
    ) {
        let mut table = self.write();
        let entry = table.entry_or_insert_with(filter, Interested::default);
        let peers = entry.peers;
        let wants = wants || lasting.is_some() || entry.lasting.has_others(peer, client);
        entry.peers = if wants { peers | bit(peer) } else { peers & !bit(peer) };
        self.tell_wants(filter, peers, entry.peers);
        let listed = match lasting {
            Some(lasting) => {
                self.tell_subscribed(filter, &lasting);
                entry.lasting.insert(&lasting);
                true
            }
            None => match entry.lasting.remove((peer, client)) {
                Some(lasting) => {
                    let (session, filter) = (lasting.session, filter.into());
                    self.tell(|| Change::Unsubscribed { session, filter });
                    true
                }
                None => false,
            },
        };
        let changed = entry.peers != peers || listed;
        let empty = entry.is_empty();
        if empty {
            table.remove(filter);
        }
        if changed {
            self.changed();
        }
    }

    /// Says whether another node wants messages of `filter`.
    pub(crate) fn set_wants(&self, peer: u16, filter: &str, wants: bool) {
        let mut table = self.write();
        let entry = table.entry_or_insert_with(filter, Interested::default);
        entry.peers = if wants { entry.peers | bit(peer) } else { entry.peers & !bit(peer) };
        if entry.is_empty() {
            table.remove(filter);
        }
        self.changed();
    }

    /// Lists the subscription of a session that lives elsewhere.
    pub(crate) fn list(&self, filter: &str, lasting: Lasting) {
        let mut table = self.write();
        table.entry_or_insert_with(filter, Interested::default).lasting.insert(&lasting);
        self.changed();
    }

    /// Takes it out again.
    pub(crate) fn unlist(&self, filter: &str, key: (u16, u32)) {
        let mut table = self.write();
        let Some(entry) = table.get_mut(filter) else {
            return;
        };
        entry.lasting.remove(key);
        if entry.is_empty() {
            table.remove(filter);
        }
        self.changed();
    }

    /// The session moved to another place: at no moment it is listed nowhere, or twice.
    pub(crate) fn relist(&self, filter: &str, key: (u16, u32), peer: u16) {
        let mut table = self.write();
        if let Some(entry) = table.get_mut(filter)
            && let Some(lasting) = entry.lasting.remove(key)
        {
            entry.lasting.insert(&Lasting { worker: peer, ..lasting });
            self.changed();
        }
    }

    /// Everything another node is to know, between [`Change::SnapshotBegin`] and
    /// [`Change::SnapshotEnd`], and how many changes of the log are in it.
    pub fn snapshot(&self, cluster: &Cluster, mut visit: impl FnMut(Change)) -> u64 {
        // No change is logged while the table is locked.
        let table = self.read();
        visit(Change::SnapshotBegin);
        let seq = cluster.log().homes(&mut visit);
        table.for_each(|filter, entry| {
            let filter: Arc<str> = filter.into();
            if entry.peers & LOCAL != 0 {
                visit(Change::Wants { filter: Arc::clone(&filter), wanted: true });
            }
            for lasting in entry.lasting.iter().filter(|lasting| !is_far(lasting.worker)) {
                visit(subscribed(&filter, &lasting));
            }
            for group in entry.groups() {
                for member in group.members().iter().filter(|member| !is_far(member.worker)) {
                    if let Some(far) = far_member(group.name(), group.filter(), member) {
                        visit(Change::Joined(far));
                    }
                }
            }
        });
        visit(Change::SnapshotEnd);
        seq
    }

    /// Puts `member` into the group `name` on `filter`, or changes what is known of it.
    pub(crate) fn join(&self, name: &str, filter: &str, member: Member) {
        let mut table = self.write();
        if !is_far(member.worker)
            && self.cluster.is_some()
            && let Some(far) = far_member(name, filter, &member)
        {
            self.tell(|| Change::Joined(far));
        }
        let entry = table.entry_or_insert_with(filter, Interested::default);
        let groups = entry.groups.get_or_insert_default();
        match groups.get_mut(name) {
            Some(group) => *group = Arc::new(group.with(member)),
            None => {
                let group = Group::new(name, filter, member);
                groups.insert(group.shared_name(), Arc::new(group));
            }
        }
        self.changed();
    }

    /// Takes a client out of the group `name` on `filter`.
    pub(crate) fn leave(&self, name: &str, filter: &str, worker: u16, client: u32) {
        let mut table = self.write();
        let Some(entry) = table.get_mut(filter) else {
            return;
        };
        if let Some(groups) = &mut entry.groups
            && let Some(group) = groups.get_mut(name)
        {
            let member = group.members().iter().find(|it| it.is(worker, client));
            if let Some(far) = member.and_then(|it| far_member(name, filter, it))
                && !is_far(worker)
            {
                let FarMember { client, name, filter, .. } = far;
                self.tell(|| Change::Left { client, name, filter });
            }
            match group.without(worker, client) {
                Some(rest) => *group = Arc::new(rest),
                None => drop(groups.remove(name)),
            }
            if groups.is_empty() {
                entry.groups = None;
            }
        }
        if entry.is_empty() {
            table.remove(filter);
        }
        self.changed();
    }

    pub(crate) fn forget_all(&self) {
        *self.write() = Trie::new(self.seed);
        self.changed();
    }

    /// The group as it is now.
    pub(crate) fn group(&self, name: &str, filter: &str) -> Option<Through> {
        let table = self.read();
        table.get(filter)?.groups.as_ref()?.get(name).map(Through::new)
    }

    /// Calls `visit` with every filter in the table. With one worker only those of shared groups
    /// are there.
    pub fn for_each(&self, mut visit: impl FnMut(&str)) {
        self.read().for_each(|filter, _| visit(filter));
    }

    /// Filters somebody wants.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether nobody wants anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tell_wants(&self, filter: &str, before: PeerSet, now: PeerSet) {
        let (before, wanted) = (before & LOCAL != 0, now & LOCAL != 0);
        if before != wanted {
            self.tell(|| Change::Wants { filter: filter.into(), wanted });
        }
    }

    fn tell_subscribed(&self, filter: &str, lasting: &Lasting) {
        self.tell(|| subscribed(&filter.into(), lasting));
    }

    /// Tells other nodes, if there are any. The table is locked, so they hear it in its order.
    fn tell(&self, change: impl FnOnce() -> Change) {
        if let Some(cluster) = &self.cluster {
            cluster.log().push(&change());
        }
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    // A worker that panicked while it held the lock left the table whole: every change is made
    // of steps that each leave a valid trie. So poisoning is no reason to stop the others.
    fn read(&self) -> RwLockReadGuard<'_, Trie<Interested>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Trie<Interested>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subscribed(filter: &Arc<str>, lasting: &Lasting) -> Change {
    Change::Subscribed {
        session: lasting.session,
        options: lasting.target.options(),
        id: lasting.target.ids.as_slice().first().copied().unwrap_or(0),
        filter: Arc::clone(filter),
    }
}

/// A member as other nodes are told of it; one without a client id is told to nobody.
fn far_member(name: &str, filter: &str, member: &Member) -> Option<FarMember> {
    Some(FarMember {
        client: member.far.clone()?,
        session: member.session,
        options: member.target.options(),
        id: member.target.ids.as_slice().first().copied().unwrap_or(0),
        online: member.online,
        name: name.into(),
        filter: filter.into(),
    })
}
