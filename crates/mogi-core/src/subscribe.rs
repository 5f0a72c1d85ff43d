//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).

use crate::authority::Access;
use crate::client::Client;
use crate::event::LogKind;
use crate::handshake::too_deep;
use crate::interest::Lasting;
use crate::link::Link;
use crate::pass::Answer;
use crate::receive::wants_reasons;
use crate::route::{Subscribers, Target};
use crate::shared::Member;
use crate::store::{SessionNo, StoreOp, StoredSubscription};
use crate::subscriptions::Subscription;
use crate::worker::Worker;
use mogi_codec::topic::{Shared, check_filter};
use mogi_codec::{
    DecodeError, PropertyBuf, PropertyId, QoS, Reason, RetainHandling, Suback, Subscribe,
    SubscribeFilter, SubscribeOptions, Unsuback, Unsubscribe,
};
use std::sync::Arc;

impl Worker {
    /// # Errors
    /// The packet asks for what the protocol forbids.
    pub(crate) fn subscribe(
        &mut self,
        key: u32,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), DecodeError> {
        self.log_packet(key, "Received SUBSCRIBE from");
        let id = subscribe.properties.int(PropertyId::SubscriptionIdentifier).unwrap_or(0);
        let mut codes = Vec::new();
        let mut why = None;
        for wanted in subscribe.filters() {
            let allowed = self.clients.get(key).is_none_or(|client| {
                client.may_filter(&self.turn, Access::Subscribe, wanted.filter)
            });
            self.log_filter(key, &wanted, allowed);
            if !allowed {
                why = why.or(Some("not allowed to subscribe to this filter"));
                codes.push(Reason::NotAuthorized as u8);
                continue;
            }
            match self.subscribe_one(key, wanted, id)? {
                Ok(qos) => codes.push(qos as u8),
                Err(refused) => {
                    why = why.or(Some(refused.what));
                    codes.push(refused.reason as u8);
                }
            }
        }
        self.send_suback(key, subscribe.packet_id, codes, why);
        // The retained messages, behind what waits already ([MQTT-3.3.1-9]).
        if let Some(client) = self.clients.get_mut(key) {
            client.pump(key, &mut self.turn);
        }
        Ok(())
    }

