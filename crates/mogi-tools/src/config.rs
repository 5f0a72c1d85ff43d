//! What a command line asks for.

use crate::format::Template;
use mogi_client::{Proxy, Psk, TlsOptions};
use mogi_codec::{PropertyBuf, QoS, RetainHandling, Version};
use std::path::PathBuf;
use std::time::Duration;

/// One of the tools whose flags stand in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Pub,
    Sub,
    Rr,
    Ctrl,
}

impl Tool {
    /// The name of Mosquitto's tool, which is also that of its options file.
    pub(crate) const fn stock_name(self) -> &'static str {
        match self {
            Self::Pub => "mosquitto_pub",
            Self::Sub => "mosquitto_sub",
            Self::Rr => "mosquitto_rr",
            Self::Ctrl => "mosquitto_ctrl",
        }
    }
}

/// Where the payload comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// `-m` and `-n`: these bytes.
    Bytes(Vec<u8>),
    /// `-f`: what the file holds.
    File(PathBuf),
    /// `-s`: what the standard input holds.
    Stdin,
    /// `-l`: every line of the standard input is a message.
    Lines,
}

/// The will's parts as they are given; it is one only with a topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct WillConfig {
    pub(crate) topic: Option<String>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// The `-D` properties of each packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct PropertyConfig {
    pub(crate) connect: PropertyBuf,
    pub(crate) publish: PropertyBuf,
    pub(crate) will: PropertyBuf,
    pub(crate) subscribe: PropertyBuf,
    pub(crate) unsubscribe: PropertyBuf,
    pub(crate) disconnect: PropertyBuf,
}

/// What the flags say about TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsConfig {
    /// It is asked for, by a flag or a URL.
    pub(crate) wanted: bool,
    pub(crate) cafile: Option<PathBuf>,
    pub(crate) capath: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) os_certs: bool,
    pub(crate) only_tls13: bool,
    pub(crate) alpn: Option<String>,
    pub(crate) key_log: Option<PathBuf>,
    pub(crate) ciphers: Option<String>,
    pub(crate) psk: Option<Vec<u8>>,
    pub(crate) psk_identity: Option<String>,
}

/// All settings of `pub`, `sub` and `rr`.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) tool: Tool,

    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) unix: Option<PathBuf>,
    pub(crate) bind: Option<String>,
    pub(crate) nodelay: bool,
    pub(crate) no_tls: bool,
    pub(crate) tls: TlsConfig,
    pub(crate) websocket: bool,
    pub(crate) proxy: Option<Proxy>,
    /// The first flag that asks for what is not built yet, and what that is.
    pub(crate) not_built: Option<(String, &'static str)>,

    pub(crate) version: Version,
    pub(crate) client_id: Option<String>,
    pub(crate) id_prefix: Option<String>,
    pub(crate) disable_clean_session: bool,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) keep_alive_s: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) will: WillConfig,
    pub(crate) properties: PropertyConfig,

    /// Topics to publish to (the last counts) or filters to subscribe to.
    pub(crate) topics: Vec<String>,
    pub(crate) filter_out: Vec<String>,
    pub(crate) unsubscribe: Vec<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) payload: Option<Payload>,
    pub(crate) repeat: u32,
    pub(crate) repeat_delay: Duration,
    pub(crate) inflight_max: u16,

    pub(crate) retain_handling: RetainHandling,
    pub(crate) retain_as_published: bool,
    pub(crate) no_retained: bool,
    pub(crate) retained_only: bool,
    pub(crate) remove_retained: bool,
    pub(crate) count: Option<u32>,
    pub(crate) exit_when_subscribed: bool,
    /// Of 1000 messages, so many are printed.
    pub(crate) random_permille: Option<u32>,
    pub(crate) timeout: Option<Duration>,

    pub(crate) debug: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    pub(crate) no_newline: bool,
    pub(crate) pretty: bool,
    pub(crate) format: Option<Template>,
    pub(crate) watch: bool,
    pub(crate) message_rate: bool,
    pub(crate) latency: bool,
}

impl Config {
    pub(crate) fn new(tool: Tool) -> Self {
        Self {
            tool,
            host: None,
            port: None,
            unix: None,
            bind: None,
            nodelay: false,
            no_tls: false,
            tls: TlsConfig::default(),
            websocket: false,
            proxy: None,
            not_built: None,
            version: match tool {
                Tool::Rr | Tool::Ctrl => Version::V5,
                Tool::Pub | Tool::Sub => Version::V311,
            },
            client_id: None,
            id_prefix: None,
            disable_clean_session: false,
            session_expiry_s: None,
            keep_alive_s: 60,
            username: None,
            password: None,
            will: WillConfig::default(),
            properties: PropertyConfig::default(),
            topics: Vec::new(),
            filter_out: Vec::new(),
            unsubscribe: Vec::new(),
            response_topic: None,
            qos: QoS::AtMostOnce,
            retain: false,
            payload: None,
            repeat: 1,
            repeat_delay: Duration::ZERO,
            inflight_max: 20,
            retain_handling: RetainHandling::Send,
            retain_as_published: false,
            no_retained: false,
            retained_only: false,
            remove_retained: false,
            count: None,
            exit_when_subscribed: false,
            random_permille: None,
            timeout: None,
            debug: false,
            quiet: false,
            verbose: false,
            no_newline: false,
            pretty: false,
            format: None,
            watch: false,
            message_rate: false,
            latency: false,
        }
    }

    /// The port to connect to.
    pub(crate) fn actual_port(&self) -> u16 {
        self.port.unwrap_or(if self.tls.wanted { 8883 } else { 1883 })
    }

    /// How the connection is secured, if it is: where it is asked for, and at port 8883, as
    /// Mosquitto's tools do.
    pub(crate) fn tls_options(&self) -> Option<TlsOptions> {
        let tls = &self.tls;
        let usual = self.unix.is_none() && self.actual_port() == 8883;
        if self.no_tls || !tls.wanted && !usual {
            return None;
        }
        let named = tls.cafile.is_some() || tls.capath.is_some();
        let psk = tls.psk_identity.clone().zip(tls.psk.clone());
        Some(TlsOptions {
            cafile: tls.cafile.clone(),
            capath: tls.capath.clone(),
            os_certs: tls.os_certs || !named,
            identity: tls.cert.clone().zip(tls.key.clone()),
            insecure: tls.insecure,
            only_tls13: tls.only_tls13,
            alpn: tls.alpn.clone(),
            key_log: tls.key_log.clone(),
            ciphers: tls.ciphers.clone(),
            ciphers_tls13: None,
            psk: psk.map(|(identity, key)| Psk { identity, key }),
        })
    }

    /// Remembers the first flag that asks for what is not built yet.
    pub(crate) fn later(&mut self, flag: &str, what: &'static str) {
        if self.not_built.is_none() {
            self.not_built = Some((flag.to_owned(), what));
        }
    }

    /// The topic to publish to.
    pub(crate) fn topic(&self) -> Option<&str> {
        self.topics.last().map(String::as_str)
    }

    /// The host to show: what was asked for, or the default.
    pub(crate) fn shown_host(&self) -> String {
        match (&self.unix, &self.host) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(host)) => host.clone(),
            (None, None) => "localhost".to_owned(),
        }
    }
}
