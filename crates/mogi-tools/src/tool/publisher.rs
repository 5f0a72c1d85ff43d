//! What publishing one message and publishing lines have in common.

use super::link::Link;
use super::status::Status;
use crate::config::Config;
use crate::reason::{exit, name};
use crate::report;
use mogi_client::{Event, PublishError, PublishRequest};
use mogi_codec::{Properties, PropertyBuf, PropertyId, QoS, Reason};

/// Bytes that may wait for the socket before more is published.
const OUTPUT_MAX: usize = 256 * 1024;

/// A connection that publishes.
pub(super) struct Publisher<'a> {
    pub(super) link: Link<'a>,
    pub(super) status: Status,
    topic: &'a str,
    /// What the broker takes of `-r` and of the `-D publish` properties.
    retain: bool,
    properties: PropertyBuf,
}

/// What happened, as far as a publisher cares.
pub(super) enum Told {
    /// The broker accepted the connection.
    Connected,
    /// A message of QoS 1 or 2 is done.
    Delivered,
    /// The connection is over: an exit code, and what to say.
    Ended(i32, String),
    /// The broker refused the connection, which was said.
    Refused(i32),
}

impl<'a> Publisher<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The exit code; why was said.
    pub(super) fn open(config: &'a Config, long: bool) -> Result<Self, i32> {
        let long = long && !config.quiet;
        Ok(Self {
            link: Link::open(config)?,
            status: Status::new(long, config.qos != QoS::AtMostOnce),
            topic: config.topic().unwrap_or_default(),
            retain: config.retain,
            properties: config.properties.publish.clone(),
        })
    }

    /// What happened; `None` when it is time to wait.
    pub(super) fn next(&mut self) -> Option<Told> {
        loop {
            let config = self.link.config;
            let (event, client) = match self.link.driver.next_event() {
                Ok(None) => return None,
                Ok(Some(event)) => event,
                Err(error) => {
                    let (code, text) = report::ended(&error);
                    return Some(Told::Ended(code, text));
                }
            };
            report::trace(client, &mut self.link.output);
            match event {
                Event::Connected { .. } => {
                    self.adapt();
                    return Some(Told::Connected);
                }
                Event::Refused { code, .. } => {
                    self.status.clear();
                    self.link.output.flush();
                    report::refused(config, code);
                    report::error(config, report::refused_again(config.version, code));
                    return Some(Told::Refused(i32::from(code)));
                }
                Event::Published { packet_id, reason, properties } => {
                    self.status.acknowledged();
                    if reason.is_error() {
                        self.status.failed();
                        self.status.clear();
                        self.link.output.flush();
                        warn_failed(config, packet_id, reason, properties);
                    }
                    return Some(Told::Delivered);
                }
                Event::Disconnected { reason, .. } => {
                    let text = match reason {
                        Reason::Success => String::new(),
                        reason => format!(" ({})", name(reason as u8)),
                    };
                    let text = format!("Error: The client is not currently connected{text}");
                    return Some(Told::Ended(exit::NOT_CONNECTED, text));
                }
                Event::Message(_) | Event::Subscribed { .. } | Event::Unsubscribed { .. } => {}
            }
        }
    }

    /// Publishes a message; `false` if it has to wait.
    ///
    /// # Errors
    /// The exit code, and what to say: the broker does not take such messages.
    pub(super) fn publish(&mut self, payload: &[u8]) -> Result<bool, (i32, String)> {
        if !self.may_publish() {
            return Ok(false);
        }
        let request = PublishRequest {
            topic: self.topic,
            payload,
            qos: self.link.config.qos,
            retain: self.retain,
            properties: if self.link.config.version.is_v5() {
                self.properties.as_properties()
            } else {
                Properties::default()
            },
        };
        let now_ms = self.link.driver.now_ms();
        let client = self.link.driver.client_mut();
        let result = client.publish(now_ms, &request);
        report::trace(client, &mut self.link.output);
        match result {
            Ok(_) => {
                self.status.sent();
                Ok(true)
            }
            Err(PublishError::WindowFull | PublishError::NotConnected) => Ok(false),
            Err(PublishError::QosNotSupported { .. }) => Err((
                exit::LOST,
                "Error: Message QoS not supported on broker, try a lower QoS.".to_owned(),
            )),
            Err(error) => Err((exit::LOST, format!("Error: Message not sent: {error}."))),
        }
    }

    /// Whether [`Self::publish`] would not have to wait.
    pub(super) fn may_publish(&self) -> bool {
        let client = self.link.driver.client();
        let window = self.link.config.qos == QoS::AtMostOnce || client.room() > 0;
        client.is_connected() && window && client.output().len() < OUTPUT_MAX
    }

    /// Ends with an error.
    pub(super) fn fail(&mut self, code: i32, text: &str) -> i32 {
        self.status.summary();
        self.link.error(text);
        code
    }

    /// Ends well, unless the last bytes could not be sent.
    pub(super) fn finish(&mut self) -> i32 {
        match self.link.finish(Reason::Success) {
            Ok(()) => {
                self.status.summary();
                0
            }
            Err(error) => {
                let (code, text) = report::ended(&error);
                self.fail(code, &text)
            }
        }
    }

    /// Leaves out what this broker cannot do and the message does not need: a topic alias only
    /// saves bytes; `-r` is given up with a warning.
    fn adapt(&mut self) {
        let limits = self.link.driver.client().limits();
        let config = self.link.config;
        self.retain = config.retain && limits.retain_available;
        if config.retain && !self.retain {
            let warning = "Warning: the broker keeps no retained messages; sent without -r.";
            self.link.error(warning);
        }
        self.properties = PropertyBuf::new();
        let given = config.properties.publish.as_properties();
        let alias = given.int(PropertyId::TopicAlias).unwrap_or(0);
        let alias_fits = alias <= u32::from(limits.topic_alias_max);
        for property in given {
            if property.id != PropertyId::TopicAlias || alias_fits {
                self.properties.push(property);
            }
        }
    }
}

fn warn_failed(config: &Config, packet_id: u16, reason: Reason, properties: Properties<'_>) {
    let why = name(reason as u8);
    report::error(config, &format!("Warning: Publish {packet_id} failed: {why}."));
    if let Some(text) = properties.str(PropertyId::ReasonString) {
        report::error(config, text);
    }
}
