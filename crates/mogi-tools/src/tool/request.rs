//! `rr`: publishes a request, and prints the response.

use super::link::Link;
use super::payload;
use super::printer::Printer;
use crate::config::Config;
use crate::reason::{exit, name};
use crate::report;
use mogi_client::{Client, Event, PublishError, PublishRequest};
use mogi_codec::{PropertyBuf, PropertyId, Reason, SubscribeFilter, SubscribeOptions};
use std::time::{Duration, Instant};

/// Runs `rr`; answers with the exit code.
pub(crate) fn run(config: &Config) -> i32 {
    let payload = match payload::load(config.payload.as_ref()) {
        Ok(payload) => payload.unwrap_or_default(),
        Err(what) => {
            eprintln!("{what}");
            return exit::FAILED;
        }
    };
    let link = match Link::open(config) {
        Ok(link) => link,
        Err(code) => return code,
    };
    let timeout_ms =
        config.timeout.map(|timeout| link.driver.now_ms() + timeout.as_millis() as u64);
    let mut request = Request { link, payload, sent: None };
    loop {
        let end = request.events().or_else(|| request.wait(timeout_ms));
        if let Some((code, reason)) = end {
            // It ends anyway; nothing the broker still owes is worth an error.
            let _ = request.link.finish(reason);
            return code;
        }
    }
}

struct Request<'a> {
    link: Link<'a>,
    payload: Vec<u8>,
    /// When the request was sent.
    sent: Option<Instant>,
}

/// The exit code, and the reason of the goodbye.
type End = (i32, Reason);

impl Request<'_> {
    fn events(&mut self) -> Option<End> {
        loop {
            let now_ms = self.link.driver.now_ms();
            let config = self.link.config;
            let output = &mut self.link.output;
            let (event, client) = match self.link.driver.next_event() {
                Ok(Some(told)) => told,
                Ok(None) => return None,
                Err(error) => {
                    let (code, text) = report::ended(&error);
                    self.link.error(&text);
                    return Some((code, Reason::Success));
                }
            };
            report::trace(client, output);
            let done = |code| Some((code, Reason::Success));
            let failed = match event {
                Event::Connected { .. } => {
                    subscribe(config, now_ms, client);
                    None
                }
                Event::Refused { code, .. } => {
                    output.flush();
                    return done(report::refused(config, code));
                }
                Event::Subscribed { codes, .. } => match codes.first() {
                    Some(code) if *code >= 0x80 => {
                        output.flush();
                        report::error(config, name(*code));
                        // Mosquitto's tool calls that a success.
                        return done(0);
                    }
                    _ => {
                        self.sent = Some(Instant::now());
                        publish(config, &self.payload, now_ms, client).err()
                    }
                },
                Event::Message(message) if message.retain && config.no_retained => None,
                Event::Message(message) => {
                    let took = self.sent.map(|sent| sent.elapsed());
                    Printer::default().print(config, &message, output);
                    if let Some(took) = took.filter(|_| config.latency) {
                        output.line(&format!("Latency: {}", latency(took)));
                    }
                    // Mosquitto's tool says goodbye without a word of it then.
                    self.link.leaves_silently = true;
                    return done(0);
                }
                Event::Disconnected { reason, .. } => {
                    let why = name(reason as u8);
                    Some((exit::LOST, format!("Error: The connection was lost ({why})")))
                }
                Event::Published { .. } | Event::Unsubscribed { .. } => None,
            };
            report::trace(client, output);
            if let Some((code, text)) = failed {
                self.link.error(&text);
                return done(code);
            }
        }
    }

    fn wait(&mut self, timeout_ms: Option<u64>) -> Option<End> {
        if let Err(error) = self.link.wait(timeout_ms, &[]) {
            let (code, text) = report::ended(&error);
            self.link.error(&text);
            return Some((code, Reason::Success));
        }
        if timeout_ms.is_some_and(|at_ms| self.link.driver.now_ms() >= at_ms) {
            self.link.error("Timed out");
            return Some((exit::TIMED_OUT, Reason::DisconnectWithWill));
        }
        None
    }
}

fn subscribe(config: &Config, now_ms: u64, client: &mut Client) {
    let mut options = SubscribeOptions { qos: config.qos, ..SubscribeOptions::default() };
    if config.version.is_v5() {
        options.retain_as_published = config.retain_as_published;
        options.retain_handling = config.retain_handling;
    }
    let filter = config.response_topic.as_deref().unwrap_or_default();
    let properties = config.properties.subscribe.as_properties();
    client.subscribe(now_ms, &[SubscribeFilter { filter, options }], properties);
}

fn publish(
    config: &Config,
    payload: &[u8],
    now_ms: u64,
    client: &mut Client,
) -> Result<(), (i32, String)> {
    let mut properties = PropertyBuf::new();
    if config.version.is_v5() {
        properties.clone_from(&config.properties.publish);
        if let Some(topic) = &config.response_topic {
            properties.str(PropertyId::ResponseTopic, topic);
        }
    }
    let request = PublishRequest {
        topic: config.topic().unwrap_or_default(),
        payload,
        qos: config.qos,
        retain: false,
        properties: properties.as_properties(),
    };
    match client.publish(now_ms, &request) {
        Ok(_) => Ok(()),
        Err(PublishError::QosNotSupported { .. }) => Err((
            exit::LOST,
            "Error: Message QoS not supported on broker, try a lower QoS.".to_owned(),
        )),
        Err(error) => Err((exit::LOST, format!("Error: Message not sent: {error}."))),
    }
}

/// As Mosquitto's tool prints it, which is without a unit from one second on.
fn latency(took: Duration) -> String {
    let nanos = took.as_nanos();
    if nanos < 1_000_000 {
        format!("{:.6}\u{b5}s", nanos as f64 / 1e3)
    } else if nanos < 1_000_000_000 {
        format!("{:.6}ms", nanos as f64 / 1e6)
    } else {
        format!("{}.{:09}", took.as_secs(), took.subsec_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_look_like_those_of_mosquittos_tool() {
        let of = |nanos| latency(Duration::from_nanos(nanos));
        assert_eq!(of(25_448), "25.448000\u{b5}s");
        assert_eq!(of(250_443_170), "250.443170ms");
        assert_eq!(of(1_200_316_882), "1.200316882");
    }
}
