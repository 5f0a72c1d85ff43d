//! Requests on `$CONTROL/`, answered by a thread of its own: they hash passwords and write files.

use super::files;
use crate::log::why;
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_auth::Who;
use mogi_auth::dynsec::{self, Context, Dynsec, Kick, Outcome};
use mogi_auth::rules::{RuleSet, Source};
use mogi_core::{Control, Judgement, LogKind, Rights, Standing};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
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
            dynsec::TOPIC if shared.access.plan.dynsec.is_some() => {
                answer_dynsec(shared, worker, &control);
                continue;
            }
            BROKER_TOPIC if shared.access.plan.control_api => answer_broker(shared, &control),
            _ => b"{\"error\": \"endpoint not available\"}".to_vec(),
        };
        tell(shared, worker, &control, payload);
    }
}

fn tell(shared: &Shared, worker: u16, control: &Control, payload: Vec<u8>) {
    let (key, generation) = (control.key, control.generation);
    let topic = format!("{}/response", control.topic);
    if let Some(mailbox) = shared.mailboxes.get(usize::from(worker)) {
        mailbox.send(Mail::Tell { key, generation, topic, payload }, false);
    }
}

fn answer_dynsec(shared: &Arc<Shared>, worker: u16, control: &Control) {
    let access = &shared.access;
    let mut current = access.dynsec.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(plan), Some(known)) = (&access.plan.dynsec, &*current) else {
        return;
    };
    let mut changed = Dynsec::clone(known);
    let who = Who { client_id: &control.client_id, username: control.username.as_deref() };
    let mut salt = files::fresh_salt;
    // Connections belong to workers, who are not asked for this.
    let mut context = Context { salt: &mut salt, connections: &|_| Vec::new() };
    let mut outcome = changed.handle(&who, &control.payload, &mut context);
    for line in &outcome.logs {
        shared.log.log(LogKind::Information, line);
    }
    if outcome.changed
        && let Err(error) = files::save_dynsec(&plan.file, &changed)
    {
        // What is not saved does not count: it would be gone after the next start.
        let what = format!("Unable to save {}: {}", plan.file.display(), why(&error));
        shared.log.log(LogKind::Error, &format!("Error: dynsec: {what}."));
        fail(&mut outcome, &what);
    }
    let rights = outcome.changed.then(|| {
        let changed = Arc::new(changed);
        *current = Some(Arc::clone(&changed));
        access.replace(with_dynsec(access.sets(), &changed))
    });
    drop(current);
    // Whoever hears that it is done finds it in force; who has to leave hears of it before.
    if let Some(rights) = &rights {
        enforce(shared, rights, None);
    }
    tell(shared, worker, control, outcome.response);
    if let Some(rights) = rights {
        let kicks = outcome.kicks;
        enforce(shared, &rights, Some(Arc::new(move |standing| kicked(&kicks, standing))));
    }
}

fn kicked(kicks: &BTreeSet<Kick>, standing: &Standing<'_>) -> Judgement {
    let kick = match standing.username {
        Some(name) => Kick::User(name.into()),
        None => Kick::Anonymous,
    };
    if kicks.contains(&kick) { Judgement::Leave } else { Judgement::Stay }
}

/// Nothing of a request came into force.
fn fail(outcome: &mut Outcome, what: &str) {
    outcome.changed = false;
    outcome.kicks.clear();
    let Ok(mut response) = serde_json::from_slice::<Value>(&outcome.response) else {
        return;
    };
    for one in response["responses"].as_array_mut().into_iter().flatten() {
        let told = one.get("data").is_some() || one.get("error").is_some();
        if let (Some(one), false) = (one.as_object_mut(), told) {
            one.insert("error".to_owned(), json!(what));
        }
    }
    outcome.response = response.to_string().into_bytes();
}

/// The rules with dynamic security as it is now.
fn with_dynsec(sets: Vec<Arc<RuleSet>>, dynsec: &Arc<Dynsec>) -> Vec<Arc<RuleSet>> {
    let replaced = |set: Arc<RuleSet>| {
        let sources = set.sources.iter().map(|source| match source {
            Source::Dynsec(_) => Source::Dynsec(Arc::clone(dynsec)),
            other => other.clone(),
        });
        let sources = sources.collect();
        Arc::new(RuleSet { sources, allow_anonymous: set.allow_anonymous })
    };
    sets.into_iter().map(replaced).collect()
}

fn enforce(shared: &Shared, rights: &Rights, judge: Option<Judge>) {
    shared.send_all(|| Mail::Rights(Box::new((rights.clone(), judge.clone()))));
}

/// Reads the files again (SIGHUP), apart from the thread that asks for it. What cannot be read
/// stays as it was.
pub(crate) fn reload(shared: &Arc<Shared>) {
    let own = Arc::clone(shared);
    let work = move || {
        let access = &own.access;
        // So that a change of dynamic security and this do not cross.
        let dynsec = access.dynsec.lock().unwrap_or_else(PoisonError::into_inner);
        match files::load(&access.plan, dynsec.as_ref(), own.log) {
            Err(line) => {
                own.log.log(LogKind::Error, &format!("Error: {line}"));
                let line = "Error: Users and rights stay as they were.";
                own.log.log(LogKind::Error, line);
            }
            Ok(sets) => {
                access.forget_answers();
                let rights = access.replace(sets);
                let asked = Arc::clone(&own);
                enforce(&own, &rights, Some(Arc::new(move |it| asked.access.judge(it))));
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("reload".to_owned()).spawn(work) {
        let line = format!("Error: Users and rights stay as they were: {}.", why(&error));
        shared.log.log(LogKind::Error, &line);
    }
}

/// `listPlugins` and `listListeners`.
fn answer_broker(shared: &Shared, control: &Control) -> Vec<u8> {
    let stranger = |error: &str| json!({ "command": "Unknown command", "error": error });
    let request: Option<Value> = serde_json::from_slice(&control.payload).ok();
    let commands = request.as_ref().map(|request| request.get("commands")?.as_array());
    let responses: Vec<Value> = match commands {
        None => vec![stranger("Payload not valid JSON")],
        Some(None) => vec![stranger("Invalid/missing commands")],
        Some(Some(commands)) => {
            commands.iter().map(|command| answer_command(shared, control, command)).collect()
        }
    };
    json!({ "responses": responses }).to_string().into_bytes()
}

fn answer_command(shared: &Shared, control: &Control, command: &Value) -> Value {
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
        _ => json!({ "command": name, "error": "Unknown command" }),
    };
    if let Some(data) = correlation {
        response["correlationData"] = data.clone();
    }
    response
}

fn plugins(shared: &Shared) -> Vec<Value> {
    let dynsec = json!({
        "name": "dynamic-security",
        "control-endpoints": [dynsec::TOPIC],
    });
    shared.access.plan.dynsec.iter().map(|_| dynsec.clone()).collect()
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
