//! Bridges: `connection` and what stands below it.

use super::apply_bridge::TopicLine;
use super::bridge_tls::BridgeTls;
use super::value::Problem;
use super::{Config, Note};
use crate::bridge::plan::{
    Address, BridgePlan, LocalPlan, Notify, RemotePlan, Restart, SocketPlan, StartType,
    TcpKeepAlive,
};
use crate::bridge::topics::Topics;
use mogi_codec::Version;
use mogi_core::LogKind;

/// A bridge, as far as the file says what it is.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    /// `FILE:LINE` where it begins.
    pub(crate) place: String,
    pub(crate) addresses: Vec<Address>,
    pub(crate) topics: Vec<TopicLine>,
    pub(crate) round_robin: bool,
    pub(crate) start: StartType,
    pub(crate) restart: Restart,
    pub(crate) reload_at_once: bool,
    pub(crate) idle_timeout_s: u64,
    pub(crate) threshold: usize,
    pub(crate) notifications: bool,
    pub(crate) notifications_local_only: bool,
    pub(crate) notification_topic: Option<String>,
    pub(crate) version: Version,
    pub(crate) try_private: bool,
    pub(crate) clean: bool,
    pub(crate) local_clean: Option<bool>,
    pub(crate) remote_clientid: Option<String>,
    pub(crate) remote_username: Option<String>,
    pub(crate) remote_password: Option<String>,
    pub(crate) local_clientid: Option<String>,
    pub(crate) local_username: Option<String>,
    pub(crate) local_password: Option<String>,
    pub(crate) keep_alive_s: u16,
    pub(crate) outgoing_retain: bool,
    pub(crate) attempt_unsubscribe: bool,
    /// 0: any.
    pub(crate) max_packet_size: u32,
    pub(crate) max_topic_alias: u16,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) bind_address: Option<String>,
    pub(crate) tcp_keep_alive: Option<TcpKeepAlive>,
    pub(crate) tcp_user_timeout_ms: Option<u32>,
    pub(crate) tls: BridgeTls,
}

impl Bridge {
    pub(super) const fn new(name: String, place: String) -> Self {
        Self {
            name,
            place,
            addresses: Vec::new(),
            topics: Vec::new(),
            round_robin: false,
            start: StartType::Automatic,
            restart: Restart { base_s: 5, cap_s: Some(30), stable_s: 0 },
            reload_at_once: false,
            idle_timeout_s: 60,
            threshold: 10,
            notifications: true,
            notifications_local_only: false,
            notification_topic: None,
            version: Version::V311,
            try_private: true,
            clean: false,
            local_clean: None,
            remote_clientid: None,
            remote_username: None,
            remote_password: None,
            local_clientid: None,
            local_username: None,
            local_password: None,
            keep_alive_s: 60,
            outgoing_retain: true,
            attempt_unsubscribe: true,
            max_packet_size: 0,
            max_topic_alias: 10,
            receive_maximum: None,
            session_expiry_s: None,
            bind_address: None,
            tcp_keep_alive: None,
            tcp_user_timeout_ms: None,
            tls: BridgeTls::new(),
        }
    }

    /// What the bridge is called in the other broker.
    fn remote_id(&self, host: &str) -> String {
        self.remote_clientid.clone().unwrap_or_else(|| format!("{host}.{}", self.name))
    }

    fn local_id(&self, host: &str) -> String {
        let made = || format!("local.{}", self.remote_id(host));
        self.local_clientid.clone().unwrap_or_else(made)
    }

