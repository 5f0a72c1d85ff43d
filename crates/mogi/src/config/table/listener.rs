//! Options of one listener.

use super::Kind::{Bool, Number, Other, TextOnce};
use super::Scope::{DefaultListener, Global, Listener, ListenerAbove};
use super::Status::{NotYet, Works};
use super::{ANY, BOOL, Range, Spec, range, row};
use crate::config::{apply, transport};
use mogi_codec::QoS;

const QOS: Range = range(0, 2).or("Error: 'max_qos' must be between 0 and 2 inclusive.");
const ALIAS: Range = range(0, 65_535).or("Error: Invalid '{name}' value in configuration.");

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("accept_protocol_versions", ListenerAbove, "`3`, `4` and `5`, with commas or blanks", "all",
        Works(Other(apply::accept_protocol_versions)),
        "versions of MQTT let in: 3.1, 3.1.1, 5.0"),
    row("bind_address", DefaultListener, "a host or address", "all",
        Works(Other(apply::bind_address)),
        "address of the default listener").restart().deprecated(""),
    row("bind_interface", Listener, "an interface's name", "–",
        Works(TextOnce(|to| &mut to.listener().interface)),
        "listen on this network interface only").restart(),
    row("cafile", ListenerAbove, "a file", "–",
        Works(TextOnce(|to| &mut to.listener().transport.cafile)),
        "authorities of client certificates"),
    row("capath", Listener, "a folder", "–",
        Works(TextOnce(|to| &mut to.listener().transport.capath)),
        "folder of authorities, named by hash as `openssl rehash` does"),
    row("certfile", Listener, "a file", "–",
        Works(TextOnce(|to| &mut to.listener().transport.certfile)),
        "server certificate, and those between it and its authority; read again on SIGHUP, and \
         when the file changes"),
    row("ciphers", Listener, "a list in OpenSSL's notation", "–",
        Works(TextOnce(|to| &mut to.listener().transport.ciphers)),
        "TLS 1.2 ciphers; names that are not built in are left out, with a warning"),
    row("ciphers_tls1.3", Listener, "names with colons", "–",
        Works(TextOnce(|to| &mut to.listener().transport.ciphers_tls13)),
        "TLS 1.3 ciphers"),
    row("crlfile", Listener, "a file", "–",
        Works(TextOnce(|to| &mut to.listener().transport.crlfile)),
        "certificates that are not valid any more"),
    row("disable_client_cert_date_checks", ListenerAbove, BOOL, "false",
        Works(Bool(|to, yes| to.listener().transport.ignore_dates = yes)),
        "accept expired client certificates"),
    row("enable_proxy_protocol", ListenerAbove, "`1` or `2`", "off",
        Works(Other(transport::enable_proxy_protocol)),
        "expect the PROXY protocol before everything else; anybody who can reach the listener can \
         claim any address"),
    row("http_dir", ListenerAbove, "a folder", "–",
        Works(Other(transport::http_dir)),
        "files for browsers, on listeners of WebSockets"),
    row("keyfile", Listener, "a file", "–",
        Works(TextOnce(|to| &mut to.listener().transport.keyfile)),
        "server key, not encrypted"),
    row("listener", Global, "a port, and a host or address; or 0 and a path", "–",
        Works(Other(apply::listener)),
        "begins a listener; without a host it listens on all addresses").restart()
        .quirk("what follows ` #` is a comment; port 0 and a path make a Unix socket"),
    row("listener_allow_anonymous", ListenerAbove, BOOL, "as `allow_anonymous`",
        Works(Bool(|to, yes| to.listener().own.allow_anonymous = Some(yes))),
        "let clients in without a user name"),
    row("listener_auto_id_prefix", ListenerAbove, "up to 50 bytes", "as `auto_id_prefix`",
        Works(Other(apply::listener_auto_id_prefix)),
        "what client ids made by the broker begin with"),
    row("max_connections", Listener, "clients; below 1: any number", "-1",
        Works(Number(ANY, |to, n| {
            to.listener().max_connections = usize::try_from(n).ok().filter(|&n| n > 0);
        })),
        "clients connected through the listener"),
    row("max_qos", Listener, "0, 1 or 2", "2",
        Works(Number(QOS, |to, n| to.listener().max_qos = qos(n))),
        "highest QoS of a PUBLISH"),
    row("max_topic_alias", ListenerAbove, "aliases, up to 65535", "10",
        Works(Number(ALIAS, |to, n| to.listener().max_topic_alias = n as u16)),
        "topic aliases a client may make"),
    row("max_topic_alias_broker", ListenerAbove, "aliases, up to 65535", "10",
        Works(Number(ALIAS, |to, n| to.listener().max_topic_alias_broker = n as u16)),
        "topic aliases the broker makes for a client"),
    row("maximum_qos", Listener, "0, 1 or 2", "2",
        Works(Number(QOS, |to, n| to.listener().max_qos = qos(n))),
        "another name of `max_qos`"),
    row("mount_point", ListenerAbove, "the begin of a topic", "–",
        Works(Other(apply::mount_point)),
        "put before every topic of the listener's clients, as it stands"),
    row("port", DefaultListener, "a port", "1883",
        Works(Other(apply::port)),
        "port of the default listener").restart()
        .deprecated("Please use 'listener' instead."),
    row("protocol", Listener, "`mqtt` or `websockets`; `http_api` is not built yet", "mqtt",
        Works(Other(transport::protocol)),
        "what is spoken"),
    row("proxy_protocol_v2_require_tls", ListenerAbove, BOOL, "false",
        Works(Bool(|to, yes| to.listener().transport.proxy_require_tls = yes)),
        "only proxied connections that came by TLS"),
    row("psk_hint", Listener, "text", "–",
        Works(TextOnce(|to| &mut to.listener().transport.psk_hint)),
        "TLS with the keys of `psk_file`, in a mogi that was built with the feature `openssl`; \
         the text is told to clients of TLS 1.2"),
    row("require_certificate", Listener, BOOL, "false",
        Works(Bool(|to, yes| to.listener().transport.require_certificate = yes)),
        "clients need a certificate"),
    row("socket_domain", Listener, "`ipv4` or `ipv6`", "both",
        Works(Other(apply::socket_domain)),
        "kind of addresses the listener is opened on").restart(),
    row("tls_engine", Listener, "a name", "–", NotYet, "OpenSSL engine").restart(),
    row("tls_engine_kpass_sha1", Listener, "a hash", "–", NotYet, "its password").restart(),
    row("tls_keyform", Listener, "`pem` or `engine`", "pem", NotYet, "form of the key").restart(),
    row("tls_version", ListenerAbove, "`tlsv1.2` or `tlsv1.3`", "tlsv1.2",
        Works(Other(transport::tls_version)),
        "lowest TLS version"),
    row("use_identity_as_username", Listener, BOOL, "false",
        Works(Bool(|to, yes| to.listener().transport.identity_as_username = yes)),
        "the certificate's common name, or the identity of the shared key, is the user name; \
         there is no password then"),
    row("use_subject_as_username", Listener, BOOL, "false",
        Works(Bool(|to, yes| to.listener().transport.subject_as_username = yes)),
        "the certificate's subject is the user name; there is no password then"),
    row("use_username_as_clientid", Listener, BOOL, "false",
        Works(Bool(|to, yes| to.listener().use_username_as_clientid = yes)),
        "the user name is the client id; clients without one are refused"),
    row("websockets_origin", ListenerAbove, "an origin", "any",
        Works(Other(transport::websockets_origin)),
        "an origin WebSockets may come from; may stand several times"),
];

/// The number is in range by then.
fn qos(n: i32) -> QoS {
    QoS::from_u8(n as u8).unwrap_or_default()
}
