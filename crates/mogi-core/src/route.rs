//! Who gets a topic's messages: looked up once, remembered until a subscription changes.
//!
//! ```text
//!  topic ──► Route { targets of this worker, peers, groups }
//!              │ valid while both versions are those of
//!              └── this worker's subscriptions, and the interest table
//! ```
//! So a message of a known topic costs one hash lookup and no lock, and a topic's text is checked
//! only until it is remembered: from the second message on, as remembering a topic costs more than
//! a match, and where every device has topics of its own, many are met but once. Where more topics
//! are met again and again than there is room for, a new one takes the place of any other.

use crate::cluster::is_far;
use crate::config::CoreConfig;
use crate::interest::{Interest, Lasting, PeerSet, bit};
use crate::node::Node;
use crate::seen::Seen;
use crate::shared::Through;
use crate::store::SessionNo;
use crate::topics::{MatchScratch, Trie};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use mogi_codec::{QoS, SubscribeOptions};
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

/// The place of the topic met last among those that are not remembered yet.
const PASSING: u32 = 0;

/// Targets and groups remembered in all routes together; beyond that the cache starts anew.
const CACHED_RECEIVERS: usize = 1 << 20;

/// Where there is no room, one topic of so many takes the place of another: what costs as much as
/// some matches is to be of use for some messages.
const PICKY: u32 = 4;

/// The subscription identifiers one delivery carries ([MQTT-3.3.4-3]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// None.
    #[default]
    None,
    /// One.
    One(u32),
    /// Several, of overlapping subscriptions.
    Many(Arc<[u32]>),
}

impl Ids {
    /// One id; 0: none.
    pub const fn from_id(id: u32) -> Self {
        if id == 0 { Self::None } else { Self::One(id) }
    }

    /// All of them.
    #[inline]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    /// The ids of both.
    fn joined(&self, other: &Self) -> Self {
        match (self, other) {
            (ids, Self::None) | (Self::None, ids) => ids.clone(),
            (a, b) => Self::Many(a.as_slice().iter().chain(b.as_slice()).copied().collect()),
        }
    }
}

/// A subscription as routing sees it: who, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The client's key on the worker that owns it.
    pub(crate) client: u32,
    /// The options byte without retain handling.
    options: u8,
    pub(crate) ids: Ids,
}

const QOS: u8 = 0b11;
const NO_LOCAL: u8 = 0b100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;

impl Target {
    pub(crate) const fn new(client: u32, options: SubscribeOptions, id: u32) -> Self {
        Self { client, options: options.encode() & 0x0F, ids: Ids::from_id(id) }
    }

    #[inline]
    pub(crate) const fn qos(&self) -> QoS {
        match self.options & QOS {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// The QoS with which a message that was published with `published` goes to it.
    #[inline]
    pub(crate) fn live_qos(&self, published: QoS, upgrade: bool) -> QoS {
        if upgrade { self.qos() } else { self.qos().min(published) }
    }

    /// The options byte without retain handling.
    pub(crate) const fn options(&self) -> u8 {
        self.options
    }

    #[inline]
    pub(crate) const fn no_local(&self) -> bool {
        self.options & NO_LOCAL != 0
    }

    #[inline]
    pub(crate) const fn retain_as_published(&self) -> bool {
        self.options & RETAIN_AS_PUBLISHED != 0
    }

    /// One target for two subscriptions of a client: the higher QoS ([MQTT-3.3.4-2]), both ids
    /// ([MQTT-3.3.4-4]), RETAIN kept if one of them keeps it, no-local only if both ask for it.
    fn merge(&mut self, other: &Self) {
        let qos = (self.options & QOS).max(other.options & QOS);
        let keep = (self.options | other.options) & RETAIN_AS_PUBLISHED;
        let local = self.options & other.options & NO_LOCAL;
        self.options = qos | keep | local;
        self.ids = self.ids.joined(&other.ids);
    }
}

/// The subscribers of one filter on this worker. Most filters have one.
#[derive(Debug)]
pub(crate) enum Subscribers {
    One(Target),
    Many(Vec<Target>),
}

impl Subscribers {
    pub(crate) fn as_slice(&self) -> &[Target] {
        match self {
            Self::One(target) => std::slice::from_ref(target),
            Self::Many(targets) => targets,
        }
    }

    /// Adds a client's subscription, or changes it ([MQTT-3.8.4-3]).
    pub(crate) fn set(&mut self, target: Target) {
        match self {
            Self::One(only) if only.client == target.client => *only = target,
            Self::One(only) => *self = Self::Many(vec![only.clone(), target]),
            Self::Many(targets) => {
                match targets.iter_mut().rev().find(|other| other.client == target.client) {
                    Some(other) => *other = target,
                    None => targets.push(target),
                }
            }
        }
    }

    /// Removes a client's subscription; whether none is left.
    pub(crate) fn remove(&mut self, client: u32) -> bool {
        match self {
            Self::One(only) => only.client == client,
            Self::Many(targets) => {
                if let Some(at) = targets.iter().rposition(|target| target.client == client) {
                    targets.swap_remove(at);
                }
                targets.is_empty()
            }
        }
    }
}

/// The receivers of a topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    pub(crate) topic: String,
    subs_version: u64,
    interest_version: u64,
    /// Receivers on this worker.
    pub(crate) targets: Vec<Target>,
    /// Other workers that have some.
    pub(crate) peers: PeerSet,
    /// Their receivers whose sessions outlive the connection.
    pub(crate) lasting: Vec<Lasting>,
    pub(crate) groups: Vec<Through>,
}

impl Route {
    /// Whether nobody gets the topic's messages.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.no_peers() && self.groups.is_empty()
    }

