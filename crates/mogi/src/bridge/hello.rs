//! The packets with which a bridge introduces itself to either broker.

use super::plan::{BridgePlan, Notify};
use mogi_codec::{
    Connect, Properties, PropertyBuf, PropertyId, Publish, QoS, RetainHandling, Subscribe,
    SubscribeFilter, SubscribeOptions, Unsubscribe, Version, Will,
};

/// What the state is called in notifications.
pub(crate) const UP: &[u8] = b"1";
pub(crate) const DOWN: &[u8] = b"0";

/// CONNECT for the other broker. `private`: says that this is a bridge (`try_private`).
pub(crate) fn remote_connect(plan: &BridgePlan, private: bool) -> Vec<u8> {
    let remote = &plan.remote;
    let mut properties = PropertyBuf::new();
    if remote.version.is_v5() {
        if remote.topic_alias_maximum > 0 {
            let maximum = u32::from(remote.topic_alias_maximum);
            properties.int(PropertyId::TopicAliasMaximum, maximum);
        }
        if remote.receive_maximum < u16::MAX {
            properties.int(PropertyId::ReceiveMaximum, u32::from(remote.receive_maximum));
        }
        if remote.session_expiry_s > 0 {
            properties.int(PropertyId::SessionExpiryInterval, remote.session_expiry_s);
        }
        if remote.max_packet_size_in > 0 {
            properties.int(PropertyId::MaximumPacketSize, remote.max_packet_size_in);
        }
    }
    let will = notify_remote(plan).map(|notify| Will {
        qos: QoS::AtLeastOnce,
        retain: remote.outgoing_retain,
        properties: Properties::default(),
        topic: &notify.topic,
        payload: DOWN,
    });
    let mut out = Vec::new();
    Connect {
        version: remote.version,
        // 5.0 says the same with options of its subscriptions.
        bridge: private && !remote.version.is_v5(),
        clean_start: remote.clean,
        keep_alive_s: remote.keep_alive_s,
        properties: properties.as_properties(),
        client_id: &remote.client_id,
        will,
        username: remote.username.as_deref(),
        password: remote.password.as_deref().map(str::as_bytes),
    }
    .encode(&mut out);
    out
}

/// CONNECT for this broker.
pub(crate) fn local_connect(plan: &BridgePlan) -> Vec<u8> {
    let local = &plan.local;
    let mut properties = PropertyBuf::new();
    if !local.clean {
        properties.int(PropertyId::SessionExpiryInterval, u32::MAX);
    }
    properties.int(PropertyId::ReceiveMaximum, u32::from(local.receive_maximum.max(1)));
    let mut out = Vec::new();
    Connect {
        version: Version::V5,
        bridge: false,
        clean_start: local.clean,
        keep_alive_s: 0,
        properties: properties.as_properties(),
        client_id: &local.client_id,
        will: None,
        username: local.username.as_deref(),
        password: local.password.as_deref().map(str::as_bytes),
    }
    .encode(&mut out);
    out
}

/// SUBSCRIBE with one filter. What the bridge itself has published does not come back to it, and
/// retained messages stay retained.
pub(crate) fn subscribe(
    version: Version,
    packet_id: u16,
    filter: &str,
    qos: QoS,
    retained: RetainHandling,
) -> Vec<u8> {
    let v5 = version.is_v5();
    let options = SubscribeOptions {
        qos,
        no_local: v5,
        retain_as_published: v5,
        retain_handling: if v5 { retained } else { RetainHandling::Send },
    };
    let filters = [SubscribeFilter { filter, options }];
    let mut out = Vec::new();
    Subscribe::encode(version, packet_id, Properties::default(), &filters, &mut out);
    out
}

/// UNSUBSCRIBE with one filter.
pub(crate) fn unsubscribe(version: Version, packet_id: u16, filter: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Unsubscribe::encode(version, packet_id, Properties::default(), &[filter], &mut out);
    out
}

/// The message to the other broker that says how the bridge is.
pub(crate) fn state(plan: &BridgePlan, packet_id: u16, state: &[u8]) -> Option<Vec<u8>> {
    let notify = notify_remote(plan)?;
    let mut out = Vec::new();
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: plan.remote.outgoing_retain,
        topic: &notify.topic,
        packet_id,
        properties: Properties::default(),
        payload: state,
    }
    .encode(plan.remote.version, &mut out);
    Some(out)
}

/// Notifications, if the other broker gets them.
pub(crate) fn notify_remote(plan: &BridgePlan) -> Option<&Notify> {
    plan.notify.as_ref().filter(|notify| notify.remote)
}
