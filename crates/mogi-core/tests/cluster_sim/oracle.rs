//! What has to be true, decided from what clients sent and saw, without a look into the core.

use crate::message::Published;
use mogi_codec::QoS;
use mogi_codec::topic::{Shared, matches};
use std::collections::{BTreeMap, BTreeSet};

/// Later than anything.
pub(crate) const OPEN: u64 = u64::MAX;

/// One SUBSCRIBE of one filter.
#[derive(Clone, Debug)]
pub(crate) struct Sub {
    pub(crate) filter: String,
    pub(crate) qos: QoS,
    pub(crate) asked_at: u64,
    pub(crate) acked_at: Option<u64>,
    /// Until when it must match.
    pub(crate) sure_until: u64,
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
}

/// A client as the oracle sees it, in its present session.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    pub(crate) subs: Vec<Sub>,
    /// Filters that may be subscribed to.
    pub(crate) ever: BTreeSet<String>,
    /// Message → copies the application got.
    pub(crate) got: BTreeMap<u32, usize>,
    /// Message → copies at QoS 2.
    exact: BTreeMap<u32, usize>,
    /// (publisher's connection, topic, both QoS) → newest message.
    newest: BTreeMap<(u32, String, u8, u8), u32>,
}

/// Everything that was sent and seen.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) clock: u64,
    pub(crate) messages: Vec<Published>,
    pub(crate) subjects: Vec<Subject>,
    /// Topic → messages with RETAIN in the order they were sent, repeats too, and whether they
    /// surely arrived.
    pub(crate) retaining: BTreeMap<String, Vec<(u32, bool)>>,
    pub(crate) delivered: usize,
    /// Message to shared groups → copies at QoS 2, of all clients.
    pub(crate) shared: BTreeMap<u32, usize>,
}

impl Oracle {
    pub(crate) const fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The application gets a message it has not seen under that packet id.
    /// `kept`: it answers a SUBSCRIBE, so that it may come with each, and live as well.
    pub(crate) fn delivered(
        &mut self,
        client: usize,
        id: u32,
        topic: &str,
        qos: QoS,
        (dup, kept): (bool, bool),
    ) {
        self.delivered += 1;
        let message = &self.messages[id as usize];
        assert_eq!(message.topic, topic, "message {id} on another topic");
        let subject = &mut self.subjects[client];
        let known = subject.ever.iter().any(|filter| {
            let sub =
                Sub { filter: filter.clone(), qos, asked_at: 0, acked_at: None, sure_until: 0 };
            sub.matches(topic)
        });
        assert!(known, "client {client} gets {id} on {topic} without a subscription");
        let copies = subject.got.entry(id).or_default();
        *copies += usize::from(!kept || *copies == 0);
        // Retained ones come with each SUBSCRIBE, those of groups once through each.
        if qos == QoS::ExactlyOnce && !message.retain && !topic.starts_with("g/") {
            let exact = subject.exact.entry(id).or_default();
            *exact += 1;
            assert!(*exact == 1, "client {client} gets {id} {exact} times at QoS 2");
        }
        if qos == QoS::ExactlyOnce && topic.starts_with("g/") {
            let copies = self.shared.entry(id).or_default();
            *copies += 1;
            // One member of each group has it.
            let groups = if topic == "g/0" { 2 } else { 1 };
            assert!(*copies <= groups, "{id} comes {copies} times at QoS 2 to shared groups");
        }
        if dup
            || kept
            || *copies > 1
            || message.sends > 1
            || message.will
            || topic.starts_with("g/")
        {
            return;
        }
        // The order holds while the subscription stays as it is.
        let settled = subject.subs.iter().any(|sub| {
            let current = sub.acked_at.is_some_and(|at| at < message.sent_at);
            sub.matches(topic) && sub.sure_until == OPEN && current
        });
        if !settled {
            return;
        }
        // The order of each QoS is one by itself, of what was published and of what is delivered.
        let key = (message.token, topic.to_owned(), message.qos as u8, qos as u8);

        let newest = subject.newest.entry(key.clone()).or_insert(id);
        assert!(*newest <= id, "client {client} gets {id} behind {newest} of {key:?}");
        *newest = id;
    }

    /// A client connects. What its last connection would have got at QoS 0 may still come, late.
    pub(crate) fn begin_connection(&mut self, client: usize) {
        self.subjects[client].newest.retain(|(.., qos), _| *qos != QoS::AtMostOnce as u8);
    }

    /// A lasting session is over, or begins.
    pub(crate) fn end_session(&mut self, client: usize) {
        self.subjects[client] = Subject::default();
    }

    /// Messages a client was promised, and has not got.
    pub(crate) fn missing(&self, client: usize) -> Vec<(u32, String)> {
        let subject = &self.subjects[client];
        let owed = |message: &&Published| {
            message.qos != QoS::AtMostOnce
                && !message.empty
                && message.acked_at.is_some()
                && subject.subs.iter().any(|sub| {
                    sub.parts().1.is_none()
                        && sub.qos != QoS::AtMostOnce
                        && sub.matches(&message.topic)
                        && sub.sure_until == OPEN
                        && sub.acked_at.is_some_and(|at| at <= message.sent_at)
                })
        };
        let missing =
            self.messages.iter().filter(owed).filter(|it| !subject.got.contains_key(&it.id));
        missing.map(|message| (message.id, message.topic.clone())).collect()
    }

    /// States of a topic that were sent since the last that surely arrived, and not acknowledged.
    pub(crate) fn unsettled_choices(&self, topic: &str) -> Vec<Option<u32>> {
        let sent = self.retaining.get(topic).into_iter().flatten().rev();
        let messages = sent.take_while(|(_, settled)| !settled);
        let messages = messages.map(|(id, _)| &self.messages[*id as usize]);
        let open = messages.filter(|message| message.acked_at.is_none());
        open.map(|message| (!message.empty).then_some(message.id)).collect()
    }

    /// What a topic's retained message may be: the last that surely arrived, or one sent since; or
    /// one of an earlier connection of a client without a lasting session, which another node may
    /// read when the client is elsewhere already: nobody waits for that node.
    pub(crate) fn retained_choices(&self, topic: &str) -> Vec<Option<u32>> {
        let mut choices = Vec::new();
        let mut last: Option<&Published> = None;
        for (id, settled) in self.retaining.get(topic).into_iter().flatten().rev() {
            let message = &self.messages[*id as usize];
            let late = last.is_some_and(|last| message.brief && message.token != last.token);
            if last.is_none() || late && !settled {
                choices.push((!message.empty).then_some(*id));
            }
            if *settled {
                last = last.or(Some(message));
            }
        }
        if last.is_none() {
            choices.push(None);
        }
        choices
    }
}
