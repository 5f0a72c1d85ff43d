//! Every option of mosquitto.conf(5) of Mosquitto 2.1, and mogi's own: the parser, `--test-config`
//! and docs/configuration.md are made of this table.

use super::apply::{self, Apply};

/// Where an option stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Once for the broker.
    Global,
    /// For the listener above it.
    Listener,
    /// For the broker, or for the listener above it under `per_listener_settings`.
    Security,
    /// For the bridge above it.
    Bridge,
    /// For the plugin above it.
    Plugin,
    /// For the broker; Mosquitto does not know it.
    Mogi,
}

/// What mogi does with an option.
#[derive(Clone, Copy)]
pub(crate) enum Status {
    /// It works.
    Works(Apply),
    /// It is read and has no effect, as said.
    NoEffect(&'static str),
    /// Not built yet: start-up stops, because a broker that leaves it out is not the one the
    /// file asks for.
    NotYet,
}

/// One option.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    /// The default as text.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) status: Status,
}

/// The option with that name.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    let direct = TABLE.iter().find(|spec| spec.name == name);
    // Options of plugins have any name behind their prefix.
    direct.or_else(|| {
        let prefix = ["auth_opt_", "plugin_opt_"].into_iter().find(|p| name.starts_with(p))?;
        TABLE.iter().find(|spec| spec.name.strip_suffix('*') == Some(prefix))
    })
}

const fn row(
    name: &'static str,
    scope: Scope,
    default: &'static str,
    doc: &'static str,
    status: Status,
) -> Spec {
    Spec { name, scope, default, doc, status }
}

use Scope::{Bridge as B, Global as G, Listener as L, Mogi as M, Plugin as P, Security as S};
use Status::{NoEffect, NotYet, Works};

const AUTOSAVE: &str = "mogi does not write its state as a whole from time to time";

