//! The plugin's file (`plugin_opt_config_file`).

use super::fields::{
    Object, number, put_text, ranked, ranking, role, take_acls, take_text, with_priority,
};
use super::model::{Client, DefaultAccess, Dynsec, Group, Role};
use crate::hash::PasswordHash;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile(pub String);

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Dynsec {
    /// Reads a file of Mosquitto 2.0 or 2.1.
    ///
    /// # Errors
    /// It is no JSON object, or something in it has no name, or a password no login could be
    /// checked against: it is refused as a whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadFile> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| BadFile(format!("not JSON: {error}")))?;
        let Value::Object(all) = value else {
            return Err(BadFile("not a JSON object".to_owned()));
        };
        let change_index = number(&all, "changeIndex").unwrap_or(0).max(0) as u64;
        let mut this = Self { change_index, ..Self::default() };
        if let Some(defaults) = all.get("defaultACLAccess").and_then(Value::as_object) {
            for name in DefaultAccess::NAMES {
                if let (Some(slot), Some(allow)) =
                    (this.default.get_mut(name), defaults.get(name).and_then(Value::as_bool))
                {
                    *slot = allow;
                }
            }
        }
        // Roles first, as clients and groups name them.
        for (name, object) in named(&all, "roles", "rolename")? {
            let mut role = Role::default();
            take_text(object, &mut role.text).map_err(BadFile)?;
            role.wildcards =
                object.get("allowwildcardsubs").and_then(Value::as_bool).unwrap_or(true);
            take_acls(object, &mut role);
            this.roles.insert(name.into(), Arc::new(role));
        }
        for (name, object) in named(&all, "clients", "username")? {
            let client = this.read_client(name, object)?;
            this.clients.insert(name.into(), Arc::new(client));
        }
        for (name, object) in named(&all, "groups", "groupname")? {
            this.read_group(name, object)?;
        }
        if let Some(name) = all.get("anonymousGroup").and_then(Value::as_str) {
            this.anonymous_group = this.groups.get_key_value(name).map(|(name, _)| name.clone());
        }
        Ok(this)
    }

    fn read_client(&self, name: &str, object: &Object) -> Result<Client, BadFile> {
        let mut client = Client::default();
        take_text(object, &mut client.text).map_err(BadFile)?;
        client.client_id = object.get("clientid").and_then(Value::as_str).map(str::to_owned);
        client.disabled = object.get("disabled").and_then(Value::as_bool).unwrap_or(false);
        let field = |name: &str| object.get(name).and_then(Value::as_str);
        let hash = match (field("encoded_password"), field("password"), field("salt")) {
            (Some(encoded), ..) => Some(PasswordHash::parse(encoded)),
            (None, Some(hash), Some(salt)) => {
                let iterations = number(object, "iterations").unwrap_or(0);
                let iterations = u32::try_from(iterations).unwrap_or(0);
                Some(PasswordHash::from_parts(hash, salt, iterations))
            }
            _ => None,
        };
        let bad = |error| BadFile(format!("the password of '{}': {error}", name.escape_debug()));
        client.password = hash.transpose().map_err(bad)?;
        for (role, priority) in list(object, "roles", "rolename")? {
            if let Some((role, _)) = self.roles.get_key_value(role) {
                client.roles.add(role, priority);
            }
        }
        Ok(client)
    }

    fn read_group(&mut self, name: &str, object: &Object) -> Result<(), BadFile> {
        let mut group = Group::default();
        take_text(object, &mut group.text).map_err(BadFile)?;
        for (role, priority) in list(object, "roles", "rolename")? {
            if let Some((role, _)) = self.roles.get_key_value(role) {
                group.roles.add(role, priority);
            }
        }
        let name: Arc<str> = name.into();
        for (client, priority) in list(object, "clients", "username")? {
            if let Some(client) = self.client_mut(client) {
                client.groups.add(&name, priority);
            }
        }
        self.groups.insert(name, Arc::new(group));
        Ok(())
    }

    /// The file as Mosquitto 2.1 writes it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut all = Object::new();
        all.insert("changeIndex".into(), json!(self.change_index));
        let defaults = DefaultAccess::NAMES.iter().zip(self.default.all());
        let defaults: Object =
            defaults.map(|(name, allow)| ((*name).to_owned(), json!(allow))).collect();
        all.insert("defaultACLAccess".into(), Value::Object(defaults));
        let clients = self.clients.iter().map(|(name, client)| write_client(name, client));
        all.insert("clients".into(), clients.collect());
        let groups = self.groups.iter().map(|(name, group)| self.write_group(name, group));
        all.insert("groups".into(), groups.collect());
        if let Some(name) = &self.anonymous_group {
            all.insert("anonymousGroup".into(), json!(&**name));
        }
        let roles = self.roles.iter().map(|(name, it)| role(name, it));
        all.insert("roles".into(), roles.collect());
        let mut bytes = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
        // Writing text into memory does not fail.
        let _ = Value::Object(all).serialize(&mut writer);
        bytes
    }

    fn write_group(&self, name: &str, group: &Group) -> Value {
        let mut object = Object::new();
        object.insert("groupname".into(), json!(name));
        put_text(&group.text, &mut object);
        object.insert("roles".into(), ranking(&group.roles, "rolename"));
        let members = self.members(name);
        let members = members.map(|(name, priority)| with_priority("username", name, priority));
        object.insert("clients".into(), members.collect());
        Value::Object(object)
    }
}

fn write_client(name: &str, client: &Client) -> Value {
    let mut object = Object::new();
    object.insert("username".into(), json!(name));
    if let Some(id) = &client.client_id {
        object.insert("clientid".into(), json!(id));
    }
    put_text(&client.text, &mut object);
    if client.disabled {
        object.insert("disabled".into(), json!(true));
    }
    object.insert("roles".into(), ranking(&client.roles, "rolename"));
    if let Some(hash) = &client.password {
        object.insert("encoded_password".into(), json!(hash.to_string()));
    }
    Value::Object(object)
}

/// The objects of a list, with their names.
fn named<'a>(
    all: &'a Object,
    list: &str,
    name: &str,
) -> Result<Vec<(&'a str, &'a Object)>, BadFile> {
    let Some(values) = all.get(list) else {
        return Ok(Vec::new());
    };
    let values = values.as_array().ok_or_else(|| BadFile(format!("'{list}' is no list")))?;
    let one = |value: &'a Value| {
        let object = value.as_object()?;
        Some((object.get(name)?.as_str()?, object))
    };
    let objects: Option<Vec<_>> = values.iter().map(one).collect();
    objects.ok_or_else(|| BadFile(format!("one of '{list}' has no '{name}'")))
}

fn list<'a>(object: &'a Object, name: &str, of: &str) -> Result<Vec<(&'a str, i32)>, BadFile> {
    ranked(object, name, of).ok_or_else(|| BadFile(format!("one of '{name}' has no '{of}'")))
}
