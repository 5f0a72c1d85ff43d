//! A request to the broker, and its answer.

use super::command::Command;
use super::options::Options;
use crate::reason::{exit, name};
use crate::report;
use crate::tool::Link;
use mogi_client::{Client, Event, PublishRequest};
use mogi_codec::{Properties, Reason, SubscribeFilter, SubscribeOptions};
use serde_json::Value;
use std::time::Duration;

/// How long the broker may take to answer, unless `-W` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer: an exit code, and whether the broker refused; it was said already.
type Failure = (i32, bool);

/// Sends the request; what was answered.
pub(super) fn run(options: &Options, command: &Command) -> Result<Value, Failure> {
    let mut link = Link::open(&options.config).map_err(|code| (code, false))?;
    let timeout = options.config.timeout.unwrap_or(TIMEOUT);
    let timeout_ms = link.driver.now_ms() + timeout.as_millis() as u64;
    loop {
        if let Some(end) = events(options, command, &mut link) {
            // It ends anyway; nothing the broker still owes is worth an error.
            let _ = link.finish(Reason::Success);
            return end;
        }
        if let Err(error) = link.wait(Some(timeout_ms), &[]) {
            let (code, text) = report::ended(&error);
            link.error(&text);
            return Err((code, false));
        }
        if link.driver.now_ms() >= timeout_ms {
            link.error("Error: The broker did not answer in time.");
            return Err((exit::TIMED_OUT, false));
        }
    }
}

fn events(
    options: &Options,
    command: &Command,
    link: &mut Link<'_>,
) -> Option<Result<Value, Failure>> {
    loop {
        let now_ms = link.driver.now_ms();
        let config = &options.config;
        let output = &mut link.output;
        let (event, client) = match link.driver.next_event() {
            Ok(Some(told)) => told,
            Ok(None) => return None,
            Err(error) => {
                let (code, text) = report::ended(&error);
                link.error(&text);
                return Some(Err((code, false)));
            }
        };
        report::trace(client, output);
        let refused = |what: &str| {
            report::error(config, what);
            Some(Err((super::REFUSED, true)))
        };
        match event {
            Event::Connected { .. } => subscribe(options, command, now_ms, client),
            Event::Refused { code, .. } => {
                output.flush();
                return Some(Err((report::refused(config, code), true)));
            }
            Event::Subscribed { codes, .. } => match codes.first() {
                Some(code) if *code >= 0x80 => {
                    let why = name(*code);
                    return refused(&format!("Error: Not allowed to get answers: {why}."));
                }
                _ => {
                    if let Err(what) = publish(options, command, now_ms, client) {
                        return refused(&what);
                    }
                }
            },
            Event::Published { reason, .. } if reason.is_error() => {
                let why = name(reason as u8);
                return refused(&format!("Error: Request refused: {why}."));
            }
            Event::Message(message) => {
                return Some(match serde_json::from_slice(&message.payload) {
                    Ok(answer) => Ok(answer),
                    Err(_) => {
                        report::error(config, "Error: The broker's answer is not JSON.");
                        Err((exit::FAILED, false))
                    }
                });
            }
            Event::Disconnected { reason, .. } => {
                let why = name(reason as u8);
                report::error(config, &format!("Error: The connection was lost ({why})"));
                return Some(Err((exit::LOST, false)));
            }
            _ => {}
        }
        report::trace(client, output);
    }
}

fn subscribe(options: &Options, command: &Command, now_ms: u64, client: &mut Client) {
    let filter = format!("{}/response", command.topic);
    let qos = options.config.qos;
    let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
    let filters = [SubscribeFilter { filter: &filter, options }];
    client.subscribe(now_ms, &filters, Properties::default());
}

fn publish(
    options: &Options,
    command: &Command,
    now_ms: u64,
    client: &mut Client,
) -> Result<(), String> {
    let payload = command.request.to_string();
    let request = PublishRequest {
        topic: command.topic,
        payload: payload.as_bytes(),
        qos: options.config.qos,
        retain: false,
        properties: Properties::default(),
    };
    let sent = client.publish(now_ms, &request);
    sent.map(drop).map_err(|error| format!("Error: Request not sent: {error}."))
}
