//! The other nodes: who they are, what they want, and the lasting sessions that live there.

use super::change::{Change, FarMember};
use super::{FIRST_NODE, MAX_NODES, NOWHERE};
use crate::interest::{Interest, Lasting};
use crate::map::Map;
use crate::route::Target;
use crate::shared::Member;
use crate::store::{SessionNo, StoredSubscription};
use foldhash::fast::FixedState;
use mogi_codec::topic::Shared;
use mogi_codec::{SubscribeOptions, Version};
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

/// A client that is to leave because it is connected elsewhere, or its session lives there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The client id.
    pub client: Arc<str>,
    /// The epoch it has there: whoever has a greater one here stays.
    pub epoch: u64,
    /// Whether its lasting session moved there; else it is to end here.
    pub moved: bool,
    /// The node's place.
    pub peer: u16,
}

/// A lasting session as the store has it, as far as those need it where it does not live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowRecord {
    /// The session.
    pub session: SessionNo,
    /// The client id.
    pub client: Arc<str>,
    /// What stands before its filters (`mount_point`).
    pub mount: Option<Arc<str>>,
    /// Its epoch.
    pub epoch: u64,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
}

/// Other nodes and their clients.
#[derive(Debug)]
pub struct Roster {
    nodes: Vec<Option<NodeView>>,
    shadows: Map<SessionNo, Shadow>,
    by_client: Map<Arc<str>, SessionNo>,
    /// Sessions that are no more, until somebody asks.
    ended: Vec<SessionNo>,
    /// Keys given to those who are not here.
    keys: u32,
    hash: FixedState,
}

#[derive(Debug)]
struct NodeView {
    name: Arc<str>,
    /// Counts its snapshots: what the last one did not have is no more.
    round: u32,
    wants: Map<Arc<str>, u32>,
    members: Map<Place, FarPlace>,
}

/// A place in a shared group: its name and filter, and the client.
type Place = (Arc<str>, Arc<str>, Arc<str>);

/// A client that is no more where it was: the place, the client, its groups by name and filter.
type Left = (u16, Arc<str>, Vec<(Arc<str>, Arc<str>)>);

#[derive(Debug)]
struct FarPlace {
    round: u32,
    key: u32,
    member: FarMember,
}

