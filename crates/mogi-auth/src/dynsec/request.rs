//! Requests on `$CONTROL/dynamic-security/v1`, and what is answered.

use super::fields::{Object, text};
use super::model::{DefaultAccess, Dynsec};
use crate::hash::SALT_BYTES;
use crate::{Access, Who};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whose connections end because their rights have changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kick {
    /// Those of a user.
    User(Arc<str>),
    /// Those without a user name.
    Anonymous,
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is sent back: JSON.
    pub response: Vec<u8>,
    /// Whether there is something to save.
    pub changed: bool,
    /// Whose connections end.
    pub kicks: BTreeSet<Kick>,
    /// Lines for the log.
    pub logs: Vec<String>,
}

/// What commands need from outside.
pub struct Context<'a> {
    /// Gives the random part of a salt, unless there is no randomness.
    pub salt: &'a mut dyn FnMut() -> Option<[u8; SALT_BYTES]>,
    /// The addresses a user is connected from.
    pub connections: &'a dyn Fn(&str) -> Vec<String>,
}

/// What a command has done.
pub(super) enum Done {
    /// It told something.
    Told(Value),
    /// It changed something, and those are concerned.
    Changed(BTreeSet<Kick>),
}

/// A command's outcome, or the error it is answered with.
pub(super) type Answer = Result<Done, String>;

