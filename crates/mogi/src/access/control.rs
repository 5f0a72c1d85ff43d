//! Requests on `$CONTROL/`, answered by a thread of its own: they hash passwords and write files.

use crate::log::why;
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_auth::dynsec;
use mogi_core::{Control, Judgement, LogKind, Rights, Standing};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests that wait, beyond which they are dropped.
const MAX_WAITING: usize = 256;
/// What administers the broker.
const BROKER_TOPIC: &str = "$CONTROL/broker/v1";

/// Whose sessions are looked at after a change.
pub(crate) type Judge = Arc<dyn Fn(&Standing<'_>) -> Judgement + Send + Sync>;

/// Requests that wait to be answered, one after the other.
#[derive(Default)]
pub(super) struct Desk {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<(u16, Control)>,
    /// Somebody answers them.
    manned: bool,
}

/// Takes a client's request; what is answered comes to its worker by mail.
pub(crate) fn request(shared: &Arc<Shared>, worker: u16, control: Control) {
    let desk = &shared.access.desk;
    let mut queue = desk.queue.lock().unwrap_or_else(PoisonError::into_inner);
    if queue.requests.len() >= MAX_WAITING {
        let id = control.client_id.escape_debug();
        let line = format!("Warning: Request of {id} on $CONTROL dropped: too many wait.");
        shared.log.log(LogKind::Warning, &line);
        return;
    }
    queue.requests.push_back((worker, control));
    if queue.manned {
        return;
    }
    let own = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("control".to_owned());
    match thread.spawn(move || answer_all(&own)) {
        Ok(_) => queue.manned = true,
        Err(error) => {
            queue.requests.clear();
            let line = format!("Error: Requests on $CONTROL are dropped: {}.", why(&error));
            shared.log.log(LogKind::Error, &line);
        }
    }
}

/// Answers what waits, and ends when nothing does.
fn answer_all(shared: &Arc<Shared>) {
    loop {
        let mut queue = shared.access.desk.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((worker, control)) = queue.requests.pop_front() else {
            queue.manned = false;
            return;
        };
        drop(queue);
        let payload = match &*control.topic {
            dynsec::TOPIC if shared.access.plan().dynsec.is_some() => {
                super::dynsec::answer(shared, worker, &control);
                continue;
            }
            BROKER_TOPIC if shared.access.plan().control_api => {
                let answer = answer_broker(shared, &control);
                tell(shared, worker, &control, answer.payload);
                if answer.drains {
                    // The answer is in the worker's mailbox before this, so the client has it when
                    // its connection ends.
                    shared.stop();
                }
                continue;
            }
            _ => b"{\"error\": \"endpoint not available\"}".to_vec(),
        };
        tell(shared, worker, &control, payload);
    }
}

pub(super) fn tell(shared: &Shared, worker: u16, control: &Control, payload: Vec<u8>) {
    let (key, generation) = (control.key, control.generation);
    let topic = format!("{}/response", control.topic);
    if let Some(mailbox) = shared.mailboxes.get(usize::from(worker)) {
        mailbox.send(Mail::Tell { key, generation, topic, payload }, false);
    }
}

pub(super) fn enforce(shared: &Shared, rights: &Rights, judge: Option<Judge>) {
    shared.send_all(|| Mail::Rights(Box::new((rights.clone(), judge.clone()))));
}

/// Has workers act on rules that were read again (SIGHUP).
pub(crate) fn enforce_reloaded(shared: &Arc<Shared>, rights: Rights) {
    let asked = Arc::clone(shared);
    enforce(shared, &rights, Some(Arc::new(move |it| asked.access.judge(it))));
}

/// What is told on [`BROKER_TOPIC`], and what is to happen then.
struct BrokerAnswer {
    payload: Vec<u8>,
    /// The broker is to stop.
    drains: bool,
}

/// `listPlugins`, `listListeners` and `drain`.
fn answer_broker(shared: &Shared, control: &Control) -> BrokerAnswer {
    let mut drains = false;
    let stranger = |error: &str| json!({ "command": "Unknown command", "error": error });
    let request: Option<Value> = serde_json::from_slice(&control.payload).ok();
    let commands = request.as_ref().map(|request| request.get("commands")?.as_array());
    let responses: Vec<Value> = match commands {
        None => vec![stranger("Payload not valid JSON")],
        Some(None) => vec![stranger("Invalid/missing commands")],
        Some(Some(commands)) => {
            let answer = |command| answer_command(shared, control, command, &mut drains);
            commands.iter().map(answer).collect()
        }
    };
    let payload = json!({ "responses": responses }).to_string().into_bytes();
    BrokerAnswer { payload, drains }
}

fn answer_command(shared: &Shared, control: &Control, command: &Value, drains: &mut bool) -> Value {
    let unknown = |error: &str| json!({ "command": "Unknown command", "error": error });
    if !command.is_object() {
        return unknown("Command not an object");
    }
    let Some(name) = command.get("command").and_then(Value::as_str) else {
        return unknown("Missing command");
    };
    let correlation = command.get("correlationData");
    if correlation.is_some_and(|data| !data.is_string()) {
        return json!({ "command": name, "error": "Invalid correlationData data type." });
    }
    let id = control.client_id.escape_debug();
    let user = control.username.as_deref().unwrap_or_default().escape_debug();
    let line = format!("Broker: {id}/{user} | {}", name.escape_debug());
    shared.log.log(LogKind::Information, &line);
    let mut response = match name {
        "listPlugins" => json!({ "command": name, "data": { "plugins": plugins(shared) } }),
        "listListeners" => json!({ "command": name, "data": { "listeners": listeners(shared) } }),
        "drain" => match may_drain(shared, control) {
            Ok(()) => {
                *drains = true;
                json!({ "command": name })
            }
            Err(error) => json!({ "command": name, "error": error }),
        },
        _ => json!({ "command": name, "error": "Unknown command" }),
    };
    if let Some(data) = correlation {
        response["correlationData"] = data.clone();
    }
    response
}

/// Whether the client may have the broker stop. Where nobody says anything about topics, whoever
/// gets in may ask what the broker is like; to end it takes a rule.
fn may_drain(shared: &Shared, control: &Control) -> Result<(), String> {
    let id = control.client_id.escape_debug();
    let user = control.username.as_deref();
    let user = user.map_or(String::new(), |user| format!(" (user {})", user.escape_debug()));
    if !control.entitled {
        let line = format!("Warning: Client {id}{user} may not drain the broker: no rule says so.");
        shared.log.log(LogKind::Warning, &line);
        return Err(format!("No rule lets this client publish to {BROKER_TOPIC}"));
    }
    let line = format!("Client {id}{user} has the broker drained: it stops.");
    shared.log.log(LogKind::Notice, &line);
    Ok(())
}

fn plugins(shared: &Shared) -> Vec<Value> {
    let dynsec = json!({
        "name": "dynamic-security",
        "control-endpoints": [dynsec::TOPIC],
    });
    shared.access.plan().dynsec.iter().map(|_| dynsec.clone()).collect()
}

fn listeners(shared: &Shared) -> Vec<Value> {
    let one = |listener: &crate::net::shared::ListenerState| {
        let mut told = json!({ "port": listener.port, "protocol": "mqtt" });
        if let Some(host) = &listener.host {
            told["bind-address"] = json!(host);
        }
        told["tls"] = json!(false);
        told
    };
    shared.listeners.iter().map(one).collect()
}
