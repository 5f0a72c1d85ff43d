//! What can be decided about a CONNECT before it is known whether there is a session: run by the
//! worker that accepted the socket, which then hands it to the worker that owns the client id.

use crate::config::{CoreConfig, ListenerConfig};
use crate::pass::Pass;
use mogi_codec::{
    Connack, Connect, DecodeError, Header, PacketKind, Properties, PropertyBuf, PropertyId, Reason,
    Version,
};

/// Bytes a CONNECT may have: nobody is known yet, so nobody is believed (CVE-2017-7651).
pub const MAX_CONNECT_BYTES: usize = 100_000;

/// A client that may come in.
#[derive(Debug)]
pub struct Admitted {
    /// Its client id; the session's owner is found by it.
    pub client_id: String,
    /// Whether the broker made the id.
    pub assigned: bool,
    /// What it comes in with. Whoever lets it in sets it.
    pub pass: Pass,
}

/// A client that may not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// What it is told before its socket is closed; may be nothing ([MQTT-3.1.4-1] of 3.1.1).
    pub answer: Vec<u8>,
    /// Details for the log, if there is more to say than the reason.
    pub detail: Option<String>,
    /// Why, as the line about the disconnect says it.
    pub reason: &'static str,
}

impl Refused {
    fn silent(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { answer: Vec::new(), detail: Some(detail.into()), reason }
    }

    /// A refusal with a CONNACK ([MQTT-3.2.2-7]); session present is 0 ([MQTT-3.2.2-6]).
    pub(crate) fn with_connack(version: Version, code: Reason, reason: &'static str) -> Self {
        let mut answer = Vec::new();
        let byte = if version.is_v5() { code as u8 } else { code.as_v3_connack() };
        Connack { session_present: false, code: byte, properties: Properties::default() }
            .encode(version, &mut answer);
        Self { answer, detail: None, reason }
    }

