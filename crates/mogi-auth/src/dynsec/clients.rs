//! Commands about clients.

use super::fields::{
    Object, number, optional, priority, put_text, ranked, ranking, take_text, text,
};
use super::model::{Client, Dynsec, NO_PRIORITY, Ranking};
use super::request::{Answer, Context, Done, Kick, page};
use crate::hash::{Algorithm, PasswordHash};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const NO_CLIENT: &str = "Client not found";
pub(super) const NO_ROLE: &str = "Role not found";
const NO_GROUP: &str = "Group not found";

impl Dynsec {
    pub(super) fn create_client(&mut self, from: &Object, with: &mut Context<'_>) -> Answer {
        let name = username(from)?;
        if name.is_empty() {
            return Err("Empty username".to_owned());
        }
        let mut client = Client::default();
        if let Some(password) = optional(from, "password", "Invalid/missing password")?
            && !password.is_empty()
        {
            client.password = Some(hash(password, from, with)?);
        }
        let id = optional(from, "clientid", "Invalid/missing client ID")?;
        client.client_id = id.filter(|id| !id.is_empty()).map(str::to_owned);
        take_text(from, &mut client.text)?;
        client.roles = self.roles_of(from)?;
        let groups = ranked(from, "groups", "groupname");
        let groups = groups.ok_or("'groups' not an array or missing/invalid groupname")?;
        for (group, priority) in groups {
            let (group, _) = self.groups.get_key_value(group).ok_or(NO_GROUP)?;
            client.groups.add(group, priority);
        }
        if self.clients.contains_key(name) {
            return Err("Client already exists".to_owned());
        }
        self.clients.insert(name.into(), Arc::new(client));
        Ok(Done::Changed(BTreeSet::new()))
    }

    pub(super) fn delete_client(&mut self, from: &Object) -> Answer {
        let name = username(from)?;
        let (name, _) = self.clients.remove_entry(name).ok_or(NO_CLIENT)?;
        Ok(Done::Changed([Kick::User(name)].into()))
    }

    pub(super) fn modify_client(&mut self, from: &Object, with: &mut Context<'_>) -> Answer {
        let name = username(from)?;
        let mut client = Client::clone(self.clients.get(name).ok_or(NO_CLIENT)?);
        if let Some(id) = optional(from, "clientid", "Invalid/missing client ID")? {
            client.client_id = Some(id).filter(|id| !id.is_empty()).map(str::to_owned);
        }
        if let Some(password) = optional(from, "password", "Invalid/missing password")?
            && !password.is_empty()
        {
            client.password = Some(hash(password, from, with)?);
        }
        take_text(from, &mut client.text)?;
        if from.contains_key("roles") {
            client.roles = self.roles_of(from)?;
        }
        if from.contains_key("groups") {
            let groups = ranked(from, "groups", "groupname");
            let groups = groups.ok_or("'groups' not an array or missing/invalid groupname")?;
            client.groups = Ranking::default();
            for (group, priority) in groups {
                let known = self.groups.get_key_value(group);
                let (group, _) = known
                    .ok_or("'groups' contains an object with a 'groupname' that does not exist")?;
                client.groups.add(group, priority);
            }
        }
        self.replace(name, client)
    }

    pub(super) fn set_client_password(&mut self, from: &Object, with: &mut Context<'_>) -> Answer {
        let name = username(from)?;
        let password = text(from, "password", "Invalid/missing password")?;
        if password.is_empty() {
            return Err("Empty password is not allowed".to_owned());
        }
        let mut client = Client::clone(self.clients.get(name).ok_or(NO_CLIENT)?);
        client.password = Some(hash(password, from, with)?);
        self.replace(name, client)
    }

    pub(super) fn set_client_id(&mut self, from: &Object) -> Answer {
        let name = username(from)?;
        let id = optional(from, "clientid", "Invalid/missing client ID")?;
        self.change(name, |client| {
            client.client_id = id.filter(|id| !id.is_empty()).map(str::to_owned);
            Ok(())
        })
    }