    /// Whether the client of `target` has one more target here, of which `is` holds.
    pub(crate) fn has_other(&self, target: &Target, is: impl Fn(&Target) -> bool) -> bool {
        let same_client = |it: &&Target| it.client == target.client && !std::ptr::eq(*it, target);
        self.targets.iter().filter(same_client).any(is)
    }

    /// Whether nobody on another worker or node gets them.
    pub(crate) fn no_peers(&self) -> bool {
        self.peers == 0 && self.lasting.is_empty()
    }

    fn receivers(&self) -> usize {
        self.targets.len() + self.lasting.len() + self.groups.len()
    }
}

/// A worker's part of the subscription table, and the routes it remembers.
#[derive(Debug)]
pub(crate) struct Routing {
    worker: u16,
    node: Arc<Node>,
    hash: FixedState,
    /// Those that the interest table does not list.
    pub(crate) subs: Trie<Subscribers>,
    subs_version: u64,
    one_copy: bool,
    index: HashTable<u32>,
    /// The one found last; [`PASSING`]: none.
    last: u32,
    /// The first is that of [`PASSING`].
    routes: Vec<Route>,
    seen: Seen,
    limit: usize,
    bytes_limit: usize,
    /// Topics there was no room for.
    crowded: u32,
    /// Targets and groups in all routes.
    receivers: usize,
    /// Bytes of their topics.
    bytes: usize,
    scratch: MatchScratch,
    /// The group a peer sent a message for last, and the version of the interest table it is of.
    group: (u64, Option<Through>),
}

impl Routing {
    pub(crate) fn new(worker: u16, node: Arc<Node>, cfg: &CoreConfig) -> Self {
        Self {
            worker,
            hash: node.hash(),
            subs: Trie::new(node.seed()),
            subs_version: 1,
            one_copy: !cfg.allow_duplicate_messages,
            index: HashTable::new(),
            last: PASSING,
            routes: vec![Route::default()],
            seen: Seen::with_limit(cfg.route_cache_topics),
            limit: cfg.route_cache_topics.max(1),
            bytes_limit: cfg.route_cache_bytes,
            crowded: 0,
            receivers: 0,
            bytes: 0,
            scratch: MatchScratch::default(),
            group: (0, None),
            node,
        }
    }

    /// Tells that a subscription of this worker changed.
    pub(crate) const fn changed(&mut self) {
        self.subs_version += 1;
    }

    /// How many topics are remembered.
    pub(crate) const fn len(&self) -> usize {
        self.routes.len() - 1
    }

    /// The route of the topic with these bytes, brought up to date, if it is remembered; then the
    /// bytes are a valid topic name. It stays good until the next call of a `&mut self` method.
    #[inline]
    pub(crate) fn find(&mut self, topic: &[u8], interest_version: u64) -> Option<u32> {
        let routes = &self.routes;
        let same = |&at: &u32| routes[at as usize].topic.as_bytes() == topic;
        // What comes in one go is often for one topic.
        let at = match self.last {
            last if last != PASSING && same(&last) => last,
            _ => *self.index.find(self.hash.hash_one(topic), same)?,
        };
        self.last = at;
        let route = &self.routes[at as usize];
        if route.subs_version != self.subs_version || route.interest_version != interest_version {
            if self.receivers > CACHED_RECEIVERS {
                self.forget_all();
                return None;
            }
            self.refresh(at, interest_version);
        }
        Some(at)
    }

