//! Commands about groups.

use super::clients::{NO_ROLE, rolename, username};
use super::fields::{Object, priority, put_text, ranked, ranking, take_text, text, with_priority};
use super::model::{Dynsec, Group, NO_PRIORITY};
use super::request::{Answer, Done, Kick, page};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const NO_GROUP: &str = "Group not found";
const NO_MEMBER: &str = "'clients' contains an object with a 'username' that does not exist";

impl Dynsec {
    pub(super) fn create_group(&mut self, from: &Object) -> Answer {
        let name = groupname(from)?;
        if name.is_empty() {
            return Err("Empty groupname".to_owned());
        }
        if self.groups.contains_key(name) {
            return Err("Group already exists".to_owned());
        }
        let mut group = Group::default();
        take_text(from, &mut group.text)?;
        group.roles = self.roles_of(from)?;
        let name: Arc<str> = name.into();
        let members = members_of(from)?;
        self.groups.insert(Arc::clone(&name), Arc::new(group));
        let mut kicks = BTreeSet::new();
        for (client, priority) in members {
            // As in Mosquitto, one that is not there is left out.
            if let Some((client, _)) = self.clients.get_key_value(client) {
                let client = Arc::clone(client);
                self.client_mut(&client).map(|it| it.groups.add(&name, priority));
                kicks.insert(Kick::User(client));
            }
        }
        Ok(Done::Changed(kicks))
    }

    pub(super) fn delete_group(&mut self, from: &Object) -> Answer {
        let name = groupname(from)?;
        if !self.groups.contains_key(name) {
            return Err(NO_GROUP.to_owned());
        }
        if self.anonymous_group.as_deref() == Some(name) {
            return Err("Deleting the anonymous group is forbidden".to_owned());
        }
        let kicks = self.concerned_by_group(name);
        self.empty_group(name);
        self.groups.remove(name);
        Ok(Done::Changed(kicks))
    }

    pub(super) fn modify_group(&mut self, from: &Object) -> Answer {
        let name = groupname(from)?;
        let (name, group) = self.groups.get_key_value(name).ok_or(NO_GROUP)?;
        let (name, mut group) = (Arc::clone(name), Group::clone(group));
        take_text(from, &mut group.text)?;
        if from.contains_key("roles") {
            group.roles = self.roles_of(from)?;
        }
        let members = members_of(from)?;
        if members.iter().any(|(client, _)| !self.clients.contains_key(*client)) {
            return Err(NO_MEMBER.to_owned());
        }
        let mut kicks = self.concerned_by_group(&name);
        if from.contains_key("clients") {
            self.empty_group(&name);
            for (client, priority) in members {
                self.client_mut(client).map(|it| it.groups.add(&name, priority));
            }
        }
        self.groups.insert(Arc::clone(&name), Arc::new(group));
        kicks.extend(self.concerned_by_group(&name));
        Ok(Done::Changed(kicks))
    }

    pub(super) fn add_group_client(&mut self, from: &Object) -> Answer {
        let (client, group) = (username(from)?, groupname(from)?);
        if !self.clients.contains_key(client) {
            return Err("Client not found".to_owned());
        }
        let group = Arc::clone(self.groups.get_key_value(group).ok_or(NO_GROUP)?.0);
        self.change(client, |client| match client.groups.add(&group, priority(from, NO_PRIORITY)) {
            true => Ok(()),
            false => Err("Client is already in this group".to_owned()),
        })
    }

    pub(super) fn remove_group_client(&mut self, from: &Object) -> Answer {
        let (client, group) = (username(from)?, groupname(from)?);
        if !self.clients.contains_key(client) {
            return Err("Client not found".to_owned());
        }
        if !self.groups.contains_key(group) {
            return Err(NO_GROUP.to_owned());
        }
        self.change(client, |client| {
            client.groups.remove(group);
            Ok(())
        })
    }

    pub(super) fn add_group_role(&mut self, from: &Object) -> Answer {
        let (name, role) = (groupname(from)?, rolename(from)?);
        if !self.groups.contains_key(name) {
            return Err(NO_GROUP.to_owned());
        }
        let role = Arc::clone(self.roles.get_key_value(role).ok_or(NO_ROLE)?.0);
        let priority = priority(from, NO_PRIORITY);
        if !self.group_mut(name).is_some_and(|group| group.roles.add(&role, priority)) {
            return Err("Group is already in this role".to_owned());
        }
        Ok(Done::Changed(self.concerned_by_group(name)))
    }

    pub(super) fn remove_group_role(&mut self, from: &Object) -> Answer {
        let (name, role) = (groupname(from)?, rolename(from)?);
        if !self.groups.contains_key(name) {
            return Err(NO_GROUP.to_owned());
        }
        if !self.roles.contains_key(role) {
            return Err(NO_ROLE.to_owned());
        }
        self.group_mut(name).map(|group| group.roles.remove(role));
        Ok(Done::Changed(self.concerned_by_group(name)))
    }

    pub(super) fn get_group(&self, from: &Object) -> Answer {
        let name = groupname(from)?;
        let group = self.groups.get(name).ok_or(NO_GROUP)?;
        Ok(Done::Told(json!({ "group": self.tell_group(name, group) })))
    }

    pub(super) fn list_groups(&self, from: &Object) -> Answer {
        let verbose = |name: &str, group: &Arc<Group>| self.tell_group(name, group);
        Ok(Done::Told(page(from, "groups", self.groups.iter(), verbose)))
    }

    pub(super) fn get_anonymous_group(&self) -> Answer {
        let name = self.anonymous_group.as_deref().unwrap_or_default();
        Ok(Done::Told(json!({ "group": { "groupname": name } })))
    }

    pub(super) fn set_anonymous_group(&mut self, from: &Object) -> Answer {
        let known = self.groups.get_key_value(groupname(from)?);
        self.anonymous_group = Some(Arc::clone(known.ok_or(NO_GROUP)?.0));
        Ok(Done::Changed([Kick::Anonymous].into()))
    }

    /// Whose rights change with a group.
    pub(super) fn concerned_by_group(&self, name: &str) -> BTreeSet<Kick> {
        let mut kicks: BTreeSet<Kick> =
            self.members(name).map(|(client, _)| Kick::User(Arc::clone(client))).collect();
        if self.anonymous_group.as_deref() == Some(name) {
            kicks.insert(Kick::Anonymous);
        }
        kicks
    }

    fn empty_group(&mut self, name: &str) {
        let members: Vec<Arc<str>> =
            self.members(name).map(|(client, _)| Arc::clone(client)).collect();
        for client in members {
            self.client_mut(&client).map(|client| client.groups.remove(name));
        }
    }

    fn tell_group(&self, name: &str, group: &Group) -> Value {
        let mut object = Object::new();
        object.insert("groupname".into(), json!(name));
        put_text(&group.text, &mut object);
        // Their priorities are told with the client.
        let members = self.members(name);
        let members = members.map(|(name, _)| with_priority("username", name, NO_PRIORITY));
        object.insert("clients".into(), members.collect());
        object.insert("roles".into(), ranking(&group.roles, "rolename"));
        Value::Object(object)
    }
}

fn groupname(from: &Object) -> Result<&str, String> {
    text(from, "groupname", "Invalid/missing groupname")
}

fn members_of(from: &Object) -> Result<Vec<(&str, i32)>, String> {
    let members = ranked(from, "clients", "username");
    members.ok_or_else(|| "'clients' not an array or missing/invalid username".to_owned())
}
