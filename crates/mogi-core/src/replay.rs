//! Retained messages that answer a SUBSCRIBE: fetched when the connection takes them.
//!
//! ```text
//!  SUBSCRIBE ──► replays: filters that were asked for ──► backlog: messages of the first of them
//!                each at most once                        in the queue, sent as there is room
//! ```
//! A packet of 100,000 filters to 100,000 retained messages is asked for in a millisecond. So
//! nothing is fetched before what was fetched last has left, and a client that does not read costs
//! the broker the messages of one filter.
//!
//! While retained messages are still read from the store, nothing is fetched at all: who asks for
//! them gets all of them when that is done, and live messages meanwhile.

use crate::client::{Client, output};
use crate::inflight::Delivery;
use crate::route::Ids;
use crate::session::Session;
use crate::store::EntryNo;
use crate::turn::Turn;
use crate::worker::Worker;

/// Filters whose retained messages are looked up in a row before other clients have their turn: a
/// search may go through the whole tree and find nothing.
pub(crate) const SEARCHES: usize = 8;

/// Filters that are no longer asked for, and are left alone.
const STALE: usize = 64;

impl Session {
    /// Asks for the retained messages of one of its subscriptions, unless that is done already and
    /// they are yet to be fetched.
    pub(crate) fn ask_retained(&mut self, filter: &str) {
        match self.subscriptions.set_replay(filter, true) {
            None => return,
            Some(true) => {}
            Some(false) => self.replays.get_or_insert_default().push_back(filter.into()),
        }
        let asked = self.replays.as_ref().map_or(0, |replays| replays.len());
        if asked > 2 * self.subscriptions.len() + STALE {
            self.forget_stale_replays();
        }
    }

    /// Subscriptions that come and go leave filters behind.
    fn forget_stale_replays(&mut self) {
        let Self { subscriptions, replays: Some(replays), .. } = self else { return };
        replays.retain(|filter| subscriptions.set_replay(filter, false) == Some(true));
        for filter in replays.iter() {
            subscriptions.set_replay(filter, true);
        }
        if replays.is_empty() {
            self.replays = None;
        }
    }

    /// Puts the retained messages of the next filter in the queue.
    fn fetch_retained(&mut self, turn: &Turn) {
        let Some(replays) = &mut self.replays else { return };
        let filter = replays.pop_front();
        if replays.is_empty() {
            self.replays = None;
        }
        let Some(filter) = filter else { return };
        if self.subscriptions.set_replay(&filter, false) != Some(true) {
            return;
        }
        let Some(subscription) = self.subscriptions.get(&filter) else {
            return;
        };
        let (granted, id) = (subscription.options.qos, subscription.id);
        let (now_ms, upgrade) = (turn.now_ms, turn.cfg.upgrade_outgoing_qos);
        let mounted = self.mount.as_deref().map(|mount| format!("{mount}{filter}"));
        let queue = &mut self.queue;
        let filter = mounted.as_deref().unwrap_or(&filter);
        let checks = turn.cfg.check_retain_source && !turn.rights.is_open();
        turn.node.retained.matching_from(filter, |message, source| {
            let source = source.filter(|_| checks);
            if message.expired(now_ms)
                || source.is_some_and(|source| !source.may_write(turn, message.topic()))
            {
                return;
            }
            let qos = if upgrade { granted } else { granted.min(message.qos()) };
            queue.push_backlog(Delivery {
                message: Some(message.clone()),
                qos,
                retain: true, // [MQTT-3.3.1-8] of 3.1.1
                ids: Ids::from_id(id),
                group: None,
                weight: 0,
                entry: EntryNo::NONE,
            });
        });
    }
}

impl Client {
    /// Sees to it that there are retained messages in the queue while some are asked for.
    /// `searches` counts down; when they are used up, the client comes again next turn.
    #[inline]
    pub(crate) fn refill(&mut self, key: u32, turn: &mut Turn, searches: &mut usize) {
        while self.session.replays.is_some()
            && !turn.node.retained.is_loading()
            && !self.session.queue.has_backlog()
            && let Some(link) = &mut self.link
            && link.open
            && !link.blocked
        {
            if *searches == 0 {
                output(link, key, turn);
                return;
            }
            *searches -= 1;
            self.session.fetch_retained(turn);
        }
    }
}

impl Worker {
    /// All retained messages of the store are there: clients that asked for some get them.
    pub fn retained_loaded(&mut self, now_ms: u64) {
        self.turn.now_ms = now_ms;
        for (key, client) in &mut self.clients.slab {
            if client.session.replays.is_some()
                && let Some(link) = &mut client.link
            {
                output(link, key as u32, &mut self.turn);
            }
        }
    }
}