    /// The route of a topic that [`Self::find`] does not know; remembered if it was met before.
    pub(crate) fn add(&mut self, topic: &str, interest_version: u64) -> u32 {
        if self.receivers > CACHED_RECEIVERS {
            self.forget_all();
        }
        let passing = &mut self.routes[PASSING as usize];
        passing.topic.clear();
        passing.topic.push_str(topic);
        self.refresh(PASSING, interest_version);
        let hash = self.hash.hash_one(topic.as_bytes());
        if !self.seen.again(hash) {
            return PASSING;
        }
        let Some(at) = self.place(hash, topic.len()) else {
            return PASSING;
        };
        let route = self.routes[PASSING as usize].clone();
        self.bytes += topic.len();
        self.receivers += route.receivers();
        self.routes[at as usize] = route;
        let (build, routes) = (&self.hash, &self.routes);
        let of = |&at: &u32| build.hash_one(routes[at as usize].topic.as_bytes());
        self.index.insert_unique(hash, at, of);
        at
    }

    /// A place for the route of a topic with that hash and so many bytes, if it is to have one.
    fn place(&mut self, hash: u64, bytes: usize) -> Option<u32> {
        if self.len() < self.limit && self.bytes + bytes <= self.bytes_limit {
            self.routes.push(Route::default());
            return Some(self.len() as u32);
        }
        self.crowded = self.crowded.wrapping_add(1);
        let never = bytes > self.bytes_limit || self.len() == 0;
        if never || !self.crowded.is_multiple_of(PICKY) {
            return None;
        }
        let at = 1 + ((hash >> 32) as usize % self.len()) as u32;
        self.forget(at);
        (self.bytes + bytes <= self.bytes_limit).then_some(at)
    }

    fn forget(&mut self, at: u32) {
        let route = std::mem::take(&mut self.routes[at as usize]);
        let hash = self.hash.hash_one(route.topic.as_bytes());
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.bytes -= route.topic.len();
        self.receivers -= route.receivers();
        self.last = PASSING;
    }

    /// The group as it is now, looked up only where it is not the one of the message before.
    pub(crate) fn take_group(&mut self, name: &str, filter: &str) -> Option<Through> {
        // Before the table is looked at: what changes in between is found the next time.
        let version = self.node.interest.version();
        let known = self.group.1.take().filter(|group| {
            self.group.0 == version && group.name() == name && group.filter() == filter
        });
        self.group.0 = version;
        known.or_else(|| self.node.interest.group(name, filter))
    }

    /// Gives back what [`Self::take_group`] gave, for the next message.
    pub(crate) fn keep_group(&mut self, group: Option<Through>) {
        self.group.1 = group;
    }

    fn forget_all(&mut self) {
        self.index.clear();
        self.last = PASSING;
        self.routes.truncate(1);
        self.routes[PASSING as usize] = Route::default();
        (self.receivers, self.bytes) = (0, 0);
    }

    /// The route [`Self::find`] or [`Self::add`] named.
    #[inline]
    pub(crate) fn get(&self, at: u32) -> &Route {
        &self.routes[at as usize]
    }

    fn refresh(&mut self, at: u32, interest_version: u64) {
        let Self { routes, subs, scratch, node, .. } = self;
        let route = &mut routes[at as usize];
        self.receivers -= route.receivers();
        rebuild(route, subs, &node.interest, scratch);
        route.peers &= !bit(self.worker);
        forget_former_places(&mut route.lasting);
        let own = route.lasting.extract_if(.., |lasting| lasting.worker == self.worker);
        route.targets.extend(own.map(|lasting| lasting.target));
        if self.one_copy {
            merge_overlapping(route);
        }
        if at != PASSING {
            route.targets.shrink_to_fit();
            route.lasting.shrink_to_fit();
            route.groups.shrink_to_fit();
        }
        route.subs_version = self.subs_version;
        route.interest_version = interest_version;
        self.receivers += route.receivers();
    }
}

