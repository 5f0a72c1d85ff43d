//! What a bridge is to do.

use super::topics::Topics;
use mogi_client::TlsOptions;
use mogi_codec::Version;
use sha2::{Digest, Sha256};

/// A bridge, as the configuration describes it; each field is an option of mosquitto.conf(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgePlan {
    /// `connection`.
    pub(crate) name: String,
    /// `address`, `addresses`: at least one.
    pub(crate) addresses: Vec<Address>,
    /// `round_robin`: no address is better than the others.
    pub(crate) round_robin: bool,
    /// `topic`.
    pub(crate) topics: Topics,
    pub(crate) start: StartType,
    pub(crate) restart: Restart,
    /// When a changed configuration counts: `bridge_reload_type immediate`.
    pub(crate) reload_at_once: bool,
    /// Seconds without a message after which a lazy bridge ends its connection.
    pub(crate) idle_timeout_s: u64,
    /// Messages that have a lazy bridge connect.
    pub(crate) threshold: usize,
    /// Topic of the messages about its state, unless there are none.
    pub(crate) notify: Option<Notify>,
    pub(crate) remote: RemotePlan,
    pub(crate) local: LocalPlan,
    pub(crate) socket: SocketPlan,
    /// TLS, if there is any.
    pub(crate) secure: Option<SecurePlan>,
    /// Of several nodes one carries it at a time (`cluster_bridges one`).
    pub(crate) one_node: bool,
}

impl BridgePlan {
    /// The same text for bridges that carry the same between the same brokers.
    pub(crate) fn job(&self) -> String {
        let mut addresses: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        addresses.sort();
        let hash = Sha256::digest(format!("{}\n{}", addresses.join(" "), self.topics.list()));
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// `bridge_cafile` and what stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecurePlan {
    /// `connection`, for what is said of errors.
    pub(crate) bridge: String,
    pub(crate) options: TlsOptions,
    /// What was in the files when the configuration was read: other contents are another plan.
    pub(crate) contents: [u8; 32],
}

/// `notifications`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notify {
    pub(crate) topic: String,
    /// Whether the other broker is told as well.
    pub(crate) remote: bool,
}

/// The connection to the other broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemotePlan {
    pub(crate) version: Version,
    /// `try_private`.
    pub(crate) private: bool,
    pub(crate) clean: bool,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) keep_alive_s: u16,
    pub(crate) outgoing_retain: bool,
    pub(crate) unsubscribe: bool,
    /// Bytes of the largest packet sent; 0: any.
    pub(crate) max_packet_size: u32,
    /// Bytes of the largest packet taken, which is what this broker takes of anybody.
    pub(crate) max_packet_size_in: u32,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) receive_maximum: u16,
    /// Seconds; 0xFFFFFFFF: it never ends.
    pub(crate) session_expiry_s: u32,
}

/// The connection to this broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalPlan {
    pub(crate) clean: bool,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    /// Messages in flight to the bridge (`max_inflight_messages`).
    pub(crate) receive_maximum: u16,
}

/// What the socket is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketPlan {
    /// `bridge_bind_address`.
    pub(crate) bind: Option<String>,
    /// `bridge_tcp_keepalive`.
    pub(crate) keep_alive: Option<TcpKeepAlive>,
    /// `bridge_tcp_user_timeout`, in milliseconds.
    pub(crate) user_timeout_ms: Option<u32>,
}

/// Seconds of silence before the first probe, seconds between probes, and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpKeepAlive {
    pub(crate) idle_s: u32,
    pub(crate) interval_s: u32,
    pub(crate) count: u32,
}

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// When a bridge connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StartType {
    /// Always.
    #[default]
    Automatic,
    /// When there is something to be sent.
    Lazy,
    /// When the broker starts, and never again.
    Once,
}

/// `restart_timeout`: how long it waits before it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) base_s: u32,
    /// None: it is always the base.
    pub(crate) cap_s: Option<u32>,
    /// Seconds a connection has to last before the next wait is short again.
    pub(crate) stable_s: u32,
}

impl Default for Restart {
    fn default() -> Self {
        Self { base_s: 5, cap_s: Some(30), stable_s: 0 }
    }
}