/// All options, by scope and name.
pub(crate) const TABLE: &[Spec] = &[
    row("accept_protocol_versions", L, "3, 4, 5", "MQTT versions let in", Works(apply::accept_protocol_versions)),
    row("acl_file", S, "–", "who may publish and subscribe to what", NotYet),
    row("address", B, "–", "the remote broker", NotYet),
    row("addresses", B, "–", "the remote broker's addresses", NotYet),
    row("allow_anonymous", S, "false with a listener, else true", "let clients in without a user name", Works(apply::allow_anonymous)),
    row("allow_duplicate_messages", G, "true", "overlapping subscriptions get a copy each", Works(apply::allow_duplicate_messages)),
    row("allow_zero_length_clientid", S, "true", "let the broker make client ids", Works(apply::allow_zero_length_clientid)),
    row("auth_opt_*", P, "–", "options of the plugin above", NotYet),
    row("auth_plugin", S, "–", "a plugin to load", NotYet),
    row("auth_plugin_deny_special_chars", P, "true", "refuse + # / in names, for old plugins", NotYet),
    row("auto_id_prefix", S, "auto-", "what generated client ids begin with", Works(apply::auto_id_prefix)),
    row("autosave_interval", G, "1800", "seconds between saves", NoEffect(AUTOSAVE)),
    row("autosave_on_changes", G, "false", "count changes instead of seconds", NoEffect(AUTOSAVE)),
    row("bind_address", L, "all", "address of the default listener", Works(apply::bind_address)),
    row("bind_interface", L, "–", "interface the listener is bound to", Works(apply::bind_interface)),
    row("bridge_alpn", B, "–", "TLS application protocol", NotYet),
    row("bridge_attempt_unsubscribe", B, "true", "cancel subscriptions of out topics", NotYet),
    row("bridge_bind_address", B, "–", "local address", NotYet),
    row("bridge_cafile", B, "–", "TLS authorities", NotYet),
    row("bridge_capath", B, "–", "folder of TLS authorities", NotYet),
    row("bridge_certfile", B, "–", "TLS certificate", NotYet),
    row("bridge_ciphers", B, "–", "TLS ciphers", NotYet),
    row("bridge_ciphers_tls1.3", B, "–", "TLS 1.3 ciphers", NotYet),
    row("bridge_identity", B, "–", "TLS-PSK identity", NotYet),
    row("bridge_insecure", B, "false", "do not check the host name", NotYet),
    row("bridge_keyfile", B, "–", "TLS key", NotYet),
    row("bridge_max_packet_size", B, "0", "largest packet sent", NotYet),
    row("bridge_max_topic_alias", B, "10", "aliases the remote may make", NotYet),
    row("bridge_outgoing_retain", B, "true", "keep RETAIN on what is sent", NotYet),
    row("bridge_protocol_version", B, "mqttv311", "protocol spoken", NotYet),
    row("bridge_psk", B, "–", "TLS-PSK key", NotYet),
    row("bridge_receive_maximum", B, "max_inflight_messages", "receive maximum", NotYet),
    row("bridge_reload_type", B, "lazy", "when a changed bridge is applied", NotYet),
    row("bridge_require_ocsp", B, "false", "require OCSP stapling", NotYet),
    row("bridge_session_expiry_interval", B, "0", "session expiry", NotYet),
    row("bridge_tcp_keepalive", B, "off", "TCP keep alive", NotYet),
    row("bridge_tcp_user_timeout", B, "off", "TCP user time-out", NotYet),
    row("bridge_tls_use_os_certs", B, "false", "trust the system's authorities", NotYet),
    row("bridge_tls_version", B, "tlsv1.2", "TLS version", NotYet),
    row("cafile", L, "–", "authorities of client certificates", NotYet),
    row("capath", L, "–", "folder of authorities", NotYet),
    row("certfile", L, "–", "server certificate", NotYet),
    row("check_retain_source", G, "false", "check the publisher's right again on delivery", NotYet),
    row("ciphers", L, "–", "TLS ciphers", NotYet),
    row("ciphers_tls1.3", L, "–", "TLS 1.3 ciphers", NotYet),
    row("cleansession", B, "false", "clean session on the remote", NotYet),
    row("clientid", B, "–", "id at the remote", NotYet),
    row("clientid_prefixes", G, "–", "only ids that begin so are let in", Works(apply::clientid_prefixes)),
    row("connection", B, "–", "begins a bridge", NotYet),
    row("connection_messages", G, "true", "log connects and disconnects", Works(apply::connection_messages)),
    row("crlfile", L, "–", "revoked certificates", NotYet),
    row("dhparamfile", L, "–", "Diffie-Hellman parameters", NoEffect("Mosquitto 2.1 ignores it as well")),
    row("disable_client_cert_date_checks", L, "false", "accept expired client certificates", NotYet),
    row("enable_control_api", G, "false", "$CONTROL/broker/v1", NotYet),
    row("enable_proxy_protocol", L, "off", "PROXY protocol before MQTT", NotYet),
    row("global_max_clients", G, "-1", "sessions, connected or not, in the broker; -1: any number", Works(apply::global_max_clients)),
    row("global_max_connections", G, "-1", "connected clients in the broker; -1: any number", Works(apply::global_max_connections)),
    row("global_plugin", G, "–", "a plugin for all listeners", NotYet),
    row("http_dir", L, "–", "files served over HTTP", NotYet),
    row("idle_timeout", B, "60", "stop a lazy bridge after so many seconds", NotYet),
    row("include_dir", G, "–", "read all *.conf of this folder, sorted", Works(apply::include_dir)),
    row("keepalive_interval", B, "60", "keep alive", NotYet),
    row("keyfile", L, "–", "server key", NotYet),
    row("listener", L, "–", "begins a listener: port and, if given, address", Works(apply::listener)),
    row("listener_allow_anonymous", L, "as allow_anonymous", "allow_anonymous for this listener", Works(apply::listener_allow_anonymous)),
    row("listener_auto_id_prefix", L, "as auto_id_prefix", "auto_id_prefix for this listener", Works(apply::listener_auto_id_prefix)),
    row("local_cleansession", B, "as cleansession", "clean session on this side", NotYet),
    row("local_clientid", B, "–", "id on this side", NotYet),
    row("local_password", B, "–", "password on this side", NotYet),
    row("local_username", B, "–", "user name on this side", NotYet),
    row("log_dest", G, "stderr", "none, stdout, stderr, syslog, topic, file PATH; may stand several times", Works(apply::log_dest)),
    row("log_facility", G, "daemon", "syslog local0 to local7", Works(apply::log_facility)),
    row("log_timestamp", G, "true", "begin lines with the time", Works(apply::log_timestamp)),
    row("log_timestamp_format", G, "seconds since 1970", "the time's form, as in strftime(3)", Works(apply::log_timestamp_format)),
    row("log_type", G, "error, warning, notice, information", "what is logged; may stand several times", Works(apply::log_type)),
    row("max_connections", L, "-1", "clients connected to the listener; -1: any number", Works(apply::max_connections)),
    row("max_inflight_bytes", G, "0", "bytes of QoS 1 and 2 messages in flight to a client; 0: any number", Works(apply::max_inflight_bytes)),
    row("max_inflight_messages", G, "20", "QoS 1 and 2 messages in flight to a client, up to 65535; 0: any number", Works(apply::max_inflight_messages)),
    row("max_keepalive", G, "0", "longest keep alive in seconds; 0: any", Works(apply::max_keepalive)),
    row("max_packet_size", G, "2000000", "largest packet in bytes, at least 20", Works(apply::max_packet_size)),
    row("max_qos", L, "2", "highest QoS of a PUBLISH", Works(apply::max_qos)),
    row("max_queued_bytes", G, "0", "bytes waiting for a client; 0: any number", Works(apply::max_queued_bytes)),
    row("max_queued_messages", G, "1000", "messages waiting for a client; 0: any number", Works(apply::max_queued_messages)),
    row("max_topic_alias", L, "10", "topic aliases a client may make, up to 65535", Works(apply::max_topic_alias)),
    row("max_topic_alias_broker", L, "10", "topic aliases the broker makes for a client", Works(apply::max_topic_alias_broker)),
    row("maximum_qos", L, "2", "as max_qos", Works(apply::max_qos)),
    row("memory_limit", G, "–", "hard limit of the heap", NotYet),
    row("message_size_limit", G, "0", "largest payload in bytes; larger ones are acknowledged and dropped; 0: any", Works(apply::message_size_limit)),
    row("mount_point", L, "–", "put before every topic of the listener's clients", Works(apply::mount_point)),
    row("notification_topic", B, "–", "where the bridge's state is published", NotYet),
    row("notifications", B, "true", "publish the bridge's state", NotYet),
    row("notifications_local_only", B, "false", "only on this side", NotYet),
    row("packet_buffer_size", G, "4096", "size of read buffers", NoEffect("mogi reads into one large buffer per worker")),
    row("password", B, "–", "password at the remote", NotYet),
    row("password_file", S, "–", "users and their passwords", NotYet),
    row("per_listener_settings", G, "false", "security options count for the listener above them", Works(apply::per_listener_settings)),
    row("persistence", G, "false", "keep state on disk", Works(apply::persistence)),
    row("persistence_file", G, "mosquitto.db", "the file's name", NoEffect("nothing is kept on disk while persistence is false")),
    row("persistence_location", G, ".", "the file's folder", NoEffect("nothing is kept on disk while persistence is false")),
    row("persistent_client_expiration", G, "never", "how long a session outlives its connection: 1h, 7d, 2w, 1m, 1y", Works(apply::persistent_client_expiration)),
    row("pid_file", G, "–", "where the process id is written", Works(apply::pid_file)),
    row("plugin", S, "–", "a plugin to load", NotYet),
    row("plugin_load", P, "–", "load a plugin without using it", NotYet),
    row("plugin_opt_*", P, "–", "options of the plugin above", NotYet),
    row("plugin_use", L, "–", "use a loaded plugin for this listener", NotYet),
    row("port", L, "1883", "port of the default listener", Works(apply::port)),
    row("protocol", L, "mqtt", "mqtt; websockets and http_api are not built yet", Works(apply::protocol)),
    row("proxy_protocol_v2_require_tls", L, "false", "only proxied TLS connections", NotYet),
    row("psk_file", S, "–", "TLS-PSK identities and keys", NotYet),
    row("psk_hint", L, "–", "TLS-PSK hint", NotYet),
    row("queue_qos0_messages", G, "false", "QoS 0 messages wait for absent clients too", Works(apply::queue_qos0_messages)),
    row("remote_clientid", B, "–", "id at the remote", NotYet),
    row("remote_password", B, "–", "password at the remote", NotYet),
    row("remote_username", B, "–", "user name at the remote", NotYet),
    row("require_certificate", L, "false", "clients need a certificate", NotYet),
    row("restart_timeout", B, "5 30", "seconds between attempts", NotYet),
    row("retain_available", G, "true", "messages may be retained", Works(apply::retain_available)),
    row("retain_expiry_interval", G, "off", "minutes between purges of expired retained messages", Works(apply::retain_expiry_interval)),
    row("retained_persistence", G, "false", "as persistence", Works(apply::persistence)),
    row("retry_interval", G, "–", "–", NoEffect("messages are sent again when a client connects anew")),
    row("round_robin", B, "false", "all addresses are equal", NotYet),
    row("set_tcp_nodelay", G, "false", "send small packets at once", NoEffect("mogi always does")),
    row("socket_domain", L, "both", "ipv4 or ipv6", Works(apply::socket_domain)),
    row("start_type", B, "automatic", "when the bridge connects", NotYet),
    row("sys_interval", G, "10", "seconds between publications of $SYS; 0: none", Works(apply::sys_interval)),
    row("threshold", B, "10", "messages that start a lazy bridge", NotYet),
    row("tls_engine", L, "–", "OpenSSL engine", NotYet),
    row("tls_engine_kpass_sha1", L, "–", "its password", NotYet),
    row("tls_keyform", L, "pem", "form of the key", NotYet),
    row("tls_version", L, "tlsv1.2", "lowest TLS version", NotYet),
    row("topic", B, "–", "what the bridge carries", NotYet),
    row("try_private", B, "true", "say that this is a bridge", NotYet),
    row("upgrade_outgoing_qos", G, "false", "deliver at the subscription's QoS", Works(apply::upgrade_outgoing_qos)),
    row("use_identity_as_username", L, "false", "the certificate's name is the user name", NotYet),
    row("use_subject_as_username", L, "false", "the certificate's subject is the user name", NotYet),
    row("use_username_as_clientid", L, "false", "the user name is the client id", Works(apply::use_username_as_clientid)),
    row("user", G, "mosquitto", "who to become when started by root; root: stay root", Works(apply::user)),
    row("username", B, "–", "user name at the remote", NotYet),
    row("websockets_headers_size", G, "4096", "largest WebSocket header", NoEffect("there are no WebSockets yet")),
    row("websockets_log_level", G, "0", "libwebsockets log level", NoEffect("mogi has no libwebsockets")),
    row("websockets_origin", L, "any", "origins that may connect", NotYet),
    row("connect_timeout", M, "30", "seconds a connection has to send its CONNECT, 1 to 3600", Works(apply::connect_timeout)),
    row("connection_buffer_limit", M, "16777216", "bytes of output pending for a connection beyond which messages are dropped", Works(apply::connection_buffer_limit)),
    row("max_retained_messages", M, "0", "topics with a retained message; 0: any number", Works(apply::max_retained_messages)),
    row("max_subscriptions_per_client", M, "0", "subscriptions of a client; 0: any number", Works(apply::max_subscriptions_per_client)),
    row("max_topic_levels", M, "200", "separators in a topic or filter; 0: any number", Works(apply::max_topic_levels)),
    row("receive_maximum_tolerance", M, "10", "how many times its receive maximum a 5.0 client may have in flight", Works(apply::receive_maximum_tolerance)),
    row("route_cache_topics", M, "65536", "topics whose receivers a worker remembers", Works(apply::route_cache_topics)),
    row("route_cache_bytes", M, "4194304", "bytes of topic names a worker remembers", Works(apply::route_cache_bytes)),
    row("send_timeout", M, "60", "seconds a connection may take nothing before it is closed; 0: for ever", Works(apply::send_timeout)),
    row("worker_threads", M, "0", "threads, up to 64; 0: one per core", Works(apply::worker_threads)),
];