    pub(super) fn enable_client(&mut self, from: &Object, enable: bool) -> Answer {
        let name = username(from)?;
        self.change(name, |client| {
            client.disabled = !enable;
            Ok(())
        })
    }

    pub(super) fn add_client_role(&mut self, from: &Object) -> Answer {
        let (name, role) = (username(from)?, rolename(from)?);
        if !self.clients.contains_key(name) {
            return Err(NO_CLIENT.to_owned());
        }
        let role = Arc::clone(self.roles.get_key_value(role).ok_or(NO_ROLE)?.0);
        self.change(name, |client| match client.roles.add(&role, priority(from, NO_PRIORITY)) {
            true => Ok(()),
            false => Err("Client has this role already".to_owned()),
        })
    }

    pub(super) fn remove_client_role(&mut self, from: &Object) -> Answer {
        let (name, role) = (username(from)?, rolename(from)?);
        if !self.clients.contains_key(name) {
            return Err(NO_CLIENT.to_owned());
        }
        if !self.roles.contains_key(role) {
            return Err(NO_ROLE.to_owned());
        }
        self.change(name, |client| {
            client.roles.remove(role);
            Ok(())
        })
    }

    pub(super) fn get_client(&self, from: &Object, with: &mut Context<'_>) -> Answer {
        let name = username(from)?;
        let client = self.clients.get(name).ok_or(NO_CLIENT)?;
        Ok(Done::Told(json!({ "client": tell(name, client, with) })))
    }

    pub(super) fn list_clients(&self, from: &Object, with: &mut Context<'_>) -> Answer {
        let verbose = |name: &str, client: &Arc<Client>| tell(name, client, with);
        Ok(Done::Told(page(from, "clients", self.clients.iter(), verbose)))
    }

    /// The roles of a request.
    pub(super) fn roles_of(&self, from: &Object) -> Result<Ranking, String> {
        let roles = ranked(from, "roles", "rolename");
        let roles = roles.ok_or("'roles' not an array or missing/invalid rolename")?;
        let mut ranking = Ranking::default();
        for (role, priority) in roles {
            let (role, _) = self.roles.get_key_value(role).ok_or(NO_ROLE)?;
            ranking.add(role, priority);
        }
        Ok(ranking)
    }

    fn replace(&mut self, name: &str, client: Client) -> Answer {
        self.change(name, |slot| {
            *slot = client;
            Ok(())
        })
    }

    /// Changes a client, whose connections end with that.
    pub(super) fn change(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Client) -> Result<(), String>,
    ) -> Answer {
        let known = self.clients.get_key_value(name).ok_or(NO_CLIENT)?;
        let kick = Kick::User(Arc::clone(known.0));
        self.client_mut(name).map_or(Ok(()), change)?;
        Ok(Done::Changed([kick].into()))
    }
}

pub(super) fn username(from: &Object) -> Result<&str, String> {
    text(from, "username", "Invalid/missing username")
}

pub(super) fn rolename(from: &Object) -> Result<&str, String> {
    text(from, "rolename", "Invalid/missing rolename")
}

fn hash(password: &str, from: &Object, with: &mut Context<'_>) -> Result<PasswordHash, String> {
    let salt = (with.salt)().ok_or("Internal error: the system gives no random numbers")?;
    let iterations = number(from, "iterations").and_then(|number| u32::try_from(number).ok());
    let algorithm = Algorithm::Pbkdf2(iterations.filter(|n| (1..=MAX_ITERATIONS).contains(n)));
    PasswordHash::new(algorithm, password.as_bytes(), &salt).map_err(|error| error.to_string())
}

/// Iterations a request may ask for: each login takes as long.
const MAX_ITERATIONS: u32 = 1_000_000;

fn tell(name: &str, client: &Client, with: &Context<'_>) -> Value {
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
    object.insert("groups".into(), ranking(&client.groups, "groupname"));
    let addresses = (with.connections)(name).into_iter();
    let addresses = addresses.map(|address| json!({ "address": address }));
    object.insert("connections".into(), addresses.collect());
    Value::Object(object)
}
