//! `sub`: subscribes, and prints what arrives.

use super::link::Link;
use super::printer::Printer;
use crate::config::Config;
use crate::output::Output;
use crate::reason::{exit, name};
use crate::signals::Signals;
use crate::{connect, report};
use mogi_client::{Client, Event, Message, PublishError, PublishRequest};
use mogi_codec::topic::matches;
use mogi_codec::{Properties, QoS, Reason, SubscribeFilter, SubscribeOptions};
use std::collections::VecDeque;

/// Retained messages that wait to be deleted, at most. Further ones are deleted without waiting
/// for the broker's word (at QoS 0).
const REMOVALS_MAX: usize = 100_000;

/// Between two lines of `--message-rate`.
const RATE_EVERY_MS: u64 = 1000;

/// Runs `sub`; answers with the exit code.
pub(crate) fn run(config: &Config) -> i32 {
    let signals = match Signals::catch(exit::NEVER_CONNECTED) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("Error: cannot watch for signals: {error}");
            return exit::FAILED;
        }
    };
    let mut output = Output::default();
    Printer::begin(config, &mut output);
    let link = match Link::open(config) {
        Ok(link) => link,
        Err(code) => return code,
    };
    let now_ms = link.driver.now_ms();
    let after = |timeout: std::time::Duration| now_ms + timeout.as_millis() as u64;
    let mut run = Run {
        signals,
        timeout_ms: config.timeout.map(after),
        rate_ms: config.message_rate.then_some(now_ms + RATE_EVERY_MS),
        subscriber: Subscriber {
            config,
            printer: Printer::default(),
            connected_once: false,
            count: 0,
            rate: 0,
            removals: VecDeque::new(),
            done: None,
        },
        link,
    };
    loop {
        if let Some(end) = run.turn() {
            return run.end(end);
        }
    }
}

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With this exit code, after a goodbye.
    Done(i32),
    /// A signal, or `-W`: the goodbye lets the will be sent, for it is no orderly end.
    Interrupted(i32),
    /// The connection is gone already.
    Gone(i32),
}

struct Run<'a> {
    link: Link<'a>,
    signals: Signals,
    subscriber: Subscriber<'a>,
    /// When `-W` runs out.
    timeout_ms: Option<u64>,
    /// When the next rate is printed.
    rate_ms: Option<u64>,
}

impl Run<'_> {
    /// Looks at everything that has happened, then waits.
    fn turn(&mut self) -> Option<End> {
        if let Some(end) = self.events() {
            return Some(end);
        }
        // Before the wait, because nothing may come for long.
        self.link.output.flush();
        if self.link.output.has_failed() {
            return Some(End::Done(exit::FAILED));
        }
        let until_ms = [self.timeout_ms, self.rate_ms].into_iter().flatten().min();
        let waited = self.link.wait(until_ms, &[self.signals.fd()]);
        if self.signals.arrived() {
            return Some(End::Interrupted(0));
        }
        if waited.is_err() {
            self.link.reopen_later();
        }
        self.time_passed()
    }

    fn events(&mut self) -> Option<End> {
        loop {
            let now_ms = self.link.driver.now_ms();
            let (event, client) = match self.link.driver.next_event() {
                Ok(Some(told)) => told,
                Ok(None) => return None,
                Err(mogi_client::DriverError::Client(error)) => {
                    let error = mogi_client::DriverError::Client(error);
                    let (code, text) = report::ended(&error);
                    if code == exit::PROTOCOL {
                        self.link.error(&text);
                        return Some(End::Gone(code));
                    }
                    self.link.reopen_later();
                    return None;
                }
                Err(_) => {
                    self.link.reopen_later();
                    return None;
                }
            };
            let output = &mut self.link.output;
            report::trace(client, output);
            if matches!(event, Event::Connected { .. }) {
                self.signals.connected();
            }
            let end = self.subscriber.on_event(now_ms, event, client, output);
            report::trace(client, output);
            output.relieve();
            if end.is_some() {
                return end;
            }
        }
    }

    fn time_passed(&mut self) -> Option<End> {
        let now_ms = self.link.driver.now_ms();
        if let Some(rate_ms) = self.rate_ms.filter(|at_ms| now_ms >= *at_ms) {
            let rate = std::mem::take(&mut self.subscriber.rate);
            self.link.output.line(&format!("{rate} msgs/s"));
            self.rate_ms = Some(rate_ms + RATE_EVERY_MS);
        }
        if self.timeout_ms.is_none_or(|at_ms| now_ms < at_ms) {
            return None;
        }
        if !self.subscriber.connected_once {
            return Some(End::Gone(exit::NEVER_CONNECTED));
        }
        self.link.error("Timed out");
        Some(End::Interrupted(exit::TIMED_OUT))
    }

    fn end(&mut self, end: End) -> i32 {
        let (code, reason) = match end {
            End::Done(code) => (code, Reason::Success),
            End::Interrupted(code) => (code, Reason::DisconnectWithWill),
            End::Gone(code) => {
                self.link.output.flush();
                return code;
            }
        };
        // It ends anyway; nothing the broker still owes is worth an error.
        let _ = self.link.finish(reason);
        code
    }
}

