//! Options of bridges.

use super::Kind::{Bool, Number, Other, TextOnce};
use super::Scope::{Bridge, Global};
use super::Status::{NotYet, Works};
use super::{ANY, BOOL, Range, Reload, Spec, Status, row};
use crate::config::{apply_bridge as apply, bridge_tls};

const fn of(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    status: Status,
    doc: &'static str,
) -> Spec {
    Spec { reload: Reload::Bridge, ..row(name, Bridge, value, default, status, doc) }
}

const ALIASES: Range = Range {
    low: 0,
    high: 65_535,
    wrong: "Error: bridge_max_topic_alias must be > 0 and <= 65535.",
};
const EXPIRY: Range = Range {
    low: 0,
    high: i32::MAX,
    wrong: "Error: bridge_session_expiry_interval must not be negative.",
};
const USER_TIMEOUT: Range =
    Range { low: 0, high: i32::MAX, wrong: "Error: invalid TCP user timeout value." };

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    of("address", "host[:port]", "–", Works(Other(apply::addresses)), "the remote broker")
        .quirk("an IPv6 address needs its port"),
    of("addresses", "host[:port], several", "–", Works(Other(apply::addresses)),
        "the remote broker, at several addresses"),
    of("bridge_alpn", "text", "–",
        Works(TextOnce(|to| &mut to.bridge().tls.alpn)),
        "application protocol to ask for within TLS"),
    of("bridge_attempt_unsubscribe", BOOL, "true",
        Works(Bool(|to, yes| to.bridge().attempt_unsubscribe = yes)),
        "cancel subscriptions of out topics"),
    of("bridge_bind_address", "an address", "–",
        Works(TextOnce(|to| &mut to.bridge().bind_address)), "local address"),
    of("bridge_cafile", "a file", "–",
        Works(TextOnce(|to| &mut to.bridge().tls.cafile)),
        "authorities that are trusted; turns TLS on"),
    of("bridge_capath", "a folder", "–",
        Works(TextOnce(|to| &mut to.bridge().tls.capath)),
        "folder of authorities, named by hash as `openssl rehash` does; turns TLS on"),
    of("bridge_certfile", "a file", "–",
        Works(TextOnce(|to| &mut to.bridge().tls.certfile)),
        "certificate shown to the remote"),
    of("bridge_ciphers", "a list in OpenSSL's notation", "–",
        Works(TextOnce(|to| &mut to.bridge().tls.ciphers)),
        "TLS 1.2 ciphers; names that are not built in are left out, with a warning"),
    of("bridge_ciphers_tls1.3", "names with colons", "–",
        Works(TextOnce(|to| &mut to.bridge().tls.ciphers_tls13)),
        "TLS 1.3 ciphers"),
    of("bridge_identity", "text", "–", NotYet, "TLS-PSK identity"),
    of("bridge_insecure", BOOL, "false", Works(Bool(|to, yes| to.bridge().tls.insecure = yes)),
        "do not compare the host's name with its certificate"),
    of("bridge_keyfile", "a file", "–",
        Works(TextOnce(|to| &mut to.bridge().tls.keyfile)),
        "key of `bridge_certfile`"),
    of("bridge_max_packet_size", "bytes; below 1: any number", "0",
        Works(Number(ANY, |to, n| to.bridge().max_packet_size = n.max(0) as u32)),
        "largest packet sent; the remote's own limit counts as well"),
    of("bridge_max_topic_alias", "aliases, up to 65535", "10",
        Works(Number(ALIASES, |to, n| to.bridge().max_topic_alias = n as u16)),
        "aliases the remote may make"),
    of("bridge_outgoing_retain", BOOL, "true",
        Works(Bool(|to, yes| to.bridge().outgoing_retain = yes)), "keep RETAIN on what is sent"),
    of("bridge_protocol_version", "`mqttv31`, `mqttv311` or `mqttv50`", "mqttv311",
        Works(Other(apply::bridge_protocol_version)), "protocol spoken"),
    of("bridge_psk", "hexadecimal", "–", NotYet, "TLS-PSK key"),
    of("bridge_receive_maximum", "1 to 65535", "max_inflight_messages",
        Works(Other(apply::bridge_receive_maximum)), "messages the remote may have in flight"),
    of("bridge_reload_type", "`lazy` or `immediate`", "lazy",
        Works(Other(apply::bridge_reload_type)), "when a changed bridge is applied")
        .quirk("`lazy`: with its next connection"),
    of("bridge_require_ocsp", BOOL, "false", NotYet, "require OCSP stapling"),
    of("bridge_session_expiry_interval", "seconds", "never; 0 with `cleansession true`",
        Works(Number(EXPIRY, |to, n| to.bridge().session_expiry_s = Some(n as u32))),
        "how long the remote keeps the session of a lost 5.0 connection")
        .quirk("Mosquitto's default is 0, with which a 5.0 bridge loses messages when its \
                connection breaks"),
    of("bridge_tcp_keepalive", "idle, interval, count", "off",
        Works(Other(apply::bridge_tcp_keepalive)), "TCP keep alive, in seconds and probes"),
    of("bridge_tcp_user_timeout", "milliseconds", "off",
        Works(Number(USER_TIMEOUT,
            |to, n| to.bridge().tcp_user_timeout_ms = Some(n as u32))),
        "how long sent data may stay unacknowledged by TCP"),
    of("bridge_tls_use_os_certs", BOOL, "false",
        Works(Bool(|to, yes| to.bridge().tls.os_certs = yes)),
        "trust the system's authorities; turns TLS on"),
    of("bridge_tls_version", "`tlsv1.2` or `tlsv1.3`", "tlsv1.2",
        Works(Other(bridge_tls::bridge_tls_version)), "lowest TLS version"),
    of("cleansession", BOOL, "false", Works(Bool(|to, yes| to.bridge().clean = yes)),
        "clean session on the remote"),
    of("clientid", "text", "HOST.NAME", Works(Other(apply::remote_clientid)),
        "id at the remote")
        .quirk("Mosquitto's manual has name and host in the other order"),
    Spec {
        reload: Reload::Bridge,
        ..row("connection", Global, "a name", "–", Works(Other(apply::connection)),
            "begins a bridge")
    },
    of("idle_timeout", "seconds, at least 1", "60", Works(Other(apply::idle_timeout)),
        "a lazy bridge rests after so many seconds without a message"),
    of("keepalive_interval", "seconds, 5 to 65535", "60",
        Works(Other(apply::keepalive_interval)), "keep alive"),
    of("local_cleansession", BOOL, "as cleansession",
        Works(Bool(|to, yes| to.bridge().local_clean = Some(yes))),
        "clean session on this side: no queue while the remote is away"),
    of("local_clientid", "text", "local.REMOTE_CLIENTID",
        Works(Other(apply::local_clientid)), "id on this side"),
    of("local_password", "text", "–", Works(Other(apply::local_password)),
        "password on this side"),
    of("local_username", "text", "–", Works(Other(apply::local_username)),
        "user name on this side"),
    of("notification_topic", "a topic", "$SYS/broker/connection/REMOTE_CLIENTID/state",
        Works(TextOnce(|to| &mut to.bridge().notification_topic)),
        "where the bridge's state is published"),
    of("notifications", BOOL, "true", Works(Bool(|to, yes| to.bridge().notifications = yes)),
        "publish the bridge's state, `1` or `0`, retained, in both brokers"),
    of("notifications_local_only", BOOL, "false",
        Works(Bool(|to, yes| to.bridge().notifications_local_only = yes)), "only on this side"),
    of("password", "text", "–", Works(Other(apply::remote_password)),
        "password at the remote"),
    of("remote_clientid", "text", "HOST.NAME", Works(Other(apply::remote_clientid)),
        "another name of `clientid`"),
    of("remote_password", "text", "–", Works(Other(apply::remote_password)),
        "another name of `password`"),
    of("remote_username", "text", "–", Works(Other(apply::remote_username)),
        "another name of `username`"),
    of("restart_timeout", "seconds; or base, cap and seconds of stability", "5 30 0",
        Works(Other(apply::restart_timeout)), "seconds between attempts"),
    of("round_robin", BOOL, "false", Works(Bool(|to, yes| to.bridge().round_robin = yes)),
        "all addresses are equal, and none is gone back to"),
    of("start_type", "`automatic`, `lazy` or `once`", "automatic",
        Works(Other(apply::start_type)), "when the bridge connects"),
    of("threshold", "messages, at least 1", "10", Works(Other(apply::threshold)),
        "messages that start a lazy bridge"),
    of("topic", "pattern [direction [QoS [local prefix [remote prefix]]]]", "–",
        Works(Other(apply::topic)), "what the bridge carries; see bridges.md"),
    of("try_private", BOOL, "true", Works(Bool(|to, yes| to.bridge().try_private = yes)),
        "say that this is a bridge"),
    of("username", "text", "–", Works(Other(apply::remote_username)),
        "user name at the remote"),
];
