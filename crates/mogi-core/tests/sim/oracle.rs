//! What has to be true, decided from what clients sent and saw, without a look into the core.
//!
//! ```text
//!  SUBSCRIBE sent ──── SUBACK seen ─────────── UNSUBSCRIBE sent ──── UNSUBACK seen
//!        └ may match from here  └ must match from here ┘ to here          └ may match to here
//! ```

use crate::ledger::Ledger;
use crate::message::{Published, effective, id_of, payload};
use crate::plan::Plan;
use crate::retained::{Owed, Retaining};
use mogi_codec::topic::{Shared, matches};
use mogi_codec::{QoS, SubscribeOptions};
use std::collections::{BTreeMap, BTreeSet};

/// Later than anything.
pub(crate) const OPEN: u64 = u64::MAX;

/// One SUBSCRIBE of one filter.
#[derive(Clone, Debug)]
pub(crate) struct Sub {
    pub(crate) filter: String,
    pub(crate) options: SubscribeOptions,
    pub(crate) id: Option<u32>,
    pub(crate) asked_at: u64,
    pub(crate) acked_at: Option<u64>,
    /// Until when it must match.
    pub(crate) sure_until: u64,
    /// Until when it may match.
    pub(crate) maybe_until: u64,
    /// The connection it was made on.
    pub(crate) token: u32,
}

impl Sub {
    /// The filter messages are matched against, and the group if there is one.
    pub(crate) fn parts(&self) -> (&str, Option<&str>) {
        match Shared::parse(&self.filter) {
            Ok(Some(shared)) => (shared.filter, Some(shared.group)),
            _ => (&self.filter, None),
        }
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        matches(self.parts().0, topic)
    }

    /// Whether it was there for all of a message's way to the broker.
    pub(crate) fn surely_had(&self, message: &Published) -> bool {
        self.acked_at.is_some_and(|at| at <= message.sent_at) && self.sure_until == OPEN
    }
}

/// What a client sees of a delivery.
#[derive(Clone, Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: Vec<u32>,
    pub(crate) user: Option<u32>,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) v5: bool,
    /// Not a repeat of one it knows.
    pub(crate) fresh: bool,
}

/// What a client had in one session.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Message → copies.
    pub(crate) copies: BTreeMap<u32, usize>,
    /// Message → copies at QoS 2.
    exact: BTreeMap<u32, usize>,
    /// Messages that came with RETAIN, repeats among them.
    pub(crate) retained: BTreeSet<u32>,
    /// Copies with RETAIN.
    pub(crate) kept: BTreeMap<u32, usize>,
    /// (publisher, topic, QoS) → newest message.
    newest: BTreeMap<(usize, String, u8), u32>,
}

/// One copy a shared group's member got.
#[derive(Clone, Debug)]
struct Share {
    client: usize,
    epoch: usize,
    /// The member's session ends with its connection: when the broker crashes, the message is
    /// anybody's again.
    fleeting: bool,
}

/// A client as the oracle sees it.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    pub(crate) subs: Vec<Sub>,
    pub(crate) seen: Seen,
    /// Counts its sessions.
    pub(crate) epoch: usize,
    /// The session may have ended already.
    pub(crate) ending: bool,
    /// When a session of it may have ended last.
    pub(crate) ended_at: u64,
    /// Whether the session is one that outlives its connection.
    pub(crate) lasting: bool,
    /// Largest packet it takes.
    pub(crate) packet_limit: Option<usize>,
}