    /// One filter: the QoS granted, or why it is refused.
    fn subscribe_one(
        &mut self,
        key: u32,
        wanted: SubscribeFilter<'_>,
        id: u32,
    ) -> Result<Result<QoS, DecodeError>, DecodeError> {
        let shared = match check_filter(wanted.filter).and_then(|()| Shared::parse(wanted.filter)) {
            Ok(shared) => shared,
            Err(error) => return Ok(Err(error)),
        };
        if shared.is_some() && wanted.options.no_local {
            // [MQTT-3.8.3-4]
            return Err(DecodeError::protocol("no-local on a shared subscription"));
        }
        if too_deep(wanted.filter, self.turn.cfg.max_topic_levels) {
            self.turn.stats.levels_refused += 1;
            let what = "filter with more levels than max_topic_levels";
            return Ok(Err(DecodeError::new(Reason::TopicFilterInvalid, what)));
        }
        let limit = self.turn.cfg.max_subscriptions_per_client;
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(Ok(wanted.options.qos));
        };
        let options = match &client.link {
            Some(link) => options_for(link, wanted.options, shared.is_some()),
            None => wanted.options,
        };
        let old = client.session.subscriptions.get(wanted.filter);
        let known = old.is_some();
        if !known && limit != 0 && client.session.subscriptions.len() >= limit {
            self.turn.stats.subscriptions_refused += 1;
            let what = "more subscriptions than max_subscriptions_per_client";
            return Ok(Err(DecodeError::new(Reason::QuotaExceeded, what)));
        }
        let replay = old.is_some_and(|old| old.replay);
        let subscription = Subscription { options, id, replay };
        client.session.subscriptions.insert(wanted.filter, subscription);
        if !known {
            self.turn.stats.subscriptions += 1;
            self.turn.stats.shared_subscriptions += u64::from(shared.is_some());
        }
        if client.session.expiry.outlives_connection() {
            let session = client.session.number;
            self.turn.durable(|| StoreOp::SubscriptionSet {
                session,
                subscription: StoredSubscription {
                    filter: wanted.filter.into(),
                    options: options.encode(),
                    id,
                },
            });
        }
        self.install(key, wanted.filter, subscription);
        if shared.is_some() {
            return Ok(Ok(options.qos)); // Retained messages are for one's own subscriptions only.
        }
        let send = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => !known, // [MQTT-3.3.1-10]
            RetainHandling::DoNotSend => false,
        };
        if send && let Some(client) = self.clients.get_mut(key) {
            client.session.ask_retained(wanted.filter);
        }
        Ok(Ok(options.qos))
    }

    /// `filter` behind the session's mount point.
    fn mounted(&self, key: u32, filter: &str) -> String {
        let mount = self.clients.get(key).and_then(|client| client.session.mount.as_deref());
        match Shared::parse(filter) {
            Ok(Some(shared)) => joined(mount, shared.filter),
            _ => joined(mount, filter),
        }
    }

    /// Makes a subscription known to routing: in the interest table or in this worker's own, or in
    /// its shared group. From here on messages come.
    pub(crate) fn install(&mut self, key: u32, filter: &str, subscription: Subscription) {
        let filter_text = filter;
        let filter = self.mounted(key, filter);
        if let Ok(Some(shared)) = Shared::parse(filter_text) {
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            let target = Target::new(key, subscription.options, subscription.id);
            let member = Member {
                worker: self.index,
                target,
                generation: client.generation,
                online: client.link.is_some(),
                durable: client.session.expiry.outlives_connection(),
                session: client.session.number_if_lasting(),
                waiting: client.session.queue.watched(),
                far: self.node.cluster.as_ref().map(|_| Arc::clone(&client.id)),
            };
            self.node.interest.join(shared.group, &filter, member);
            return;
        }
        self.place(key, &filter, subscription);
    }

    /// Puts a subscription into the interest table if its session lasts and others are to know it,
    /// else into this worker's own, and nowhere else.
    fn place(&mut self, key: u32, filter: &str, subscription: Subscription) {
        let target = Target::new(key, subscription.options, subscription.id);
        let client = self.clients.get(key).filter(|_| !self.node.is_alone());
        let session = client.map_or(SessionNo::NONE, |it| it.session.number_if_lasting());
        if session != SessionNo::NONE {
            self.displace(key, filter);
            let lasting = Lasting { worker: self.index, session, target };
            self.tell_interest(key, filter, Some(lasting));
            return self.routing.changed();
        }
        match self.routing.subs.get_mut(filter) {
            Some(subscribers) => subscribers.set(target),
            None => {
                self.routing.subs.entry_or_insert_with(filter, || Subscribers::One(target));
            }
        }
        self.routing.changed();
        self.tell_interest(key, filter, None);
    }

    /// Takes a subscription out of this worker's own table, if it is there.
    fn displace(&mut self, key: u32, filter: &str) {
        if let Some(subscribers) = self.routing.subs.get_mut(filter)
            && subscribers.remove(key)
        {
            self.routing.subs.remove(filter);
        }
    }

    /// Tells the interest table what this worker, and the client at hand, want of `filter` now.
    fn tell_interest(&mut self, key: u32, filter: &str, lasting: Option<Lasting>) {
        if self.node.is_alone() {
            return; // There is nobody to ask.
        }
        let wants = self.routing.subs.get(filter).is_some();
        self.node.interest.set_peer(self.index, filter, wants, key, lasting);
    }

    fn send_suback(&mut self, key: u32, packet_id: u16, mut codes: Vec<u8>, why: Option<&str>) {
        self.log_packet(key, "Sending SUBACK to");
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(link) = &client.link else { return };
        let mut properties = PropertyBuf::new();
        if let Some(why) = why
            && wants_reasons(link)
            && why.len() + codes.len() + 16 <= link.max_packet_size
        {
            properties.str(PropertyId::ReasonString, why); // [MQTT-3.9.2-1]
        }
        if !link.version.is_v5() {
            for code in codes.iter_mut().filter(|code| **code > 2) {
                *code = 0x80; // [MQTT-3.9.3-2] of 3.1.1
            }
        }
        // Whatever is published anywhere after the SUBACK is to reach the client.
        self.turn.answer_when_told(&self.node);
        let properties = properties.as_properties();
        client.ack(key, &mut self.turn, |version, out| {
            Suback { packet_id, properties, codes: &codes }.encode(version, out);
        });
    }

    pub(crate) fn unsubscribe(&mut self, key: u32, unsubscribe: &Unsubscribe<'_>) {
        self.log_packet(key, "Received UNSUBSCRIBE from");
        let mut codes = Vec::new();
        for filter in unsubscribe.filters() {
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            let id = &client.id;
            self.turn.log(LogKind::Debug, || format!("\t{filter}"));
            self.turn.log(LogKind::Unsubscribe, || format!("{id} {filter}"));
            if !client.may_filter(&self.turn, Access::Unsubscribe, filter) {
                codes.push(Reason::NotAuthorized as u8);
                continue;
            }
            // Byte for byte the filter that was subscribed to ([MQTT-3.10.4-1]).
            if !client.session.subscriptions.remove(filter) {
                codes.push(Reason::NoSubscriptionExisted as u8);
                continue;
            }
            codes.push(Reason::Success as u8);
            if client.session.expiry.outlives_connection() {
                let session = client.session.number;
                self.turn.durable(|| StoreOp::SubscriptionEnd { session, filter: filter.into() });
            }
            self.uninstall(key, filter);
        }
        self.log_packet(key, "Sending UNSUBACK to");
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        // Nothing that is published anywhere after the UNSUBACK is to be written down for it.
        self.turn.answer_when_told(&self.node);
        let packet_id = unsubscribe.packet_id;
        client.ack(key, &mut self.turn, |version, out| {
            let properties = mogi_codec::Properties::default();
            Unsuback { packet_id, properties, codes: &codes }.encode(version, out);
        });
    }

    /// Takes a subscription out of routing; it is no longer among the session's.
    fn uninstall(&mut self, key: u32, filter: &str) {
        let mounted = self.mounted(key, filter);
        self.turn.stats.subscriptions -= 1;
        if let Ok(Some(shared)) = Shared::parse(filter) {
            self.turn.stats.shared_subscriptions -= 1;
            self.node.interest.leave(shared.group, &mounted, self.index, key);
            return;
        }
        self.displace(key, &mounted);
        self.tell_interest(key, &mounted, None);
        self.routing.changed();
    }

    /// Ends the subscriptions a client may not have any more (CVE-2021-34434).
    pub(crate) fn check_subscriptions(&mut self, key: u32) {
        let Some(client) = self.clients.get(key).filter(|_| !self.turn.rights.is_open()) else {
            return;
        };
        let filters = client.session.subscriptions.iter().map(|(filter, _)| filter);
        // Where somebody would have to be asked, what was granted once stays.
        let denied = |filter: &&str| {
            client.judge_filter(&self.turn, Access::Subscribe, filter) == Answer::Deny
        };
        let denied: Vec<Arc<str>> = filters.filter(denied).map(Arc::from).collect();
        for filter in denied {
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            client.session.subscriptions.remove(&filter);
            let id = &client.id;
            self.turn.log(LogKind::Notice, || {
                format!("Subscription of {id} to {filter} ended: not authorised.")
            });
            if client.session.expiry.outlives_connection() {
                let session = client.session.number;
                let filter = Arc::clone(&filter);
                self.turn.record(|| StoreOp::SubscriptionEnd { session, filter });
            }
            self.uninstall(key, &filter);
        }
    }

    /// Takes all of a client's subscriptions out of routing.
    pub(crate) fn remove_subscriptions(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let subscriptions = std::mem::take(&mut client.session.subscriptions);
        for (filter, _) in subscriptions.iter() {
            self.uninstall(key, filter);
        }
    }

    /// Tells shared groups whether a client is there.
    pub(crate) fn set_members_online(&mut self, key: u32, online: bool) {
        let Some(Client { session, generation, id, .. }) = self.clients.get_mut(key) else {
            return;
        };
        let durable = session.expiry.outlives_connection();
        for (filter, subscription) in session.subscriptions.iter() {
            let Ok(Some(shared)) = Shared::parse(filter) else {
                continue;
            };
            let member = Member {
                worker: self.index,
                target: Target::new(key, subscription.options, subscription.id),
                generation: *generation,
                online,
                durable,
                session: session.number_if_lasting(),
                waiting: session.queue.watched(),
                far: self.node.cluster.as_ref().map(|_| Arc::clone(id)),
            };
            let filter = joined(session.mount.as_deref(), shared.filter);
            self.node.interest.join(shared.group, &filter, member);
        }
    }

    /// Places the subscriptions of a resumed client anew: what is durable may differ.
    pub(crate) fn refresh_interest(&mut self, key: u32) {
        if !self.turn.cfg.durable || self.node.is_alone() {
            return;
        }
        let Some(client) = self.clients.get(key) else {
            return;
        };
        for (filter, subscription) in client.session.subscriptions.to_vec() {
            if matches!(Shared::parse(&filter), Ok(None)) {
                self.place(key, &self.mounted(key, &filter), subscription);
            }
        }
    }

    fn log_packet(&mut self, key: u32, what: &str) {
        if let Some(client) = self.clients.get(key) {
            self.turn.log(LogKind::Debug, || format!("{what} {}", client.id));
        }
    }

    fn log_filter(&mut self, key: u32, wanted: &SubscribeFilter<'_>, allowed: bool) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let (filter, qos) = (wanted.filter, wanted.options.qos as u8);
        if !allowed {
            self.turn.log(LogKind::Debug, || format!("\t{filter} (denied)"));
            return;
        }
        self.turn.log(LogKind::Debug, || format!("\t{filter} (QoS {qos})"));
        self.turn.log(LogKind::Subscribe, || format!("{} {qos} {filter}", client.id));
    }
}

/// A filter in the broker, behind a mount point.
fn joined(mount: Option<&str>, filter: &str) -> String {
    format!("{}{filter}", mount.unwrap_or_default())
}

/// What a client is granted of what it asks for.
fn options_for(link: &Link, wanted: SubscribeOptions, shared: bool) -> SubscribeOptions {
    let mut options = wanted;
    options.qos = options.qos.min(link.max_qos); // [MQTT-3.2.2-10]
    if link.bridge {
        // Mosquitto's try_private: a 3.x bridge cannot ask for these and relies on them, so that
        // messages do not run in circles and retained ones stay retained.
        options.no_local = !shared;
        options.retain_as_published = true;
    }
    options
}
