//! Retained messages: what a topic may hold, and what a new subscription is owed.

use crate::message::Published;
use crate::oracle::{Delivery, OPEN, Oracle, Sub};
use mogi_codec::{QoS, RetainHandling};

/// A message with RETAIN on its way to the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retaining {
    pub(crate) message: u32,
    pub(crate) token: u32,
    pub(crate) dup: bool,
    pub(crate) settled: bool,
}

/// A retained message that has to come with a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    client: usize,
    message: u32,
    /// Messages sent to its topic when the client subscribed: if another comes, that is the answer
    /// where it is fetched late.
    count: usize,
    asked_at: u64,
    filter: String,
}

impl Oracle {
    /// What a topic's retained message may be: the last that surely arrived, or one sent since.
    pub(crate) fn retained_choices(&self, topic: &str) -> Vec<Option<u32>> {
        let mut choices = Vec::new();
        let all = self.retaining.get(topic).map(Vec::as_slice).unwrap_or_default();
        for one in all.iter().rev() {
            let message = &self.messages[one.message as usize];
            choices.push((message.len > 0).then_some(message.id));
            if one.settled {
                return choices;
            }
        }
        choices.push(None);
        choices
    }

    /// The client subscribes: what it is to get if nothing comes between.
    pub(crate) fn owe_retained(&mut self, client: usize, sub: &Sub) {
        if sub.parts().1.is_some() || sub.options.retain_handling != RetainHandling::Send {
            return;
        }
        for (topic, all) in &self.retaining {
            let choices = self.retained_choices(topic);
            if let [Some(message)] = choices[..]
                && sub.matches(topic)
                && self.messages[message as usize].expiry_s.is_none()
            {
                self.owed.push(Owed {
                    client,
                    message,
                    count: all.len(),
                    asked_at: sub.asked_at,
                    filter: sub.filter.clone(),
                });
            }
        }
    }

    /// Retained messages that did not come with a subscription that is still there.
    pub(crate) fn missing_retained(&self, current: &[Option<u32>]) -> Vec<Owed> {
        let came = |owed: &&Owed| {
            let subject = &self.subjects[owed.client];
            let message = &self.messages[owed.message as usize];
            let sub = subject.subs.iter().find(|sub| {
                sub.asked_at == owed.asked_at
                    && sub.acked_at.is_some()
                    && sub.sure_until == OPEN
                    && sub.filter == owed.filter
                    && self.retaining[&message.topic].len() == owed.count
            });
            sub.is_none_or(|sub| {
                let qos = self.qos_for(message, sub);
                let there = current[owed.client] == Some(sub.token);
                let limit = subject.packet_limit.unwrap_or(usize::MAX);
                !there && (qos == QoS::AtMostOnce || !subject.lasting)
                    || message.len + 300 > limit
                    || subject.seen.retained.contains(&message.id)
            })
        };
        let missing = self.owed.iter().filter(|owed| !came(owed));
        missing.cloned().collect()
    }

    /// RETAIN is set on what comes with a subscription, and on live messages only where that was
    /// asked for ([MQTT-3.3.1-8], [MQTT-3.3.1-12], [MQTT-3.3.1-13]).
    pub(crate) fn check_retain(
        &mut self,
        client: usize,
        message: &Published,
        delivery: &Delivery<'_>,
    ) {
        let subs: Vec<Sub> = self.possible(client, message).into_iter().cloned().collect();
        // Copies of any QoS are counted together.
        let times = self.times(message, QoS::AtLeastOnce);
        let kept = &mut self.subjects[client].seen.kept;
        if delivery.retain {
            *kept.entry(message.id).or_default() += 1;
        }
        let copies = kept.get(&message.id).copied().unwrap_or_default();
        let as_published = |sub: &&Sub| sub.options.retain_as_published;
        if subs.iter().any(|sub| as_published(&sub)) {
            return;
        }
        let answers = |sub: &&Sub| {
            sub.parts().1.is_none() && sub.options.retain_handling != RetainHandling::DoNotSend
        };
        // Retained messages may be fetched late, after a SUBSCRIBE with other options.
        let all = self.subjects[client].subs.iter();
        let most = all.filter(|sub| sub.matches(&message.topic)).filter(answers).count();
        let most = most * times;
        assert!(
            copies <= most,
            "client {client} gets {} with RETAIN {copies} times: {subs:?}",
            message.id
        );
    }
}
