//! What a broker remembers of a client: subscriptions, messages on their way, the will.

use crate::idset::IdSet;
use crate::inflight::{Delivery, Inflight};
use crate::map::Map;
use mogi_codec::{QoS, SubscribeOptions};
use std::collections::VecDeque;
use std::sync::Arc;

/// How long a session outlives its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Not at all.
    AtDisconnect,
    /// That many seconds, at least one.
    After(u32),
    /// For ever: 0xFFFFFFFF, or Clean Session 0 of 3.x.
    Never,
}

impl Expiry {
    /// From the property's value (section 3.1.2.11.2).
    pub(crate) const fn from_s(seconds: u32) -> Self {
        match seconds {
            0 => Self::AtDisconnect,
            u32::MAX => Self::Never,
            seconds => Self::After(seconds),
        }
    }

    /// With `persistent_client_expiration` as the upper limit.
    pub(crate) fn capped(self, limit_s: Option<u32>) -> Self {
        match (self, limit_s) {
            (Self::AtDisconnect, _) | (_, None) => self,
            (Self::Never, Some(limit)) => Self::from_s(limit),
            (Self::After(seconds), Some(limit)) => Self::from_s(seconds.min(limit)),
        }
    }

    pub(crate) fn outlives_connection(self) -> bool {
        self != Self::AtDisconnect
    }
}

/// A subscription as its client asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) options: SubscribeOptions,
    /// 0: none.
    pub(crate) id: u32,
}

/// A will message.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// As they are forwarded.
    pub(crate) properties: Vec<u8>,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) delay_s: u32,
}

/// The state of a client, connected or not ([MQTT-4.1.0-1]).
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) expiry: Expiry,
    pub(crate) username: Option<Arc<str>>,
    pub(crate) subscriptions: Map<Arc<str>, Subscription>,
    pub(crate) inflight: Inflight,
    /// QoS 2 packet ids received and not yet released ([MQTT-4.3.3-10]).
    pub(crate) received: IdSet,
    pub(crate) queue: Queue,
    pub(crate) will: Option<Box<Will>>,
    /// When the will is due, once the connection is gone.
    pub(crate) will_at_ms: Option<u64>,
    /// When the session ends, once the connection is gone.
    pub(crate) ends_at_ms: Option<u64>,
    /// Whether "messages are being dropped" was logged already.
    pub(crate) drop_logged: bool,
}

impl Session {
    pub(crate) fn new(
        expiry: Expiry,
        username: Option<Arc<str>>,
        seed: foldhash::fast::FixedState,
    ) -> Self {
        Self {
            expiry,
            username,
            subscriptions: Map::with_hasher(seed),
            inflight: Inflight::default(),
            received: IdSet::default(),
            queue: Queue::default(),
            will: None,
            will_at_ms: None,
            ends_at_ms: None,
            drop_logged: false,
        }
    }
}

/// Messages that wait for their client, or for room in flight.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    deliveries: VecDeque<Delivery>,
    bytes: u64,
    /// Retained messages of a new subscription among them. They are exempt from the queue's
    /// limits, being kept elsewhere anyway, and live messages line up behind them.
    backlog: usize,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Messages that count against the limits.
    pub(crate) fn counted(&self) -> usize {
        self.deliveries.len() - self.backlog
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn has_backlog(&self) -> bool {
        self.backlog > 0
    }

    pub(crate) fn front(&self) -> Option<&Delivery> {
        self.deliveries.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter()
    }

    pub(crate) fn push(&mut self, delivery: Delivery) {
        self.bytes += u64::from(delivery.weight);
        self.deliveries.push_back(delivery);
    }

    /// Adds a retained message that answers a SUBSCRIBE.
    pub(crate) fn push_backlog(&mut self, mut delivery: Delivery) {
        delivery.weight = 0;
        self.backlog += 1;
        self.deliveries.push_back(delivery);
    }

    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.forget(&delivery);
        if self.deliveries.is_empty() && self.deliveries.capacity() > 1024 {
            self.deliveries = VecDeque::new();
        }
        Some(delivery)
    }

    /// Takes out the deliveries for which `take` says so.
    pub(crate) fn drain_where(&mut self, mut take: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        let mut taken = Vec::new();
        for delivery in std::mem::take(&mut self.deliveries) {
            if take(&delivery) {
                self.forget(&delivery);
                taken.push(delivery);
            } else {
                self.deliveries.push_back(delivery);
            }
        }
        taken
    }

    /// The client is gone: the backlog becomes part of the queue as far as `limit` allows (0: any
    /// number), QoS 0 only if `qos0` waits. How many messages were dropped for the limit.
    pub(crate) fn settle(&mut self, limit: usize, qos0: bool) -> u64 {
        let mut dropped = 0;
        self.bytes = 0;
        self.backlog = 0;
        for mut delivery in std::mem::take(&mut self.deliveries) {
            if delivery.qos == QoS::AtMostOnce && !qos0 {
                continue;
            }
            if limit != 0 && self.deliveries.len() >= limit && delivery.weight == 0 {
                dropped += 1;
                continue;
            }
            if delivery.weight == 0 {
                let weight = delivery
                    .message
                    .as_ref()
                    .map_or(1, |message| message.weight());
                delivery.weight = weight as u32;
            }
            self.push(delivery);
        }
        dropped
    }

    fn forget(&mut self, delivery: &Delivery) {
        // A weight of 0 marks the backlog: every message has a topic.
        if delivery.weight == 0 {
            self.backlog -= 1;
        }
        self.bytes -= u64::from(delivery.weight);
    }
}
