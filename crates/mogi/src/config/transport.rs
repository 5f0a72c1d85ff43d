//! Options about what is between a socket and MQTT: TLS, WebSocket, PROXY headers.

use super::builder::Builder;
use super::value::{Line, Problem};
use super::{Config, Listener, Security};
use crate::broker::plan::{PskPlan, TlsPlan, TransportPlan};
use crate::net::shared::NameFrom;
use mogi_client::KeyFile;
use mogi_transport::proxy::ProxyRules;
use mogi_transport::psk::PskRules;
use mogi_transport::tls_config::TlsRules;
use mogi_transport::upgrade::WebSocketRules;
use rustls::{KeyLog, NoKeyLog};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Outcome = Result<(), Problem>;

/// These options of a listener. What they mean is said in the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transport {
    pub(crate) cafile: Option<String>,
    pub(crate) capath: Option<String>,
    pub(crate) certfile: Option<String>,
    pub(crate) keyfile: Option<String>,
    pub(crate) crlfile: Option<String>,
    pub(crate) ciphers: Option<String>,
    pub(crate) ciphers_tls13: Option<String>,
    pub(crate) only_tls13: bool,
    pub(crate) psk_hint: Option<String>,
    pub(crate) require_certificate: bool,
    pub(crate) ignore_dates: bool,
    pub(crate) identity_as_username: bool,
    pub(crate) subject_as_username: bool,
    pub(crate) websockets: bool,
    pub(crate) origins: Vec<String>,
    pub(crate) http_dir: Option<PathBuf>,
    /// `enable_proxy_protocol`; 0: off.
    pub(crate) proxy: u8,
    pub(crate) proxy_require_tls: bool,
}

impl Transport {
    const fn has_tls(&self) -> bool {
        self.certfile.is_some() || self.psk_hint.is_some()
    }
}

pub(super) fn protocol(to: &mut Builder, line: &Line) -> Outcome {
    let websockets = match line.word()? {
        "mqtt" => false,
        "websockets" => true,
        "http_api" => {
            return Err(Problem::new(
                "Error: 'protocol http_api' is not built into mogi yet. Remove this listener.",
            ));
        }
        other => return Err(line.invalid(other)),
    };
    to.listener().transport.websockets = websockets;
    Ok(())
}

pub(super) fn enable_proxy_protocol(to: &mut Builder, line: &Line) -> Outcome {
    let version = u8::try_from(line.number()?).ok().filter(|version| (1..=2).contains(version));
    to.listener().transport.proxy =
        version.ok_or_else(|| Problem::new("Error: enable_proxy_protocol must be 1 or 2."))?;
    Ok(())
}

pub(super) fn http_dir(to: &mut Builder, line: &Line) -> Outcome {
    let text = line.text()?;
    let path = PathBuf::from(text);
    if !path.is_dir() {
        return Err(Problem::new(format!("Error: http_dir '{text}' is not a folder.")));
    }
    to.listener().transport.http_dir = Some(path);
    Ok(())
}

pub(super) fn tls_version(to: &mut Builder, line: &Line) -> Outcome {
    to.listener().transport.only_tls13 = match line.text()? {
        "tlsv1.2" => false,
        "tlsv1.3" => true,
        old @ ("tlsv1" | "tlsv1.0" | "tlsv1.1") => {
            return Err(Problem::new(format!(
                "Error: 'tls_version {old}' is broken and not built into mogi: use tlsv1.2."
            )));
        }
        other => return Err(line.invalid(other)),
    };
    Ok(())
}

pub(super) fn websockets_origin(to: &mut Builder, line: &Line) -> Outcome {
    const MAX_ORIGINS: usize = 1000;
    let origin = line.text()?.to_owned();
    let origins = &mut to.listener().transport.origins;
    if origins.len() == MAX_ORIGINS {
        return Err(Problem::new(format!("Error: more than {MAX_ORIGINS} of websockets_origin.")));
    }
    origins.push(origin);
    Ok(())
}

/// Whether the options of each listener go together.
///
/// # Errors
/// The first of what does not.
pub(super) fn check(config: &Config) -> Outcome {
    let own = config.listeners.iter().map(|listener| &listener.own);
    let psk = own.chain([&config.security]).any(|security| security.psk_file.is_some());
    if psk && cfg!(not(feature = "openssl")) {
        return Err(Problem::new(format!("Error: 'psk_file' {NO_PSK}")));
    }
    for listener in &config.listeners {
        check_one(&listener.transport).map_err(|text| {
            // As Mosquitto says it, and where.
            let place = &listener.place;
            Problem::new(format!("Error: {text} (The listener at {place}.)"))
        })?;
    }
    Ok(())
}

const NO_PSK: &str =
    "is not built into this mogi: it needs one that was built with the feature 'openssl'.";

fn check_one(transport: &Transport) -> Result<(), String> {
    let Transport { certfile, keyfile, cafile, capath, .. } = transport;
    if certfile.is_some() != keyfile.is_some() {
        return Err(
            "Both certfile and keyfile must be provided to enable a TLS listener.".to_owned()
        );
    }
    let tls = certfile.is_some();
    if transport.psk_hint.is_some() {
        if tls || cafile.is_some() || capath.is_some() || transport.require_certificate {
            return Err(
                "Cannot use both certificate and psk encryption in a single listener.".to_owned()
            );
        }
        if transport.proxy == 2 {
            return Err("psk_hint cannot be used with `enable_proxy_protocol 2`.".to_owned());
        }
        if cfg!(not(feature = "openssl")) {
            return Err(format!("'psk_hint' {NO_PSK}"));
        }
    }
    if cafile.is_some() && !tls {
        return Err("cafile specified without certfile and keyfile.".to_owned());
    }
    if tls && transport.require_certificate && cafile.is_none() && capath.is_none() {
        return Err(
            "require_certificate needs a cafile or capath: who signs the certificates?".to_owned()
        );
    }
    if transport.proxy == 2 {
        if tls {
            return Err(
                "certfile and keyfile cannot be used with `enable_proxy_protocol 2`.".to_owned()
            );
        }
        if transport.subject_as_username {
            return Err(
                "use_subject_as_username cannot be used with `enable_proxy_protocol 2`.".to_owned()
            );
        }
    }
    Ok(())
}

