//! Options of the broker as a whole.

use super::Kind::{Bool, Number, Other, Text, TextOnce};
use super::Scope::Global;
use super::Status::{NoEffect, Works};
use super::{ANY, BOOL, Spec, range, row};
use crate::config::{apply, plugins};

const AUTOSAVE: &str = "mogi does not write its state as a whole from time to time";
const BUFFER: &str = "mogi reads into one large buffer per worker";
const WRONG_BUFFER: &str = "Error: Packet buffer size must be between 0 and 65535 inclusive.";

/// Mosquitto takes numbers below zero for no limit.
const fn limit(n: i32) -> Option<usize> {
    if n > 0 { Some(n as usize) } else { None }
}

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("allow_duplicate_messages", Global, BOOL, "true",
        Works(Bool(|to, yes| to.config.core.allow_duplicate_messages = yes)),
        "whether overlapping subscriptions get a copy each")
        .deprecated("The behaviour will default to true."),
    row("autosave_interval", Global, "seconds, or changes", "1800",
        NoEffect(Number(ANY, |_, _| {}), AUTOSAVE),
        "how often the state is saved"),
    row("autosave_on_changes", Global, BOOL, "false",
        NoEffect(Bool(|_, _| {}), AUTOSAVE),
        "whether `autosave_interval` counts changes"),
    row("check_retain_source", Global, BOOL, "false",
        Works(Bool(|to, yes| to.config.core.check_retain_source = yes)),
        "check the publisher's right again when a retained message is delivered")
        .quirk("Mosquitto's manual says that true is the default"),
    row("clientid_prefixes", Global, "text", "–",
        Works(Text(|to, text| to.config.core.clientid_prefixes = Some(text))),
        "only client ids that begin with it are let in")
        .deprecated(""),
    row("connection_messages", Global, BOOL, "true",
        Works(Bool(|to, yes| to.config.core.connection_messages = yes)),
        "log connects and disconnects"),
    row("dhparamfile", Global, "a file", "–",
        NoEffect(Other(apply::dhparamfile), "Mosquitto 2.1 ignores it as well"),
        "Diffie-Hellman parameters"),
    row("enable_control_api", Global, BOOL, "false",
        Works(Bool(|to, yes| to.config.access.control_api = yes)),
        "answer requests on `$CONTROL/broker/v1`"),
    row("global_max_clients", Global, "sessions; below 1: any number", "-1",
        Works(Number(ANY, |to, n| to.config.core.global_max_clients = limit(n))),
        "sessions in the broker, connected or not"),
    row("global_max_connections", Global, "clients; below 1: any number", "-1",
        Works(Number(ANY, |to, n| to.config.max_connections = limit(n))),
        "clients connected to the broker"),
    row("global_plugin", Global, "a file, as with `plugin`", "–",
        Works(Other(plugins::global_plugin)),
        "a plugin for all listeners").restart(),
    row("include_dir", Global, "a folder", "–",
        Works(Other(apply::include_dir)),
        "read all `*.conf` of this folder, one level deep, in the order of their names")
        .quirk("only in the main file; `A` before `a`, `B` after both"),
    row("log_dest", Global,
        "`none`, `stdout`, `stderr`, `syslog`, `topic` or `file PATH`", "stderr",
        Works(Other(apply::log_dest)),
        "where log lines go; may stand several times, `none` forgets the others above it"),
    row("log_facility", Global, "0 to 7", "daemon",
        Works(Number(range(0, 7), |to, n| to.config.log.facility = Some(n as u8))),
        "syslog facility local0 to local7"),
    row("log_timestamp", Global, BOOL, "true",
        Works(Bool(|to, yes| to.config.log.timestamp = yes)),
        "begin log lines with the time"),
    row("log_timestamp_format", Global, "as in strftime(3)", "seconds since 1970",
        Works(TextOnce(|to| &mut to.config.log.timestamp_format)),
        "the form of that time"),
    row("log_type", Global,
        "`debug`, `error`, `warning`, `notice`, `information`, `subscribe`, `unsubscribe`, \
         `websockets`, `internal`, `none` or `all`",
        "error, warning, notice and information",
        Works(Other(apply::log_type)),
        "what is logged; may stand several times, `none` forgets the others above it"),
    row("max_inflight_bytes", Global, "bytes; 0: any number", "0",
        Works(Number(ANY, |to, n| to.config.core.max_inflight_bytes = n.max(0) as u64)),
        "bytes of QoS 1 and 2 messages in flight to a client"),
    row("max_inflight_messages", Global, "messages, up to 65535; 0: any number", "20",
        Works(Number(range(i32::MIN, 65_535).or("Error: '{name}' must be <= {high}."), |to, n| {
            to.config.core.max_inflight_messages = n.max(0) as u16;
        })),
        "QoS 1 and 2 messages in flight to a client; the receive maximum it is told").restart(),
    row("max_keepalive", Global, "seconds, up to 65535; 0: any", "0",
        Works(Number(range(0, 65_535), |to, n| to.config.core.max_keepalive_s = n as u16)),
        "longest keep alive; 3.x clients that ask for more are refused"),
    row("max_packet_size", Global, "bytes, at least 20", "2000000",
        Works(Number(range(20, i32::MAX).or("Error: '{name}' must be >= {low}."), |to, n| {
            to.config.core.max_packet_size = n as u32;
        })),
        "largest packet taken").restart(),
    row("max_queued_bytes", Global, "bytes; 0: any number", "0",
        Works(Number(ANY, |to, n| to.config.core.max_queued_bytes = n.max(0) as u64)),
        "bytes waiting for a client"),
    row("max_queued_messages", Global, "messages; 0: any number", "1000",
        Works(Number(ANY, |to, n| to.config.core.max_queued_messages = n.max(0) as usize)),
        "messages waiting for a client beyond those in flight"),
    row("memory_limit", Global, "bytes; 0: any number", "0",
        Works(Other(apply::memory_limit)),
        "memory of the process from which on connections and messages that would have to be kept \
         are refused; new clients already at nine tenths of it").quirk("Mosquitto limits its heap"),
    row("message_size_limit", Global, "bytes, up to 268435455; 0: any number", "0",
        Works(Other(apply::message_size_limit)),
        "largest payload; larger ones are acknowledged (5.0: with 0x83) and dropped"),
    row("packet_buffer_size", Global, "bytes, up to 65535", "4096",
        NoEffect(Number(range(0, 65_535).or(WRONG_BUFFER), |_, _| {}), BUFFER),
        "size of read buffers").restart(),
    row("per_listener_settings", Global, BOOL, "false",
        Works(Other(apply::per_listener_settings)),
        "security options count for the listener above them").restart()
        .quirk("has to stand above all of them")
        .deprecated("Please see the documentation for how to achieve the same effect."),
    row("persistence", Global, BOOL, "false",
        Works(Bool(|to, yes| to.config.persistence.on = yes)),
        "keep sessions, their messages and retained messages on disk").restart(),
    row("persistence_file", Global, "a file's name", "mosquitto.db",
        Works(TextOnce(|to| &mut to.config.persistence.file)),
        "the name of Mosquitto's file, which is imported where mogi finds no store of its own")
        .restart(),
    row("persistence_location", Global, "a folder", "where it is started",
        Works(TextOnce(|to| &mut to.config.persistence.location)),
        "the folder the store is in").restart(),
    row("persistent_client_expiration", Global, "a number and `s`, `h`, `d`, `w`, `m` or `y`",
        "never", Works(Other(apply::persistent_client_expiration)),
        "how long a session outlives its connection at the most")
        .quirk("`m` is 30 days; it caps the session expiry of 5.0 clients as well"),
    row("pid_file", Global, "a file", "–",
        Works(TextOnce(|to| &mut to.config.pid_file)),
        "where the process id is written").restart(),
    row("queue_qos0_messages", Global, BOOL, "false",
        Works(Bool(|to, yes| to.config.core.queue_qos0_messages = yes)),
        "QoS 0 messages wait for absent clients too"),
    row("retain_available", Global, BOOL, "true",
        Works(Bool(|to, yes| to.config.core.retain_available = yes)),
        "messages may be retained").restart(),
    row("retain_expiry_interval", Global, "minutes, 1 to 10000000", "off",
        Works(Other(apply::retain_expiry_interval)),
        "how often expired retained messages are removed"),
    row("retained_persistence", Global, BOOL, "false",
        Works(Bool(|to, yes| to.config.persistence.on = yes)),
        "another name of `persistence`").restart(),
    row("retry_interval", Global, "–", "–",
        NoEffect(Other(apply::retry_interval), "messages are sent again when a client returns"),
        "gone since Mosquitto 2.0"),
    row("set_tcp_nodelay", Global, BOOL, "false",
        NoEffect(Bool(|_, _| {}), "mogi always does"),
        "send small packets at once").restart(),
    row("sys_interval", Global, "seconds, up to 65535; 0: none", "10",
        Works(Number(range(0, 65_535), |to, n| to.config.sys_interval_s = n as u64)),
        "how often the `$SYS` topics are published"),
    row("upgrade_outgoing_qos", Global, BOOL, "false",
        Works(Bool(|to, yes| to.config.core.upgrade_outgoing_qos = yes)),
        "deliver at the subscription's QoS even what was published at a lower one"),
    row("user", Global, "a name", "mosquitto, else nobody",
        Works(Text(|to, text| to.config.user = text)),
        "who to become when started by root; `root`: stay root").restart(),
    row("websockets_headers_size", Global, "bytes, up to 65535", "4096",
        Works(Number(range(0, 65_535).or(WRONG_BUFFER), |to, n| {
            to.config.max_head_bytes = (n as usize).max(1024);
        })),
        "bytes the HTTP request of a WebSocket may have; at least 1024"),
    row("websockets_log_level", Global, "a number", "0",
        NoEffect(Other(|_, _| Ok(())), "mogi does not use libwebsockets"),
        "log level of libwebsockets"),
];