pub(crate) struct Oracle {
    pub(crate) clock: u64,
    pub(crate) messages: Vec<Published>,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) retaining: BTreeMap<String, Vec<Retaining>>,
    shares: BTreeMap<(String, u32), Vec<Share>>,
    /// Shared filter → clients that asked for it.
    pub(crate) members_ever: BTreeMap<String, BTreeSet<usize>>,
    /// (client, message): a PUBLISH left the broker.
    pub(crate) left: BTreeSet<(usize, u32)>,
    /// Wills that arrived at the watcher, and when.
    pub(crate) wills_seen: BTreeMap<u32, u64>,
    pub(crate) delivered: usize,
    /// Retained messages that answer a SUBSCRIBE.
    pub(crate) owed: Vec<Owed>,
    /// Topics cleared at the end.
    pub(crate) cleared: BTreeSet<String>,
    /// When the broker crashed.
    crashes: Vec<u64>,
    upgrade: bool,
    one_copy: bool,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            clock: 0,
            messages: Vec::new(),
            subjects: (0..=plan.clients).map(|_| Subject::default()).collect(),
            retaining: BTreeMap::new(),
            shares: BTreeMap::new(),
            members_ever: BTreeMap::new(),
            left: BTreeSet::new(),
            wills_seen: BTreeMap::new(),
            delivered: 0,
            owed: Vec::new(),
            cleared: BTreeSet::new(),
            crashes: Vec::new(),
            upgrade: plan.core.upgrade_outgoing_qos,
            one_copy: !plan.core.allow_duplicate_messages,
        }
    }

    pub(crate) const fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(crate) fn qos_for(&self, message: &Published, sub: &Sub) -> QoS {
        effective(message.qos, sub.options.qos, self.upgrade)
    }

    /// The broker crashes: what nobody was promised may be gone.
    pub(crate) fn crashed(&mut self) {
        let now = self.tick();
        self.crashes.push(now);
        // The answers to a SUBSCRIBE are not written down before they are sent.
        self.owed.clear();
        for one in self.retaining.values_mut().flatten() {
            one.settled &= self.messages[one.message as usize].qos != QoS::AtMostOnce;
        }
    }

    fn crashes_since(&self, at: u64) -> usize {
        self.crashes.len() - self.crashes.partition_point(|&crash| crash <= at)
    }

    /// The client's session ends, or may: nothing is owed to it any more.
    pub(crate) fn end_session(&mut self, client: usize) {
        let now = self.tick();
        let subject = &mut self.subjects[client];
        subject.ending = true;
        subject.ended_at = now;
        for sub in &mut subject.subs {
            sub.sure_until = sub.sure_until.min(now);
        }
    }

    /// The client has a new session.
    pub(crate) fn new_session(&mut self, client: usize) {
        self.end_session(client);
        let subject = &mut self.subjects[client];
        subject.subs.clear();
        subject.seen = Seen::default();
        subject.epoch += 1;
        subject.ending = false;
    }

    /// A message arrives at a client.
    pub(crate) fn delivered(&mut self, client: usize, delivery: &Delivery<'_>) {
        self.delivered += 1;
        let Some(id) = id_of(delivery.payload) else {
            let cleared = self.cleared.contains(delivery.topic)
                || self.retaining.get(delivery.topic).is_some_and(|all| {
                    all.iter().any(|one| self.messages[one.message as usize].len == 0)
                });
            assert!(cleared, "an empty message on {} nobody sent", delivery.topic);
            return;
        };
        let message = self.messages[id as usize].clone();
        assert_eq!(delivery.topic, message.topic, "topic of message {id}");
        assert!(delivery.payload == payload(id, message.len), "payload of message {id}");
        if delivery.v5 {
            let wanted = message.property.then_some(id);
            assert_eq!(delivery.user, wanted, "user property of message {id}");
            let fits = match (delivery.expiry_s, message.expiry_s) {
                (Some(left), Some(all)) => left <= all,
                (left, all) => left.is_none() && all.is_none(),
            };
            assert!(fits, "expiry of message {id}: {:?}", delivery.expiry_s);
        }
        self.check_wanted(client, &message, delivery);
        if delivery.retain {
            self.subjects[client].seen.retained.insert(id);
        }
        if !delivery.fresh {
            let known = self.subjects[client].seen.copies.contains_key(&id);
            assert!(known, "message {id} repeated to client {client} that never had it");
            return;
        }
        if client == 0 && message.will {
            let now = self.clock;
            let before = self.wills_seen.insert(id, now);
            let repeats =
                delivery.qos != QoS::ExactlyOnce && self.crashes_since(message.sent_at) > 0;
            assert!(before.is_none() || repeats, "will {id} came twice");
        }
        let seen = &mut self.subjects[client].seen;
        *seen.copies.entry(id).or_default() += 1;
        *seen.exact.entry(id).or_default() += usize::from(delivery.qos == QoS::ExactlyOnce);
        self.check_copies(client, &message, delivery.qos);
        self.check_retain(client, &message, delivery);
        self.check_order(client, &message, delivery);
        self.check_groups(client, &message, delivery.qos);
    }

    /// Subscriptions the message may have come through.
    pub(crate) fn possible(&self, client: usize, message: &Published) -> Vec<&Sub> {
        let subs = self.subjects[client].subs.iter();
        subs.filter(|sub| sub.matches(&message.topic) && sub.maybe_until >= message.sent_at)
            .collect()
    }

    fn check_wanted(&self, client: usize, message: &Published, delivery: &Delivery<'_>) {
        let id = message.id;
        let subs = self.possible(client, message);
        assert!(!subs.is_empty(), "client {client} gets {id} on {} unasked", message.topic);
        let qos = subs.iter().any(|sub| self.qos_for(message, sub) == delivery.qos);
        assert!(qos, "client {client} gets {id} with {:?}: {subs:?}", delivery.qos);
        let local = message.publisher == client && !message.will;
        let allowed = subs.iter().any(|sub| !sub.options.no_local) || message.retain;
        assert!(!local || allowed, "client {client} gets its own {id}: {subs:?}");
        assert!(!delivery.retain || message.retain, "{id} has RETAIN of its own");
        for wanted in &delivery.ids {
            let known = subs.iter().any(|sub| sub.id == Some(*wanted));
            assert!(known, "{id} with subscription id {wanted}: {subs:?}");
        }
        let all_named = subs.iter().all(|sub| sub.id.is_some());
        assert!(
            !all_named || !delivery.v5 || !delivery.ids.is_empty(),
            "{id} without a subscription id: {subs:?}"
        );
    }

    /// No more copies than subscriptions: at QoS 2 nothing comes twice.
    fn check_copies(&self, client: usize, message: &Published, qos: QoS) {
        let subs = self.possible(client, message);
        // Crashes repeat what has another QoS, which is left out then.
        let strict = qos == QoS::ExactlyOnce && self.crashes_since(message.sent_at) > 0;
        let (mut filters, mut groups) = (BTreeSet::new(), 0);
        for sub in &subs {
            match sub.parts().1 {
                Some(_) => groups = 1,
                None if strict && self.qos_for(message, sub) != qos => {}
                None => drop(filters.insert(&sub.filter)),
            }
        }
        let mut live = filters.len();
        if self.one_copy {
            live = live.min(1);
        }
        if groups > 0 {
            return; // Judged for the group as a whole.
        }
        let times = if message.qos == QoS::AtLeastOnce { message.sends } else { 1 };
        let kept = if message.retain { subs.len() } else { 0 };
        let seen = &self.subjects[client].seen;
        let copies = if strict { seen.exact[&message.id] } else { seen.copies[&message.id] };
        let most = (live * times + kept) * self.times(message, qos);
        assert!(copies <= most, "{copies} copies of {} at client {client}: {subs:?}", message.id);
    }

    /// How many times a copy may come because of crashes: the broker may have forgotten that it was
    /// sent, or that its publisher sent it, but not at QoS 2.
    pub(crate) fn times(&self, message: &Published, qos: QoS) -> usize {
        let strict = qos == QoS::ExactlyOnce && message.qos != QoS::AtLeastOnce;
        if strict { 1 } else { 1 + 2 * self.crashes_since(message.sent_at) }
    }

    /// [MQTT-4.6.0-5], [MQTT-4.6.0-6]: in order for each publisher, topic and QoS. What was sent
    /// again may come late for those who were not there the first time.
    fn check_order(&mut self, client: usize, message: &Published, delivery: &Delivery<'_>) {
        let resent = message.qos == QoS::AtLeastOnce && message.sends > 1;
        let seen = &self.subjects[client].seen;
        // A connection that was given up may come in late, and take its will along.
        let resent = resent || message.will;
        // A retained message is read where all workers see it, and may be newer than live ones that
        // are on their way from another worker.
        let resent = resent || delivery.retain;
        if resent || seen.copies[&message.id] > 1 || message.topic.starts_with("g/") {
            return;
        }
        // One that crossed the SUBSCRIBE on its way from another worker is written down late.
        let crashed = self.crashes.last().is_some_and(|&crash| crash > message.sent_at);
        let subs = &self.subjects[client].subs;
        let sure = subs.iter().any(|sub| {
            sub.matches(&message.topic)
                && sub.surely_had(message)
                && self.qos_for(message, sub) == delivery.qos
        });
        if crashed && !sure {
            return;
        }
        let seen = &mut self.subjects[client].seen;
        let key = (message.publisher, message.topic.clone(), delivery.qos as u8);
        let newest = seen.newest.entry(key).or_insert(message.id);
        assert!(
            *newest <= message.id,
            "client {client} gets {} after {newest} on {}",
            message.id,
            message.topic
        );
        *newest = message.id;
    }

    /// Each message to one member, and to another only where the first one's session ended.
    fn check_groups(&mut self, client: usize, message: &Published, qos: QoS) {
        let subs = self.possible(client, message);
        let group = subs.iter().find_map(|sub| sub.parts().1).map(str::to_owned);
        let Some(group) = group else { return };
        let epoch = self.subjects[client].epoch;
        let shares = self.shares.entry((group.clone(), message.id)).or_default();
        let fleeting = !self.subjects[client].lasting;
        shares.push(Share { client, epoch, fleeting });
        let shares = shares.clone();
        let counts = |share: &&Share| {
            let subject = &self.subjects[share.client];
            let lost = share.fleeting && self.crashes_since(message.sent_at) > 0;
            qos == QoS::ExactlyOnce && !lost || subject.epoch == share.epoch && !subject.ending
        };
        let copies = shares.iter().filter(counts).count();
        let times = if message.qos == QoS::AtLeastOnce { message.sends } else { 1 };
        let times = times * self.times(message, qos);
        assert!(
            copies <= times,
            "{copies} members of {group} have message {}: {shares:?}",
            message.id
        );
    }

    /// Messages that had to arrive and did not: (message, client, why it had to).
    pub(crate) fn missing(&self, current: &[Option<u32>]) -> Vec<(u32, usize, String)> {
        let mut missing = Vec::new();
        for message in &self.messages {
            if message.acked_at.is_none() || message.expiry_s.is_some() || message.len == 0 {
                continue;
            }
            for (client, subject) in self.subjects.iter().enumerate() {
                if let Some(sub) = self.owing(client, message, current[client])
                    && !subject.seen.copies.contains_key(&message.id)
                {
                    missing.push((message.id, client, format!("{sub:?}")));
                }
            }
            missing.extend(self.missing_in_groups(message));
        }
        missing
    }

    /// The subscription because of which the client has to have the message.
    fn owing(&self, client: usize, message: &Published, token: Option<u32>) -> Option<&Sub> {
        let subject = &self.subjects[client];
        if subject.packet_limit.is_some_and(|limit| message.len + 300 > limit) {
            return None;
        }
        if message.qos == QoS::AtMostOnce && self.crashes_since(message.sent_at) > 0 {
            return None; // Nothing was promised, whatever QoS it would be sent with.
        }
        subject.subs.iter().find(|sub| {
            sub.parts().1.is_none()
                && sub.surely_had(message)
                && sub.matches(&message.topic)
                && (self.qos_for(message, sub) != QoS::AtMostOnce || token == Some(sub.token))
                && !(sub.options.no_local && message.publisher == client)
        })
    }

    fn missing_in_groups(&self, message: &Published) -> Vec<(u32, usize, String)> {
        let refused = |subject: &Subject| {
            let limit = subject.packet_limit;
            limit.is_some_and(|limit| message.len + 300 > limit)
        };
        if message.qos == QoS::AtMostOnce || self.subjects.iter().any(refused) {
            return Vec::new();
        }
        let mut groups: BTreeMap<&str, (usize, &Sub)> = BTreeMap::new();
        for (client, subject) in self.subjects.iter().enumerate() {
            for sub in &subject.subs {
                if let (_, Some(group)) = sub.parts()
                    && sub.surely_had(message)
                    && sub.matches(&message.topic)
                {
                    groups.insert(group, (client, sub));
                }
            }
        }
        let mut missing = Vec::new();
        for (group, (client, sub)) in groups {
            if self.dies_with_member(message, sub) {
                continue;
            }
            let key = (group.to_owned(), message.id);
            if !self.shares.contains_key(&key) {
                missing.push((message.id, client, format!("{sub:?}")));
            }
        }
        missing
    }

    /// [MQTT-4.8.2-5]: at QoS 2 a message may be gone with the session of the member it was sent
    /// to.
    fn dies_with_member(&self, message: &Published, sub: &Sub) -> bool {
        let mut subjects = self.subjects.iter();
        // A crash takes along what is with members whose sessions end with it.
        let dies = self.qos_for(message, sub) == QoS::ExactlyOnce
            || self.crashes_since(message.sent_at) > 0;
        dies && subjects.any(|subject| subject.ended_at >= message.sent_at)
    }

    /// Messages of groups nobody was sent though a member was there all the time: none may wait
    /// for an absent one.
    pub(crate) fn stuck_in_groups(&self, current: &[Option<u32>]) -> BTreeSet<u32> {
        let mut stuck = BTreeSet::new();
        for message in &self.messages {
            let kept = message.acked_at.is_some() && message.qos != QoS::AtMostOnce;
            if !kept || message.expiry_s.is_some() || !message.topic.starts_with("g/") {
                continue;
            }
            for (client, subject) in self.subjects.iter().enumerate() {
                let here = |sub: &&Sub| {
                    sub.parts().1.is_some()
                        && sub.matches(&message.topic)
                        && sub.surely_had(message)
                        && current[client] == Some(sub.token)
                };
                let Some(sub) = subject.subs.iter().find(here) else {
                    continue;
                };
                if self.dies_with_member(message, sub) {
                    continue;
                }
                let members = self.members_ever.get(&sub.filter);
                let sent = |other: &usize| self.left.contains(&(*other, message.id));
                if !members.is_some_and(|members| members.iter().any(sent)) {
                    stuck.insert(message.id);
                }
            }
        }
        stuck
    }

    /// Who has to have a message in its durable session before the publisher is told.
    pub(crate) fn durable_receivers(&self, message: &Published) -> Vec<usize> {
        if message.expiry_s.is_some() || message.len == 0 {
            return Vec::new();
        }
        let owed = |client: &usize| {
            let subject = &self.subjects[*client];
            subject.lasting
                && !subject.ending
                && self
                    .owing(*client, message, None)
                    .is_some_and(|sub| self.qos_for(message, sub) != QoS::AtMostOnce)
        };
        (0..self.subjects.len()).filter(owed).collect()
    }

    /// Whether the ledger holds what the acknowledgement of `message` says.
    pub(crate) fn check_durable(&self, message: &Published, ledger: &Ledger, names: &[String]) {
        for client in self.durable_receivers(message) {
            let key = (names[client].clone(), message.id);
            assert!(
                ledger.enqueued.contains(&key),
                "message {} acknowledged before it was durable for client {client}",
                message.id
            );
        }
        if message.retain && message.len > 0 {
            let kept = ledger.retained_ever.contains(&message.id);
            assert!(kept, "message {} acknowledged before it was retained", message.id);
        }
    }
}