    fn detailed(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Whether the first bytes of a connection can become a CONNECT of a size that is taken; the
/// whole packet's length once that is known.
///
/// # Errors
/// The connection is to be closed.
pub fn connect_len(bytes: &[u8]) -> Result<Option<usize>, Refused> {
    // [MQTT-3.1.0-1]: judged by the first byte, before any length is believed (CVE-2023-0809).
    if let Some(&first) = bytes.first()
        && first != (PacketKind::Connect as u8) << 4
    {
        let detail = match PacketKind::from_first_byte(first) {
            Some(PacketKind::Connect) => {
                format!("CONNECT with non-zero reserved flags ({first:02X}).")
            }
            _ => format!("First packet not CONNECT ({first:02X})."),
        };
        return Err(Refused::silent("protocol error", detail));
    }
    let header = Header::parse(bytes)
        .map_err(|error| Refused::silent("protocol error", error.to_string()))?;
    match header {
        Some(header) if header.packet_len() > MAX_CONNECT_BYTES => Err(Refused::silent(
            "oversize packet",
            format!("CONNECT of {} bytes, more than {MAX_CONNECT_BYTES}.", header.packet_len()),
        )),
        Some(header) => Ok(Some(header.packet_len())),
        None => Ok(None),
    }
}

/// Judges a whole CONNECT packet. `fresh_id` makes the random part of an id for clients that
/// bring none.
///
/// # Errors
/// The client is refused, and told why as far as the protocol allows.
pub fn admit(
    packet: &[u8],
    cfg: &CoreConfig,
    listener: &ListenerConfig,
    fresh_id: impl FnOnce() -> String,
) -> Result<Admitted, Refused> {
    let connect = decode(packet)?;
    let version = connect.version;
    if listener.accept_versions & 1 << version as u8 == 0 {
        return Err(Refused::with_connack(
            version,
            Reason::UnsupportedProtocolVersion,
            "protocol version not accepted on this listener",
        ));
    }
    check_keep_alive(&connect, cfg)?;
    check_authentication(&connect, listener)?;
    check_will(&connect, cfg, listener)?;
    if listener.use_username_as_clientid {
        let Some(username) = connect.username else {
            let code = Reason::BadUserNameOrPassword;
            return Err(Refused::with_connack(version, code, "not authorised")
                .detailed("use_username_as_clientid needs a user name"));
        };
        let client_id = username.to_owned();
        return Ok(Admitted { client_id, assigned: false, pass: Pass::default() });
    }
    if connect.client_id.is_empty() {
        return assign_id(&connect, listener, fresh_id);
    }
    if let Some(prefix) = &cfg.clientid_prefixes
        && !connect.client_id.starts_with(prefix)
    {
        // [MQTT-3.1.3-8]; 3.1.1: [MQTT-3.1.3-9]
        let code = Reason::ClientIdentifierNotValid;
        return Err(Refused::with_connack(version, code, "not authorised")
            .detailed(format!("client id does not begin with '{prefix}' (clientid_prefixes)")));
    }
    let client_id = connect.client_id.to_owned();
    Ok(Admitted { client_id, assigned: false, pass: Pass::default() })
}

/// User name and password of a CONNECT packet that was admitted.
pub fn credentials(packet: &[u8]) -> (Option<&str>, Option<&[u8]>) {
    match decode(packet) {
        Ok(connect) => (connect.username, connect.password),
        Err(_) => (None, None),
    }
}

/// The topic of the will of a CONNECT packet that was admitted.
pub fn will_topic(packet: &[u8]) -> Option<&str> {
    decode(packet).ok()?.will.map(|will| will.topic)
}

/// Method and data of the enhanced authentication an admitted CONNECT packet begins, if it does
/// (section 4.12).
pub fn enhanced(packet: &[u8]) -> Option<(&str, &[u8])> {
    let properties = decode(packet).ok()?.properties;
    let method = properties.str(PropertyId::AuthenticationMethod)?;
    Some((method, properties.bytes(PropertyId::AuthenticationData).unwrap_or_default()))
}

/// A CONNECT packet with another user name, and no password any more; `None`: it is none.
pub fn renamed(packet: &[u8], username: &str) -> Option<Vec<u8>> {
    let connect = decode(packet).ok()?;
    let mut bytes = Vec::new();
    Connect { username: Some(username), password: None, ..connect }.encode(&mut bytes);
    Some(bytes)
}

/// The answer to an admitted client that may not come in ([MQTT-3.2.2-7]).
pub fn deny(packet: &[u8], code: Reason) -> Refused {
    match decode(packet) {
        Ok(connect) => Refused::with_connack(connect.version, code, "not authorised"),
        Err(refused) => refused,
    }
}

/// Decodes a CONNECT packet.
pub(crate) fn decode(packet: &[u8]) -> Result<Connect<'_>, Refused> {
    let header = Header::parse(packet).ok().flatten();
    let body = header.and_then(|header| packet.get(header.header_len..header.packet_len()));
    let Some(body) = body else {
        return Err(Refused::silent("protocol error", "CONNECT is cut short."));
    };
    Connect::decode(body).map_err(|error| refuse_undecodable(body, error))
}

/// A CONNECT that breaks the rules: 5.0 clients are told with a CONNACK where their version is
/// known and the error lies in what only 5.0 has; otherwise the connection is closed
/// ([MQTT-3.1.4-1]).
fn refuse_undecodable(body: &[u8], error: DecodeError) -> Refused {
    let detail = format!("CONNECT: {error}.");
    let name_len = body.get(1).copied().map_or(0, usize::from);
    let level = body.get(2 + name_len).copied().unwrap_or(0) & 0x7F;
    let name = body.get(2..2 + name_len).unwrap_or_default();
    if error.reason == Reason::UnsupportedProtocolVersion {
        // [MQTT-3.1.2-1]: an unknown protocol gets no answer; [MQTT-3.1.2-2]: a level of a known
        // one gets 0x01 where 3.x was meant, 0x84 otherwise.
        let code = Reason::UnsupportedProtocolVersion;
        let refused = match (name, level) {
            (b"MQIsdp", _) | (b"MQTT", 3) => {
                Refused::with_connack(Version::V311, code, "protocol error")
            }
            (b"MQTT", _) => Refused::with_connack(Version::V5, code, "protocol error"),
            _ => Refused::silent("protocol error", ""),
        };
        return refused.detailed(detail);
    }
    let v5 = name == b"MQTT" && level == 5;
    let in_flags = body.get(3 + name_len).is_none_or(|flags| flags & 1 != 0);
    if v5 && !in_flags {
        return Refused::with_connack(Version::V5, error.reason, "protocol error").detailed(detail);
    }
    Refused::silent("protocol error", detail)
}

/// `max_keepalive`: 5.0 clients are told a smaller one, the others refused.
fn check_keep_alive(connect: &Connect<'_>, cfg: &CoreConfig) -> Result<(), Refused> {
    let limit = cfg.max_keepalive_s;
    let keep_alive = connect.keep_alive_s;
    if limit == 0 || connect.version.is_v5() || keep_alive != 0 && keep_alive <= limit {
        return Ok(());
    }
    let code = Reason::ClientIdentifierNotValid;
    Err(Refused::with_connack(connect.version, code, "keep alive above max_keepalive")
        .detailed(format!("keep alive {keep_alive} s is not within max_keepalive {limit} s")))
}

fn check_authentication(connect: &Connect<'_>, listener: &ListenerConfig) -> Result<(), Refused> {
    let version = connect.version;
    let method = connect.properties.str(PropertyId::AuthenticationMethod);
    if method.is_some_and(|method| !listener.methods.contains(&method)) {
        // [MQTT-4.12.0-1]
        let code = Reason::BadAuthenticationMethod;
        return Err(Refused::with_connack(version, code, "bad authentication method"));
    }
    if method.is_none() && connect.properties.has(PropertyId::AuthenticationData) {
        let code = Reason::ProtocolError;
        return Err(Refused::with_connack(version, code, "protocol error")
            .detailed("authentication data without a method"));
    }
    if connect.username.is_none() && method.is_none() && !listener.allow_anonymous {
        return Err(Refused::with_connack(version, Reason::NotAuthorized, "not authorised"));
    }
    Ok(())
}

fn check_will(
    connect: &Connect<'_>,
    cfg: &CoreConfig,
    listener: &ListenerConfig,
) -> Result<(), Refused> {
    let Some(will) = connect.will else {
        return Ok(());
    };
    let version = connect.version;
    let refuse = |code| Err(Refused::with_connack(version, code, "will not allowed"));
    if will.qos > listener.max_qos {
        return Err(refuse_feature(version, Reason::QosNotSupported, listener)); // [MQTT-3.2.2-12]
    }
    if will.retain && !cfg.retain_available {
        // [MQTT-3.2.2-13]
        return Err(refuse_feature(version, Reason::RetainNotSupported, listener));
    }
    let limit = cfg.message_size_limit;
    if limit != 0 && will.payload.len() > limit as usize {
        // Mosquitto tells 3.x clients that they are not authorised.
        return match version {
            Version::V5 => refuse(Reason::PacketTooLarge),
            _ => refuse(Reason::NotAuthorized),
        };
    }
    if will.topic.starts_with("$CONTROL/") {
        return refuse(Reason::NotAuthorized);
    }
    if too_deep(will.topic, cfg.max_topic_levels) {
        return refuse(Reason::TopicNameInvalid);
    }
    Ok(())
}

/// A will that asks for what the broker was told not to offer. 3.x has no code for that, so there
/// is no CONNACK ([MQTT-3.2.2-6] of 3.1.1).
fn refuse_feature(version: Version, code: Reason, listener: &ListenerConfig) -> Refused {
    let why = "will not allowed";
    if !version.is_v5() {
        return Refused::silent(why, code.text());
    }
    let mut properties = PropertyBuf::new();
    if code == Reason::QosNotSupported {
        properties.int(PropertyId::MaximumQos, listener.max_qos as u32);
    }
    let mut answer = Vec::new();
    let properties = properties.as_properties();
    let connack = Connack { session_present: false, code: code as u8, properties };
    connack.encode(version, &mut answer);
    Refused { answer, detail: None, reason: why }
}

fn assign_id(
    connect: &Connect<'_>,
    listener: &ListenerConfig,
    fresh_id: impl FnOnce() -> String,
) -> Result<Admitted, Refused> {
    let version = connect.version;
    let needs_id = match version {
        Version::V31 => true,
        Version::V311 => !connect.clean_start,
        Version::V5 => false,
    };
    if needs_id || !listener.allow_zero_length_clientid {
        // [MQTT-3.1.3-8] of 3.1.1
        let code = Reason::ClientIdentifierNotValid;
        return Err(Refused::with_connack(version, code, "protocol error")
            .detailed("CONNECT with zero length clientid when forbidden."));
    }
    let client_id = format!("{}{}", listener.auto_id_prefix, fresh_id());
    Ok(Admitted { client_id, assigned: true, pass: Pass::default() })
}

/// Whether a topic or filter has more level separators than are taken; 0: any number.
pub(crate) fn too_deep(topic: &str, max_levels: usize) -> bool {
    max_levels != 0 && topic.bytes().filter(|&byte| byte == b'/').count() > max_levels
}