    fn plan(&self, config: &Config, host: &str) -> BridgePlan {
        let core = &config.core;
        let in_flight = match core.max_inflight_messages {
            0 => u16::MAX,
            limit => limit,
        };
        let remote_id = self.remote_id(host);
        let state = || format!("$SYS/broker/connection/{remote_id}/state");
        let topic = self.notification_topic.clone().unwrap_or_else(state);
        let notify = Notify { topic, remote: !self.notifications_local_only };
        let mut topics = Topics::default();
        for line in &self.topics {
            if let Ok(rule) = line.rule() {
                topics.add(rule);
            }
        }
        // A lazy bridge sees no more messages than it takes at once.
        let lazy = self.start == StartType::Lazy;
        let seen = if lazy { self.threshold.min(usize::from(u16::MAX)) as u16 } else { 0 };
        BridgePlan {
            name: self.name.clone(),
            addresses: self.addresses.clone(),
            round_robin: self.round_robin,
            topics,
            start: self.start,
            restart: self.restart,
            reload_at_once: self.reload_at_once,
            idle_timeout_s: self.idle_timeout_s,
            threshold: self.threshold.min(usize::from(u16::MAX)),
            notify: self.notifications.then_some(notify),
            local: LocalPlan {
                clean: self.local_clean.unwrap_or(self.clean),
                client_id: self.local_id(host),
                username: self.local_username.clone(),
                password: self.local_password.clone(),
                receive_maximum: in_flight.max(seen),
            },
            remote: RemotePlan {
                version: self.version,
                private: self.try_private,
                clean: self.clean,
                client_id: remote_id,
                username: self.remote_username.clone(),
                password: self.remote_password.clone(),
                keep_alive_s: self.keep_alive_s,
                outgoing_retain: self.outgoing_retain,
                unsubscribe: self.attempt_unsubscribe,
                max_packet_size: self.max_packet_size,
                max_packet_size_in: core.max_packet_size,
                topic_alias_maximum: self.max_topic_alias,
                receive_maximum: self.receive_maximum.unwrap_or(in_flight),
                // What is not to end with the connection has to be told so in 5.0.
                session_expiry_s: self.session_expiry_s.unwrap_or(if self.clean {
                    0
                } else {
                    u32::MAX
                }),
            },
            socket: SocketPlan {
                bind: self.bind_address.clone(),
                keep_alive: self.tcp_keep_alive,
                user_timeout_ms: self.tcp_user_timeout_ms,
            },
            secure: self.tls.plan(&self.name),
            one_node: config.cluster.shares_bridges(),
        }
    }
}

/// What the broker's bridges are to do.
pub(crate) fn bridge_plans(config: &Config) -> Vec<BridgePlan> {
    // Whichever node carries it is the same client to the other broker.
    let host = match config.cluster.shares_bridges() {
        true => config.cluster.name.clone(),
        false => crate::process::host_name(),
    };
    config.bridges.iter().map(|bridge| bridge.plan(config, &host)).collect()
}

/// Checks each bridge as a whole.
///
/// # Errors
/// One of them could carry nothing, or two of them are the same client.
pub(super) fn check(bridges: &mut [Bridge], notes: &mut Vec<Note>) -> Result<(), Problem> {
    let host = crate::process::host_name();
    let mut ids: Vec<String> = Vec::new();
    for bridge in bridges {
        let (name, place) = (&bridge.name, &bridge.place);
        let invalid = |what: &str| {
            Problem(format!(
                "Error: Invalid bridge configuration: {what}.\nError found in bridge '{name}' at \
                 {place}."
            ))
        };
        if bridge.addresses.is_empty() {
            return Err(invalid("no remote addresses defined"));
        }
        if bridge.topics.is_empty() {
            return Err(invalid("no topics defined"));
        }
        bridge.tls.check(name, notes).map_err(|what| invalid(&what))?;
        let mut topics = Topics::default();
        for line in &bridge.topics {
            let said = match line.rule().map(|rule| topics.add(rule)) {
                Ok(true) => continue,
                Ok(false) => (
                    LogKind::Information,
                    format!("Duplicate bridge topic '{}', skipping", line.pattern),
                ),
                Err(_) => (
                    LogKind::Warning,
                    format!(
                        "Warning: '{}' is no topic filter: the 'topic' of bridge '{name}' at {} \
                         carries nothing.",
                        line.pattern, line.place
                    ),
                ),
            };
            notes.push(said);
        }
        let id = bridge.local_id(&host);
        if ids.contains(&id) {
            return Err(Problem(format!(
                "Error: Bridge local_clientid '{id}' is not unique. Try changing or setting the \
                 local_clientid value for one of the bridges."
            )));
        }
        ids.push(id);
    }
    Ok(())
}
