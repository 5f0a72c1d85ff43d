//! A member of a shared group goes away: its messages go to another (section 4.8.2).
//!
//! What was sent with QoS 2 stays with the member, whatever happens to it ([MQTT-4.8.2-5]); what
//! was sent with QoS 1 and not acknowledged goes on when the session ends; what was never sent goes
//! on as soon as the member is gone and another is there.

use crate::client::Way;
use crate::inflight::{Delivery, Stage};
use crate::message::MessageView;
use crate::shared::{Member, Through};
use crate::turn::SharedCopy;
use crate::worker::Worker;
use mogi_codec::QoS;

impl Worker {
    /// The member is away, its session stays: what it was not sent goes to members that are there.
    pub(crate) fn hand_over_waiting(&mut self, key: u32) {
        let (worker, node) = (self.index, &self.node);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(queue) = client.session.queue.made() else {
            return;
        };
        let moved = queue.drain_groups(|group| {
            let now = node.interest.group(group.name(), group.filter());
            now.is_some_and(|group| group.others_online(worker, key))
        });
        self.hand_over(key, moved);
    }

    /// The session ends: all it may give away goes to others.
    pub(crate) fn hand_over_all(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let mut moved: Vec<Delivery> = Vec::new();
        if let Some(inflight) = client.session.inflight.made() {
            moved.extend(inflight.drain_where(|flight, delivery| {
                delivery.group.is_some()
                    && flight.stage == Stage::Published
                    && flight.qos == QoS::AtLeastOnce
            }));
        }
        if let Some(queue) = client.session.queue.made() {
            moved.extend(queue.drain_groups(|_| true));
        }
        self.hand_over(key, moved);
    }

    fn hand_over(&mut self, key: u32, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            let (session, entry) = (client.session.number, delivery.entry);
            let (Some(message), Some(group)) = (delivery.message, delivery.group) else {
                client.forget_entry(&mut self.turn, entry);
                continue;
            };
            if message.expired(self.turn.now_ms) {
                client.forget_entry(&mut self.turn, entry);
                self.turn.stats.dropped_expired += 1;
                continue;
            }
            client.session.entry_ended(entry);
            let mut shared = SharedCopy::of(message.clone());
            let group = (group.name(), group.filter());
            self.hand_on(session, entry, group, &message.view(), &mut shared);
        }
    }

    /// Gives a message to a member of the group as it is now; to nobody if it has none.
    pub(crate) fn give_to_group(
        &mut self,
        name: &str,
        filter: &str,
        view: &MessageView<'_>,
        shared: &mut SharedCopy,
    ) {
        let group = self.node.interest.group(name, filter);
        let Some((group, member)) = self.pick(group.as_ref(), view) else {
            return;
        };
        if member.worker != self.index {
            self.outbox.directed(member, group, &mut self.turn, view, shared);
            return;
        }
        let key = member.target.client;
        if let Some(client) = self.clients.current(key, member.generation) {
            let upgrade = self.turn.cfg.upgrade_outgoing_qos;
            let way = Way::live(&member.target, view, upgrade, Some(group));
            client.deliver(key, &mut self.turn, view, shared, way);
        }
    }

    /// The member whose turn it is.
    pub(crate) fn pick<'a>(
        &mut self,
        group: Option<&'a Through>,
        view: &MessageView<'_>,
    ) -> Option<(&'a Through, &'a Member)> {
        let group = group?;
        self.share_turn = self.share_turn.wrapping_add(1);
        let member = group.pick(self.share_turn, view.qos, &self.turn.cfg)?;
        Some((group, member))
    }
}
