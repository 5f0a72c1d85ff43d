//! Reason codes in words, and exit codes: both are read by scripts.

use mogi_codec::Version;

/// Exit codes of Mosquitto's tools: the `MOSQ_ERR_…` numbers of libmosquitto(3).
pub(crate) mod exit {
    /// Wrong usage, or no way to the broker.
    pub(crate) const FAILED: i32 = 1;
    /// The broker broke the protocol.
    pub(crate) const PROTOCOL: i32 = 2;
    /// The broker ended the connection with a DISCONNECT.
    pub(crate) const NOT_CONNECTED: i32 = 4;
    /// The connection was lost.
    pub(crate) const LOST: i32 = 7;
    /// The broker did not answer within the keep alive.
    pub(crate) const KEEP_ALIVE: i32 = 19;
    /// `-W` ran out.
    pub(crate) const TIMED_OUT: i32 = 27;
    /// `-W` or a signal, before the broker accepted the connection.
    pub(crate) const NEVER_CONNECTED: i32 = 255;
}

/// The name the specification gives a reason code (MQTT 5.0, table 2.6).
pub(crate) const fn name(code: u8) -> &'static str {
    match code {
        0x00 => "Success",
        0x01 => "Granted QoS 1",
        0x02 => "Granted QoS 2",
        0x04 => "Disconnect with Will Message",
        0x10 => "No matching subscribers",
        0x11 => "No subscription existed",
        0x18 => "Continue authentication",
        0x19 => "Re-authenticate",
        0x80 => "Unspecified error",
        0x81 => "Malformed Packet",
        0x82 => "Protocol Error",
        0x83 => "Implementation specific error",
        0x84 => "Unsupported Protocol Version",
        0x85 => "Client Identifier not valid",
        0x86 => "Bad User Name or Password",
        0x87 => "Not authorized",
        0x88 => "Server unavailable",
        0x89 => "Server busy",
        0x8A => "Banned",
        0x8B => "Server shutting down",
        0x8C => "Bad authentication method",
        0x8D => "Keep Alive timeout",
        0x8E => "Session taken over",
        0x8F => "Topic Filter invalid",
        0x90 => "Topic Name invalid",
        0x91 => "Packet Identifier in use",
        0x92 => "Packet Identifier not found",
        0x93 => "Receive Maximum exceeded",
        0x94 => "Topic Alias invalid",
        0x95 => "Packet too large",
        0x96 => "Message rate too high",
        0x97 => "Quota exceeded",
        0x98 => "Administrative action",
        0x99 => "Payload format invalid",
        0x9A => "Retain not supported",
        0x9B => "QoS not supported",
        0x9C => "Use another server",
        0x9D => "Server moved",
        0x9E => "Shared Subscriptions not supported",
        0x9F => "Connection rate exceeded",
        0xA0 => "Maximum connect time",
        0xA1 => "Subscription identifiers not supported",
        0xA2 => "Wildcard Subscriptions not supported",
        _ => "Unknown reason",
    }
}

/// Why a connection was refused.
pub(crate) fn refusal(version: Version, code: u8) -> String {
    if version.is_v5() {
        let hint = match code {
            0x84 => ". Try connecting to an MQTT v5 broker, or use MQTT v3.x mode.",
            _ => "",
        };
        return format!("{}{hint}", name(code));
    }
    // The return codes of 3.1.1, table 3.1.
    let why = match code {
        1 => "unacceptable protocol version",
        2 => "identifier rejected",
        3 => "broker unavailable",
        4 => "bad user name or password",
        5 => "not authorised",
        _ => "unknown reason",
    };
    format!("Connection Refused: {why}")
}