/// A command.
type Command = fn(&mut Dynsec, &Object, &mut Context<'_>) -> Answer;

/// Every command, by its name and the fields that are told in the log.
const COMMANDS: &[(&str, Command)] = &[
    ("addClientRole", |to, from, _| to.add_client_role(from)),
    ("addGroupClient", |to, from, _| to.add_group_client(from)),
    ("addGroupRole", |to, from, _| to.add_group_role(from)),
    ("addRoleACL", |to, from, _| to.add_role_acl(from)),
    ("createClient", |to, from, with| to.create_client(from, with)),
    ("createGroup", |to, from, _| to.create_group(from)),
    ("createRole", |to, from, _| to.create_role(from)),
    ("deleteClient", |to, from, _| to.delete_client(from)),
    ("deleteGroup", |to, from, _| to.delete_group(from)),
    ("deleteRole", |to, from, _| to.delete_role(from)),
    ("disableClient", |to, from, _| to.enable_client(from, false)),
    ("enableClient", |to, from, _| to.enable_client(from, true)),
    ("getAnonymousGroup", |to, _, _| to.get_anonymous_group()),
    ("getClient", |to, from, with| to.get_client(from, with)),
    ("getDefaultACLAccess", |to, _, _| to.get_default_access()),
    ("getDetails", |to, _, _| to.get_details()),
    ("getGroup", |to, from, _| to.get_group(from)),
    ("getRole", |to, from, _| to.get_role(from)),
    ("listClients", |to, from, with| to.list_clients(from, with)),
    ("listGroups", |to, from, _| to.list_groups(from)),
    ("listRoles", |to, from, _| to.list_roles(from)),
    ("modifyClient", |to, from, with| to.modify_client(from, with)),
    ("modifyGroup", |to, from, _| to.modify_group(from)),
    ("modifyRole", |to, from, _| to.modify_role(from)),
    ("removeClientRole", |to, from, _| to.remove_client_role(from)),
    ("removeGroupClient", |to, from, _| to.remove_group_client(from)),
    ("removeGroupRole", |to, from, _| to.remove_group_role(from)),
    ("removeRoleACL", |to, from, _| to.remove_role_acl(from)),
    ("setAnonymousGroup", |to, from, _| to.set_anonymous_group(from)),
    ("setClientId", |to, from, _| to.set_client_id(from)),
    ("setClientPassword", |to, from, with| to.set_client_password(from, with)),
    ("setDefaultACLAccess", |to, from, _| to.set_default_access(from)),
];

/// Fields that are told in the log, in that order.
const LOGGED: [&str; 9] = [
    "username",
    "groupname",
    "rolename",
    "clientid",
    "password",
    "acltype",
    "topic",
    "priority",
    "allow",
];

impl Dynsec {
    /// Carries out a request of a client.
    pub fn handle(&mut self, who: &Who<'_>, payload: &[u8], context: &mut Context<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut responses = Vec::new();
        let stranger = |error: &str| json!({ "command": "Unknown command", "error": error });
        match serde_json::from_slice::<Value>(payload) {
            Err(_) => responses.push(stranger("Payload not valid JSON")),
            Ok(request) => match request.get("commands").and_then(Value::as_array) {
                None => responses.push(stranger("Invalid/missing commands")),
                Some(commands) => {
                    for command in commands {
                        let response = match command.as_object() {
                            None => stranger("Command not an object"),
                            Some(command) => self.run(who, command, context, &mut outcome),
                        };
                        responses.push(response);
                    }
                }
            },
        }
        outcome.response = json!({ "responses": responses }).to_string().into_bytes();
        outcome
    }

    fn run(
        &mut self,
        who: &Who<'_>,
        command: &Object,
        context: &mut Context<'_>,
        outcome: &mut Outcome,
    ) -> Value {
        let mut response = Object::new();
        let Ok(given) = text(command, "command", "") else {
            return json!({ "command": "Unknown command", "error": "Missing command" });
        };
        let known = COMMANDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
        let name = known.map_or(given, |(name, _)| *name);
        response.insert("command".into(), json!(name));
        let correlation = command.get("correlationData");
        let answer = match (known, correlation) {
            (_, Some(data)) if !data.is_string() => {
                response.insert("error".into(), json!("Invalid correlationData data type."));
                return Value::Object(response);
            }
            (Some((_, run)), _) => run(self, command, context),
            (None, _) => Err("Unknown command".to_owned()),
        };
        match answer {
            Ok(done) => {
                outcome.logs.push(log_line(who, name, command));
                match done {
                    Done::Told(data) => {
                        response.insert("data".into(), data);
                    }
                    Done::Changed(kicks) => {
                        self.change_index += 1;
                        outcome.changed = true;
                        outcome.kicks.extend(kicks);
                    }
                }
            }
            Err(error) => {
                response.insert("error".into(), json!(error));
            }
        }
        if let Some(data) = correlation {
            response.insert("correlationData".into(), data.clone());
        }
        Value::Object(response)
    }

    fn get_default_access(&self) -> Answer {
        let acls = DefaultAccess::NAMES.iter().zip(self.default.all());
        let acls = acls.map(|(name, allow)| json!({ "acltype": name, "allow": allow }));
        Ok(Done::Told(json!({ "acls": acls.collect::<Value>() })))
    }

    fn set_default_access(&mut self, from: &Object) -> Answer {
        let acls = from.get("acls").and_then(Value::as_array);
        let acls = acls.ok_or("Missing/invalid actions array")?;
        for acl in acls.iter().filter_map(Value::as_object) {
            let kind = acl.get("acltype").and_then(Value::as_str).unwrap_or_default();
            let allow = acl.get("allow").and_then(Value::as_bool);
            if let (Some(slot), Some(allow)) = (self.default.get_mut(kind), allow) {
                *slot = allow;
            }
        }
        Ok(Done::Changed(BTreeSet::new()))
    }

    fn get_details(&self) -> Answer {
        Ok(Done::Told(json!({
            "clientCount": self.clients.len(),
            "groupCount": self.groups.len(),
            "roleCount": self.roles.len(),
            "changeIndex": self.change_index,
        })))
    }

    /// Whether a client may send requests at all.
    pub fn may_administer(&self, who: &Who<'_>) -> bool {
        self.decide(who, Access::Write, super::TOPIC) == crate::Verdict::Allow
    }
}

/// A list's part that was asked for, its members told by `verbose`, or by name.
pub(super) fn page<'a, T: 'a>(
    from: &Object,
    list: &str,
    all: impl ExactSizeIterator<Item = (&'a Arc<str>, T)>,
    verbose: impl Fn(&str, T) -> Value,
) -> Value {
    let number = |name, otherwise| super::fields::number(from, name).unwrap_or(otherwise);
    let offset = usize::try_from(number("offset", 0)).unwrap_or(0);
    // Mosquitto stops once there are as many as were wanted, so 0 gives one.
    let count = match usize::try_from(number("count", -1)) {
        Ok(count) => count.max(1),
        Err(_) => usize::MAX,
    };
    let in_full = from.get("verbose").and_then(Value::as_bool).unwrap_or(false);
    let total = all.len();
    let one = |(name, it): (&'a Arc<str>, T)| match in_full {
        true => verbose(name, it),
        false => json!(&**name),
    };
    let members: Value = all.skip(offset).take(count).map(one).collect();
    let mut data = Object::new();
    data.insert("totalCount".into(), json!(total));
    data.insert(list.into(), members);
    Value::Object(data)
}

fn log_line(who: &Who<'_>, name: &str, command: &Object) -> String {
    let mut line = format!(
        "dynsec: {}/{} | {name}",
        who.client_id.escape_debug(),
        who.username.unwrap_or_default().escape_debug()
    );
    for field in LOGGED {
        let value = match command.get(field) {
            None => continue,
            Some(_) if field == "password" => "******".to_owned(),
            Some(Value::String(text)) => text.escape_debug().to_string(),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
            Some(_) => continue,
        };
        line.push_str(&format!(" | {field}={value}"));
    }
    line
}