/// What is accepted because Mosquitto accepts it, but hardly does what was meant.
pub(super) fn doubts(config: &Config) -> impl Iterator<Item = String> {
    config.listeners.iter().flat_map(|listener| {
        let transport = &listener.transport;
        let psk = transport.psk_hint.is_some();
        let certified = transport.has_tls() && transport.require_certificate;
        let known = certified || (psk && !transport.subject_as_username);
        let proxied = transport.proxy == 2;
        let named = transport.identity_as_username || transport.subject_as_username;
        let said = [
            (
                transport.require_certificate && !transport.has_tls() && !proxied,
                "asks for certificates and has no TLS: 'require_certificate' has no effect.",
            ),
            (
                named && !transport.has_tls() && !proxied,
                "takes user names from certificates, and has no TLS: that has no effect.",
            ),
            (
                named && transport.has_tls() && !known,
                "takes user names from certificates, and asks for none: it lets nobody in.",
            ),
            (
                transport.proxy_require_tls && !proxied,
                "has 'proxy_protocol_v2_require_tls' without 'enable_proxy_protocol 2': no effect.",
            ),
            (
                transport.http_dir.is_some() && !transport.websockets,
                "has 'http_dir' without 'protocol websockets': no effect.",
            ),
        ];
        let place = listener.place.clone();
        said.into_iter()
            .filter_map(|(holds, what)| holds.then_some(what))
            .map(move |what| format!("Warning: The listener at {place} {what}"))
    })
}

/// That it can be written was seen at the start.
fn key_log(path: &Path) -> Arc<dyn KeyLog> {
    match KeyFile::new(path) {
        Ok(file) => Arc::new(file),
        Err(_) => Arc::new(NoKeyLog {}),
    }
}

/// What is to be between a listener's sockets and MQTT.
pub(super) fn plan(config: &Config, listener: &Listener) -> TransportPlan {
    let transport = &listener.transport;
    let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
    let files = path(&transport.certfile).zip(path(&transport.keyfile));
    let tls = files.map(|(certfile, keyfile)| TlsPlan {
        prefix: "",
        certfile,
        keyfile,
        cafile: path(&transport.cafile),
        capath: path(&transport.capath),
        crlfile: path(&transport.crlfile),
        rules: TlsRules {
            only_tls13: transport.only_tls13,
            ciphers: transport.ciphers.clone(),
            ciphers_tls13: transport.ciphers_tls13.clone(),
            require_certificate: transport.require_certificate,
            ignore_dates: transport.ignore_dates,
            key_log: config.tls_keylog.as_deref().map(key_log),
        },
    });
    let none = Security::default();
    // Under per_listener_settings what stands above all listeners counts for none of them.
    let common = if config.per_listener_settings { &none } else { &config.security };
    let psk = transport.psk_hint.as_ref().map(|hint| PskPlan {
        file: listener.own.psk_file.as_ref().or(common.psk_file.as_ref()).map(PathBuf::from),
        rules: PskRules {
            hint: hint.clone(),
            only_tls13: transport.only_tls13,
            ciphers: transport.ciphers.clone(),
            ciphers_tls13: transport.ciphers_tls13.clone(),
        },
    });
    let proxy = (transport.proxy != 0).then(|| {
        let v2 = transport.proxy == 2;
        ProxyRules {
            v2,
            require_tls: v2 && transport.proxy_require_tls,
            require_certificate: v2 && transport.require_certificate,
        }
    });
    TransportPlan {
        proxy,
        tls,
        psk,
        websocket: transport.websockets.then(|| WebSocketRules {
            origins: transport.origins.clone(),
            max_head_bytes: config.max_head_bytes,
            forwarded_for: config.forwarded_for,
        }),
        http_dir: transport.http_dir.clone(),
        // Without TLS there are no certificates, and as with Mosquitto the options have no effect.
        name_from: match (transport.subject_as_username, transport.identity_as_username) {
            _ if !transport.has_tls() && transport.proxy != 2 => NameFrom::Connect,
            (true, _) => NameFrom::Subject,
            (false, true) if transport.psk_hint.is_some() => NameFrom::Identity,
            (false, true) => NameFrom::CommonName,
            (false, false) => NameFrom::Connect,
        },
    }
}

/// What `--test-config` says of them.
pub(super) fn describe(listener: &Listener) -> String {
    let transport = &listener.transport;
    let mut text = String::new();
    if transport.proxy != 0 {
        text.push_str(&format!(", PROXY protocol {}", transport.proxy));
    }
    if let Some(certfile) = &transport.certfile {
        let version = if transport.only_tls13 { "1.3" } else { "1.2 or later" };
        text.push_str(&format!(", TLS {version} with {certfile}"));
        if transport.require_certificate {
            text.push_str(" and a certificate of the client");
        }
    }
    if transport.psk_hint.is_some() {
        let version = if transport.only_tls13 { "1.3" } else { "1.2 or later" };
        text.push_str(&format!(", TLS {version} with shared keys"));
    }
    if transport.websockets {
        text.push_str(", WebSocket");
    }
    text
}
