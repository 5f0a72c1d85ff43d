//! The limits and choices a worker runs with; each is an option of mosquitto.conf(5) or of
//! `mogi.conf`.

use mogi_codec::QoS;

/// What happens is decided by these; everything is per process unless it says "per client".
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// QoS 1 and 2 messages in flight to a client at once, 1 to 65535; also the Receive Maximum
    /// announced to 5.0 clients. 0: no limit but the client's own (`max_inflight_messages`).
    pub max_inflight_messages: u16,
    /// Bytes of such messages in flight per client; 0: no limit (`max_inflight_bytes`).
    pub max_inflight_bytes: u64,
    /// Messages waiting per client beyond those in flight; 0: no limit (`max_queued_messages`).
    pub max_queued_messages: usize,
    /// Bytes waiting per client; 0: no limit (`max_queued_bytes`).
    pub max_queued_bytes: u64,
    /// Messages waiting per client that are held in memory; where state is durable, the rest is in
    /// the store only (`queue_window_messages`).
    pub queue_window_messages: usize,
    /// Bytes of such messages (`queue_window_bytes`).
    pub queue_window_bytes: u64,
    /// Whether QoS 0 messages wait for absent persistent clients (`queue_qos0_messages`).
    pub queue_qos0_messages: bool,
    /// Whether messages are delivered at the subscription's QoS even when published with a lower
    /// one (`upgrade_outgoing_qos`).
    pub upgrade_outgoing_qos: bool,
    /// Largest packet taken, in bytes; 0: the protocol's limit (`max_packet_size`).
    pub max_packet_size: u32,
    /// Largest payload taken, in bytes; 0: no limit (`message_size_limit`).
    pub message_size_limit: u32,
    /// Largest keep alive in seconds; 0: any (`max_keepalive`).
    pub max_keepalive_s: u16,
    /// How long a session outlives its connection at the most, in seconds
    /// (`persistent_client_expiration`).
    pub persistent_client_expiration_s: Option<u32>,
    /// Whether retained messages exist (`retain_available`).
    pub retain_available: bool,
    /// Whether a retained message is delivered only while its publisher may publish it
    /// (`check_retain_source`).
    pub check_retain_source: bool,
    /// Whether overlapping subscriptions each get their copy (`allow_duplicate_messages`).
    pub allow_duplicate_messages: bool,
    /// Only client ids with this prefix are let in (`clientid_prefixes`).
    pub clientid_prefixes: Option<String>,
    /// Sessions, connected or not, in the whole broker (`global_max_clients`).
    pub global_max_clients: Option<usize>,
    /// Whether connects and disconnects are logged (`connection_messages`).
    pub connection_messages: bool,
    /// How many times its Receive Maximum a 5.0 publisher may have in flight before it is
    /// disconnected with 0x93 (`receive_maximum_tolerance`).
    pub receive_maximum_tolerance: u32,
    /// Level separators a topic or filter may have (`max_topic_levels`); 0: as many as fit.
    pub max_topic_levels: usize,
    /// Subscriptions a client may hold; 0: no limit (`max_subscriptions_per_client`).
    pub max_subscriptions_per_client: usize,
    /// Retained messages the broker keeps; 0: no limit (`max_retained_messages`).
    pub max_retained_messages: usize,
    /// Bytes of topics, properties and payloads of retained messages; 0: no limit
    /// (`max_retained_bytes`).
    pub max_retained_bytes: usize,
    /// Bytes of messages that wait for clients, in memory, of all clients; 0: no limit
    /// (`max_queued_bytes_total`).
    pub max_queued_bytes_total: u64,
    /// Bytes of output a connection may have pending before messages to it are dropped
    /// (`connection_buffer_limit`).
    pub connection_buffer_limit: usize,
    /// Milliseconds a connection may have output pending without any of it leaving
    /// (`send_timeout`); 0: for ever.
    pub send_timeout_ms: u64,
    /// Topics whose matches a worker remembers (`route_cache_topics`).
    pub route_cache_topics: usize,
    /// Bytes of topic names a worker remembers for that (`route_cache_bytes`).
    pub route_cache_bytes: usize,
    /// Which [`LogKind`](crate::LogKind)s are wanted: the sum of their bits.
    pub log_mask: u32,
    /// Whether state is durable: changes become store operations and acknowledgements wait for
    /// them.
    pub durable: bool,
    /// Where 5.0 clients are told to go when the broker stops (`cluster_server_reference`).
    pub server_reference: Option<String>,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            max_inflight_messages: 20,
            max_inflight_bytes: 0,
            max_queued_messages: 1000,
            max_queued_bytes: 0,
            queue_window_messages: 1000,
            queue_window_bytes: 1 << 20,
            queue_qos0_messages: false,
            upgrade_outgoing_qos: false,
            max_packet_size: 2_000_000,
            message_size_limit: 0,
            max_keepalive_s: 0,
            persistent_client_expiration_s: None,
            retain_available: true,
            check_retain_source: false,
            allow_duplicate_messages: true,
            clientid_prefixes: None,
            global_max_clients: None,
            connection_messages: true,
            receive_maximum_tolerance: 10,
            max_topic_levels: 200,
            max_subscriptions_per_client: 0,
            max_retained_messages: 0,
            max_retained_bytes: 0,
            max_queued_bytes_total: 0,
            connection_buffer_limit: 16 << 20,
            send_timeout_ms: 60_000,
            route_cache_topics: 131_072,
            route_cache_bytes: 8 << 20,
            log_mask: 0,
            durable: false,
            server_reference: None,
        }
    }
}

/// What a listener asks of the clients that come in through it.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Clients without a user name are let in (`allow_anonymous`).
    pub allow_anonymous: bool,
    /// Clients without an id get one (`allow_zero_length_clientid`).
    pub allow_zero_length_clientid: bool,
    /// What the ids the broker makes begin with (`auto_id_prefix`).
    pub auto_id_prefix: String,
    /// The user name becomes the client id (`use_username_as_clientid`).
    pub use_username_as_clientid: bool,
    /// Put before every topic and filter of the listener's clients (`mount_point`).
    pub mount_point: Option<String>,
    /// Highest QoS a client may publish with (`max_qos`).
    pub max_qos: QoS,
    /// Topic aliases a client may use (`max_topic_alias`).
    pub max_topic_alias: u16,
    /// Topic aliases the broker makes for a client (`max_topic_alias_broker`).
    pub max_topic_alias_broker: u16,
    /// The protocol levels let in, one bit each: 3, 4, 5 (`accept_protocol_versions`).
    pub accept_versions: u8,
    /// Methods of enhanced authentication it takes (section 4.12).
    pub methods: &'static [&'static str],
    /// Which table of [`Rights`](crate::Rights) counts for the listener's clients.
    pub rights: u16,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            allow_anonymous: true,
            allow_zero_length_clientid: true,
            auto_id_prefix: "auto-".to_owned(),
            use_username_as_clientid: false,
            mount_point: None,
            max_qos: QoS::ExactlyOnce,
            max_topic_alias: 10,
            max_topic_alias_broker: 10,
            accept_versions: 1 << 3 | 1 << 4 | 1 << 5,
            methods: &[],
            rights: 0,
        }
    }
}