fn rebuild(
    route: &mut Route,
    subs: &Trie<Subscribers>,
    interest: &Interest,
    scratch: &mut MatchScratch,
) {
    let topic = &*route.topic;
    route.targets.clear();
    route.lasting.clear();
    route.groups.clear();
    route.peers = 0;
    subs.matches(topic, scratch, |subscribers| {
        route.targets.extend_from_slice(subscribers.as_slice());
    });
    interest.matches(topic, scratch, |interested| {
        route.peers |= interested.peers;
        route.lasting.extend(interested.lasting.iter());
        route.groups.extend(interested.groups().map(Through::new));
    });
}

/// While a session moves here it is listed twice; the place here counts.
fn forget_former_places(lasting: &mut Vec<Lasting>) {
    if !lasting.iter().any(|one| is_far(one.worker)) {
        return;
    }
    let here = lasting.iter().filter(|one| !is_far(one.worker));
    let here: BTreeSet<SessionNo> = here.map(|one| one.session).collect();
    lasting.retain(|one| !is_far(one.worker) || !here.contains(&one.session));
}

/// Leaves one target per client.
fn merge_overlapping(route: &mut Route) {
    route.targets.sort_by_key(|target| target.client);
    route.targets.dedup_by(|later, earlier| {
        let same = later.client == earlier.client;
        if same {
            earlier.merge(later);
        }
        same
    });
    let client = |lasting: &Lasting| (lasting.worker, lasting.target.client);
    route.lasting.sort_by_key(client);
    route.lasting.dedup_by(|later, earlier| {
        let same = client(later) == client(earlier);
        if same {
            earlier.target.merge(&later.target);
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_remembered_when_it_is_met_again() {
        let node = Arc::new(Node::new(1, 7));
        let mut routing = Routing::new(0, node, &CoreConfig::default());
        routing.subs.entry_or_insert_with("a/+", || {
            Subscribers::One(Target::new(3, SubscribeOptions::default(), 0))
        });
        for (topic, remembered) in [("a/b", 0), ("x", 0), ("a/b", 1), ("a/b", 1), ("x", 2)] {
            let route = routing.find(topic.as_bytes(), 1).unwrap_or_else(|| routing.add(topic, 1));
            let route = routing.get(route);
            assert_eq!(route.topic, topic);
            assert_eq!(route.targets.len(), usize::from(topic == "a/b"));
            assert_eq!(routing.len(), remembered, "{topic}");
        }
    }

    /// As many topics as have no room, in turns: most are remembered all the same, and no limit is
    /// passed.
    #[test]
    fn topics_take_turns_where_there_is_no_room() {
        let limits = CoreConfig { route_cache_topics: 80, ..CoreConfig::default() };
        let tight = CoreConfig { route_cache_bytes: 80 * 4, ..CoreConfig::default() };
        for cfg in [limits, tight] {
            let mut routing = Routing::new(0, Arc::new(Node::new(1, 7)), &cfg);
            let mut found = 0;
            for turn in 0..100 {
                for number in 0..100 {
                    let topic = format!("t/{number:02}");
                    let known = routing.find(topic.as_bytes(), 1);
                    found += u32::from(known.is_some() && turn >= 50);
                    let route = known.unwrap_or_else(|| routing.add(&topic, 1));
                    assert_eq!(routing.get(route).topic, topic);
                    assert!(routing.len() <= 80, "{}", routing.len());
                }
            }
            assert!(found > 3000, "{found} of 5000");
            let texts: usize = routing.routes[1..].iter().map(|route| route.topic.len()).sum();
            assert_eq!((routing.bytes, routing.index.len()), (texts, routing.len()));
        }
    }

    /// A topic that is longer than all there is room for is not remembered.
    #[test]
    fn a_topic_may_be_too_long_to_be_remembered() {
        let cfg = CoreConfig { route_cache_bytes: 10, ..CoreConfig::default() };
        let mut routing = Routing::new(0, Arc::new(Node::new(1, 7)), &cfg);
        for topic in ["short", "much too long", "short"].repeat(20) {
            let route = routing.find(topic.as_bytes(), 1);
            let route = route.unwrap_or_else(|| routing.add(topic, 1));
            assert_eq!(routing.get(route).topic, topic);
            assert!(routing.bytes <= 10);
        }
    }
}