#[derive(Debug)]
struct Shadow {
    peer: u16,
    /// Its client's key in the interest table.
    key: u32,
    client: Arc<str>,
    epoch: u64,
    /// The snapshot of its node that named it last.
    round: u32,
    subscriptions: Map<Arc<str>, Subscribed>,
    /// Groups it is in where it lives: name, filter.
    groups: Vec<(Arc<str>, Arc<str>)>,
    /// Groups it waits in while it is nowhere: name, filter, key there.
    waits_in: Vec<(Arc<str>, Arc<str>, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Subscribed {
    options: u8,
    id: u32,
    round: u32,
}

impl Roster {
    pub(crate) fn new(seed: u64) -> Self {
        let hash = FixedState::with_seed(seed);
        Self {
            nodes: Vec::new(),
            shadows: Map::with_hasher(hash.clone()),
            by_client: Map::with_hasher(hash.clone()),
            ended: Vec::new(),
            keys: 0,
            hash,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shadows.len()
    }

    pub(crate) fn add_node(&mut self, name: &str) -> Option<u16> {
        if self.nodes.iter().flatten().any(|node| &*node.name == name) {
            return None;
        }
        let node = NodeView {
            name: name.into(),
            round: 0,
            wants: Map::with_hasher(self.hash.clone()),
            members: Map::with_hasher(self.hash.clone()),
        };
        let at = match self.nodes.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.nodes.len() < MAX_NODES => {
                self.nodes.push(None);
                self.nodes.len() - 1
            }
            None => return None,
        };
        self.nodes[at] = Some(node);
        Some(FIRST_NODE + at as u16)
    }

    pub(crate) fn remove_node(&mut self, interest: &Interest, peer: u16) {
        let Some(node) = self.node_slot(peer).and_then(Option::take) else {
            return;
        };
        for shadow in self.shadows.values_mut().filter(|shadow| shadow.peer == peer) {
            shadow.move_to(interest, NOWHERE);
        }
        for filter in node.wants.keys() {
            interest.set_wants(peer, filter, false);
        }
        for FarPlace { key, member, .. } in node.members.into_values() {
            self.wait_nowhere(interest, key, &FarMember { online: false, ..member.clone() });
            interest.leave(&member.name, &member.filter, peer, key);
        }
    }

    pub(crate) fn add_shadow(&mut self, interest: &Interest, peer: u16, record: &ShadowRecord) {
        let ShadowRecord { session, client, mount, epoch, subscriptions } = record;
        // The session itself, or the one that came after it under the same claim.
        let after = self.by_client.get(client).unwrap_or(session);
        let told = [session, after]
            .into_iter()
            .filter_map(|it| self.shadows.get(it))
            .any(|it| it.epoch >= *epoch && it.peer != NOWHERE && self.told_by(it.peer));
        // What the store had a moment ago may be older than what the session's node told.
        if told || self.home(interest, peer, *session, *epoch, client).is_none() {
            return;
        }
        let mount = mount.as_deref().unwrap_or_default();
        for StoredSubscription { filter, options, id } in subscriptions {
            if let Ok(Some(shared)) = Shared::parse(filter) {
                let member = FarMember {
                    client: Arc::clone(client),
                    session: *session,
                    options: *options,
                    id: *id,
                    online: false,
                    name: shared.group.into(),
                    filter: format!("{mount}{}", shared.filter).into(),
                };
                self.joined(interest, peer, member);
            } else {
                let filter = format!("{mount}{filter}").into();
                self.subscribed(interest, peer, *session, filter, *options, *id);
            }
        }
    }

    pub(crate) fn has_shadow(&self, client: &str) -> bool {
        self.by_client.contains_key(client)
    }

    pub(crate) fn is_shadow(&self, session: SessionNo) -> bool {
        self.shadows.contains_key(&session)
    }

    pub(crate) fn epoch_of(&self, client: &str) -> Option<u64> {
        Some(self.shadows.get(self.by_client.get(client)?)?.epoch)
    }

    pub(crate) fn homeless(&self) -> Vec<Arc<str>> {
        let nowhere = self.shadows.values().filter(|shadow| shadow.peer == NOWHERE);
        nowhere.map(|shadow| Arc::clone(&shadow.client)).collect()
    }

    pub(crate) fn settled_here(&mut self, interest: &Interest, client: &str, session: SessionNo) {
        self.remove_shadow(interest, session);
        self.ended.retain(|ended| *ended != session);
        if let Some(other) = self.by_client.get(client).copied() {
            self.remove_shadow(interest, other);
        }
    }

    /// Sessions that lived elsewhere and are no more, since this was asked last.
    pub(crate) fn take_ended(&mut self) -> Vec<SessionNo> {
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|session| !self.shadows.contains_key(session));
        ended
    }

    pub(crate) fn forget_all(&mut self) {
        self.shadows.clear();
        self.by_client.clear();
    }

    /// Takes what `peer` told.
    pub(crate) fn apply(
        &mut self,
        interest: &Interest,
        peer: u16,
        change: Change,
    ) -> Option<Eviction> {
        self.node(peer)?;
        match change {
            Change::SnapshotBegin => {
                let node = self.node(peer)?;
                node.round = node.round.wrapping_add(1);
            }
            Change::SnapshotEnd => self.sweep(interest, peer),
            Change::Home { session, epoch, client } => {
                self.home(interest, peer, session, epoch, &client)?;
                return Some(Eviction { client, epoch, moved: true, peer });
            }
            Change::Taken { epoch, client } => {
                if let Some(session) = self.by_client.get(&client).copied()
                    && self.shadows.get(&session).is_some_and(|shadow| shadow.epoch <= epoch)
                {
                    self.remove_shadow(interest, session);
                }
                return Some(Eviction { client, epoch, moved: false, peer });
            }
            Change::Gone { session } => {
                if self.shadows.get(&session).is_some_and(|shadow| shadow.peer == peer) {
                    self.remove_shadow(interest, session);
                }
            }
            Change::Waits { .. } => {}
            Change::Wants { filter, wanted } => self.wants(interest, peer, filter, wanted),
            Change::Subscribed { session, options, id, filter } => {
                self.subscribed(interest, peer, session, filter, options, id);
            }
            Change::Unsubscribed { session, filter } => {
                let shadow = self.shadows.get_mut(&session).filter(|it| it.peer == peer)?;
                shadow.subscriptions.remove(&filter);
                interest.unlist(&filter, (peer, shadow.key));
            }
            Change::Joined(member) => self.joined(interest, peer, member),
            Change::Left { client, name, filter } => {
                let place = (name, filter, client);
                let left = self.node(peer)?.members.remove(&place)?;
                interest.leave(&place.0, &place.1, peer, left.key);
            }
        }
        None
    }

    /// The session lives with `peer`; `None` if a later epoch of it is known.
    fn home(
        &mut self,
        interest: &Interest,
        peer: u16,
        session: SessionNo,
        epoch: u64,
        client: &Arc<str>,
    ) -> Option<()> {
        let round = self.node(peer).map_or(0, |node| node.round);
        if let Some(other) = self.by_client.get(client).copied()
            && other != session
        {
            if self.shadows.get(&other).is_some_and(|shadow| shadow.epoch > epoch) {
                return None;
            }
            // A client has one session: the new one ended the one before.
            self.remove_shadow(interest, other);
        }
        if let Some(shadow) = self.shadows.get_mut(&session) {
            if shadow.epoch > epoch {
                // The store had it from this node as of a claim the node goes on with: it is there.
                if shadow.peer == peer {
                    shadow.round = round;
                }
                return None;
            }
            (shadow.epoch, shadow.round) = (epoch, round);
            if shadow.peer != peer {
                let left = (shadow.peer, Arc::clone(&shadow.client), shadow.take_groups());
                shadow.move_to(interest, peer);
                self.leave_groups(interest, left);
            }
            return Some(());
        }
        let shadow = Shadow {
            peer,
            key: self.next_key(),
            client: Arc::clone(client),
            epoch,
            round,
            subscriptions: Map::with_hasher(self.hash.clone()),
            groups: Vec::new(),
            waits_in: Vec::new(),
        };
        self.shadows.insert(session, shadow);
        self.by_client.insert(Arc::clone(client), session);
        Some(())
    }

    fn subscribed(
        &mut self,
        interest: &Interest,
        peer: u16,
        session: SessionNo,
        filter: Arc<str>,
        options: u8,
        id: u32,
    ) {
        let round = self.node(peer).map_or(0, |node| node.round);
        let Some(shadow) = self.shadows.get_mut(&session).filter(|it| it.peer == peer) else {
            return;
        };
        let subscribed = Subscribed { options, id, round };
        if let Some(lasting) = lasting_at(peer, session, shadow.key, subscribed) {
            interest.list(&filter, lasting);
            shadow.subscriptions.insert(filter, subscribed);
        }
    }

    fn wants(&mut self, interest: &Interest, peer: u16, filter: Arc<str>, wanted: bool) {
        let Some(node) = self.node(peer) else { return };
        let round = node.round;
        interest.set_wants(peer, &filter, wanted);
        if wanted {
            node.wants.insert(filter, round);
        } else {
            node.wants.remove(&filter);
        }
    }

    fn joined(&mut self, interest: &Interest, peer: u16, member: FarMember) {
        let key = self.next_key();
        let Some(node) = self.node(peer) else {
            return self.wait_nowhere(interest, key, &member);
        };
        let round = node.round;
        let FarMember { name, filter, client, session, .. } = &member;
        if let Some(shadow) = self.shadows.get_mut(session) {
            if shadow.peer != peer {
                return; // It lived there: what it is in it is where it lives now.
            }
            let group = (Arc::clone(name), Arc::clone(filter));
            if !shadow.groups.contains(&group) {
                shadow.groups.push(group);
            }
        }
        let Some(node) = self.node(peer) else { return };
        let place = (Arc::clone(name), Arc::clone(filter), Arc::clone(client));
        let key = node.members.get(&place).map_or(key, |known| known.key);
        if let Some(far) = member_at(peer, key, &member) {
            interest.join(name, filter, far);
            node.members.insert(place, FarPlace { round, key, member });
        }
    }

    /// A member whose session lasts goes on waiting for messages while it is nowhere.
    fn wait_nowhere(&mut self, interest: &Interest, key: u32, member: &FarMember) {
        let Some(shadow) = self.shadows.get_mut(&member.session) else {
            return;
        };
        if let Some(far) = member_at(NOWHERE, key, member) {
            let FarMember { name, filter, .. } = member;
            interest.join(name, filter, far);
            shadow.waits_in.push((Arc::clone(name), Arc::clone(filter), key));
        }
    }

    /// Forgets what the node's last snapshot did not have.
    fn sweep(&mut self, interest: &Interest, peer: u16) {
        let Some(node) = self.node(peer) else { return };
        let round = node.round;
        node.wants.retain(|filter, seen| {
            let stays = *seen == round;
            if !stays {
                interest.set_wants(peer, filter, false);
            }
            stays
        });
        let mut left = Vec::new();
        node.members.retain(|(name, filter, _), place| {
            let stays = place.round == round;
            if !stays {
                interest.leave(name, filter, peer, place.key);
                left.push((place.key, place.member.clone()));
            }
            stays
        });
        for shadow in self.shadows.values_mut().filter(|shadow| shadow.peer == peer) {
            if shadow.round != round {
                // The node has it no more: it moved, and whoever has it now is yet to tell, or it
                // ended. Until that is known its messages are written down as before.
                shadow.move_to(interest, NOWHERE);
                continue;
            }
            let key = shadow.key;
            shadow.subscriptions.retain(|filter, subscribed| {
                let stays = subscribed.round == round;
                if !stays {
                    interest.unlist(filter, (peer, key));
                }
                stays
            });
        }
        for (key, member) in left {
            let lost = self.shadows.get(&member.session).is_some_and(|it| it.peer == NOWHERE);
            if lost {
                self.wait_nowhere(interest, key, &FarMember { online: false, ..member });
            }
        }
    }

    fn remove_shadow(&mut self, interest: &Interest, session: SessionNo) {
        let Some(mut shadow) = self.shadows.remove(&session) else {
            return;
        };
        shadow.leave_nowhere(interest);
        for filter in shadow.subscriptions.keys() {
            interest.unlist(filter, (shadow.peer, shadow.key));
        }
        let left = (shadow.peer, Arc::clone(&shadow.client), shadow.take_groups());
        self.leave_groups(interest, left);
        self.ended.push(session);
        if self.by_client.get(&shadow.client) == Some(&session) {
            self.by_client.remove(&shadow.client);
        }
    }

    /// Takes a client out of groups it was in at a place where it does not live any more: what was
    /// given to it there it would not hear of.
    fn leave_groups(&mut self, interest: &Interest, (peer, client, groups): Left) {
        for (name, filter) in groups {
            let place = (name, filter, Arc::clone(&client));
            if let Some(left) = self.node(peer).and_then(|node| node.members.remove(&place)) {
                interest.leave(&place.0, &place.1, peer, left.key);
            }
        }
    }

    fn next_key(&mut self) -> u32 {
        self.keys = self.keys.wrapping_add(1);
        self.keys
    }

    /// Whether that node has told what it has.
    fn told_by(&self, peer: u16) -> bool {
        let at = peer.checked_sub(FIRST_NODE).map(usize::from);
        let node = at.and_then(|at| self.nodes.get(at)?.as_ref());
        node.is_some_and(|node| node.round > 0)
    }

    fn node_slot(&mut self, peer: u16) -> Option<&mut Option<NodeView>> {
        self.nodes.get_mut(usize::from(peer.checked_sub(FIRST_NODE)?))
    }

    fn node(&mut self, peer: u16) -> Option<&mut NodeView> {
        self.node_slot(peer)?.as_mut()
    }
}

impl Shadow {
    /// Moves its subscriptions to another place, without a moment in which they are nowhere.
    fn move_to(&mut self, interest: &Interest, peer: u16) {
        let before = std::mem::replace(&mut self.peer, peer);
        for filter in self.subscriptions.keys() {
            interest.relist(filter, (before, self.key), peer);
        }
        self.leave_nowhere(interest);
    }

    fn take_groups(&mut self) -> Vec<(Arc<str>, Arc<str>)> {
        std::mem::take(&mut self.groups)
    }

    fn leave_nowhere(&mut self, interest: &Interest) {
        for (name, filter, key) in std::mem::take(&mut self.waits_in) {
            interest.leave(&name, &filter, NOWHERE, key);
        }
    }
}

fn options_of(options: u8) -> Option<SubscribeOptions> {
    SubscribeOptions::decode(Version::V5, options).ok()
}

fn lasting_at(peer: u16, session: SessionNo, key: u32, subscribed: Subscribed) -> Option<Lasting> {
    let target = Target::new(key, options_of(subscribed.options)?, subscribed.id);
    Some(Lasting { worker: peer, session, target })
}

fn member_at(peer: u16, key: u32, member: &FarMember) -> Option<Member> {
    Some(Member {
        worker: peer,
        target: Target::new(key, options_of(member.options)?, member.id),
        generation: 0,
        online: member.online,
        durable: member.session != SessionNo::NONE,
        session: member.session,
        waiting: Arc::new(AtomicI32::new(0)),
        far: Some(Arc::clone(&member.client)),
    })
}