/// What `sub` does about each event.
struct Subscriber<'a> {
    config: &'a Config,
    printer: Printer,
    connected_once: bool,
    /// Messages that count for `-C`.
    count: u32,
    /// Messages since the last line of `--message-rate`.
    rate: u64,
    /// Topics of retained messages that are to be deleted.
    removals: VecDeque<String>,
    /// The exit code, as soon as the deletions are acknowledged.
    done: Option<i32>,
}

impl Subscriber<'_> {
    fn on_event(
        &mut self,
        now_ms: u64,
        event: Event<'_>,
        client: &mut Client,
        output: &mut Output,
    ) -> Option<End> {
        match event {
            Event::Connected { .. } => {
                self.connected_once = true;
                self.subscribe(now_ms, client);
            }
            Event::Refused { code, .. } => {
                output.flush();
                return Some(End::Gone(report::refused(self.config, code)));
            }
            Event::Message(message) => self.on_message(&message, output),
            Event::Subscribed { packet_id, codes, .. } => {
                if let Some(end) = self.on_subscribed(packet_id, codes, output) {
                    return Some(end);
                }
            }
            Event::Unsubscribed { .. } => {
                // Nothing but unsubscriptions: those are all there is to wait for.
                if self.config.exit_when_subscribed && self.config.topics.is_empty() {
                    return Some(End::Done(0));
                }
            }
            Event::Disconnected { reason, .. } => {
                output.flush();
                let why = name(reason as u8);
                let text = format!("Warning: the broker ended the connection: {why}");
                report::error(self.config, &text);
            }
            Event::Published { .. } => {}
        }
        self.remove_retained(now_ms, client);
        let waits = !self.removals.is_empty() || client.inflight() > 0;
        self.done.filter(|_| !waits).map(End::Done)
    }

    fn subscribe(&self, now_ms: u64, client: &mut Client) {
        let config = self.config;
        let v5 = config.version.is_v5();
        let options = SubscribeOptions {
            qos: config.qos,
            no_local: false,
            retain_as_published: v5 && config.retain_as_published,
            retain_handling: if v5 {
                config.retain_handling
            } else {
                mogi_codec::RetainHandling::Send
            },
        };
        let filters: Vec<_> =
            config.topics.iter().map(|filter| SubscribeFilter { filter, options }).collect();
        // Both are told by `None` that there is nothing to ask for.
        client.subscribe(now_ms, &filters, config.properties.subscribe.as_properties());
        let properties = config.properties.unsubscribe.as_properties();
        for filter in &config.unsubscribe {
            client.unsubscribe(now_ms, &[filter], properties);
        }
    }

    fn on_subscribed(&self, packet_id: u16, codes: &[u8], output: &mut Output) -> Option<End> {
        if self.config.debug {
            let codes: Vec<_> = codes.iter().map(u8::to_string).collect();
            output.line(&format!("Subscribed (mid: {packet_id}): {}", codes.join(", ")));
        }
        if codes.iter().all(|code| *code >= 0x80) {
            output.flush();
            report::error(self.config, "All subscription requests were denied.");
            return Some(End::Done(0));
        }
        self.config.exit_when_subscribed.then_some(End::Done(0))
    }

    fn on_message(&mut self, message: &Message<'_>, output: &mut Output) {
        let config = self.config;
        if self.done.is_some() {
            return;
        }
        if config.retained_only && !message.retain {
            self.done = Some(0);
            return;
        }
        let dropped = |filter: &String| matches(filter, &message.topic);
        if config.filter_out.iter().any(dropped) {
            return;
        }
        if config.remove_retained && message.retain {
            self.removals.push_back(message.topic.to_string());
        }
        if config.no_retained && message.retain {
            return;
        }
        if config.message_rate {
            self.rate += 1;
            return;
        }
        let chosen = |permille: u32| connect::random() % 1000 < u64::from(permille);
        if config.random_permille.is_none_or(chosen) {
            self.printer.print(config, message, output);
        }
        self.count += 1;
        if config.count == Some(self.count) {
            self.done = Some(0);
        }
    }

    /// Deletes what is to be deleted, as far as the window allows.
    fn remove_retained(&mut self, now_ms: u64, client: &mut Client) {
        while let Some(topic) = self.removals.front() {
            let many = self.removals.len() > REMOVALS_MAX;
            let limits = client.limits();
            let request = PublishRequest {
                topic,
                payload: b"",
                qos: if many || limits.qos_max == QoS::AtMostOnce {
                    QoS::AtMostOnce
                } else {
                    QoS::AtLeastOnce
                },
                retain: true,
                properties: Properties::default(),
            };
            let waits = [PublishError::WindowFull, PublishError::NotConnected];
            if client.publish(now_ms, &request).is_err_and(|error| waits.contains(&error)) {
                return;
            }
            self.removals.pop_front();
        }
    }
}
