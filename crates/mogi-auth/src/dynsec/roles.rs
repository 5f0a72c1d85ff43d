//! Commands about roles.

use super::clients::{NO_ROLE, rolename};
use super::fields::{Object, acl, role as tell, take_acls, take_text, text};
use super::model::{AclType, Dynsec, Role};
use super::request::{Answer, Done, Kick, page};
use mogi_codec::topic::check_filter;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Dynsec {
    pub(super) fn create_role(&mut self, from: &Object) -> Answer {
        let name = rolename(from)?;
        if name.is_empty() {
            return Err("Empty rolename".to_owned());
        }
        if self.roles.contains_key(name) {
            return Err("Role already exists".to_owned());
        }
        let mut role = Role::default();
        take_text(from, &mut role.text)?;
        role.wildcards = wildcards(from).unwrap_or(true);
        take_acls(from, &mut role);
        self.roles.insert(name.into(), Arc::new(role));
        Ok(Done::Changed(BTreeSet::new()))
    }

    pub(super) fn delete_role(&mut self, from: &Object) -> Answer {
        let name = rolename(from)?;
        if !self.roles.contains_key(name) {
            return Err(NO_ROLE.to_owned());
        }
        let kicks = self.concerned_by_role(name);
        self.roles.remove(name);
        let clients: Vec<Arc<str>> = self.clients.keys().cloned().collect();
        for client in clients {
            if self.clients.get(&client).is_some_and(|it| it.roles.contains(name)) {
                self.client_mut(&client).map(|client| client.roles.remove(name));
            }
        }
        for group in self.groups.values_mut().filter(|group| group.roles.contains(name)) {
            Arc::make_mut(group).roles.remove(name);
        }
        Ok(Done::Changed(kicks))
    }

    pub(super) fn modify_role(&mut self, from: &Object) -> Answer {
        let name = rolename(from)?;
        let known = self.roles.get(name).ok_or("Role does not exist")?;
        let mut role = Role::clone(known);
        take_text(from, &mut role.text)?;
        role.wildcards = wildcards(from).unwrap_or(role.wildcards);
        if from.get("acls").is_some_and(Value::is_array) {
            role.acls = Default::default();
            take_acls(from, &mut role);
        }
        self.roles.insert(name.into(), Arc::new(role));
        Ok(Done::Changed(self.concerned_by_role(name)))
    }

    pub(super) fn add_role_acl(&mut self, from: &Object) -> Answer {
        let name = self.known_role(from)?;
        let (kind, topic) = kind_and_topic(from)?;
        if check_filter(topic).is_err() {
            return Err("Invalid ACL topic".to_owned());
        }
        if !self.role_mut(&name).is_some_and(|role| role.add(kind, acl(topic, from))) {
            return Err("ACL with this topic already exists".to_owned());
        }
        Ok(Done::Changed(self.concerned_by_role(&name)))
    }

    pub(super) fn remove_role_acl(&mut self, from: &Object) -> Answer {
        let name = self.known_role(from)?;
        let (kind, topic) = kind_and_topic(from)?;
        if !self.role_mut(&name).is_some_and(|role| role.remove(kind, topic)) {
            return Err("ACL not found".to_owned());
        }
        Ok(Done::Changed(self.concerned_by_role(&name)))
    }

    pub(super) fn get_role(&self, from: &Object) -> Answer {
        let name = rolename(from)?;
        let role = self.roles.get(name).ok_or(NO_ROLE)?;
        Ok(Done::Told(json!({ "role": tell(name, role) })))
    }

    pub(super) fn list_roles(&self, from: &Object) -> Answer {
        let verbose = |name: &str, role: &Arc<Role>| tell(name, role);
        Ok(Done::Told(page(from, "roles", self.roles.iter(), verbose)))
    }

    fn known_role(&self, from: &Object) -> Result<Arc<str>, String> {
        let known = self.roles.get_key_value(rolename(from)?).ok_or(NO_ROLE)?;
        Ok(Arc::clone(known.0))
    }

    /// Whose rights change with a role.
    fn concerned_by_role(&self, name: &str) -> BTreeSet<Kick> {
        let has = self.clients.iter().filter(|(_, client)| client.roles.contains(name));
        let mut kicks: BTreeSet<Kick> =
            has.map(|(client, _)| Kick::User(Arc::clone(client))).collect();
        for (group, _) in self.groups.iter().filter(|(_, group)| group.roles.contains(name)) {
            kicks.extend(self.concerned_by_group(group));
        }
        kicks
    }
}

fn wildcards(from: &Object) -> Option<bool> {
    from.get("allowwildcardsubs").and_then(Value::as_bool)
}

fn kind_and_topic(from: &Object) -> Result<(AclType, &str), String> {
    let kind = text(from, "acltype", "Invalid/missing acltype")?;
    let kind = AclType::of(kind).ok_or("Unknown acltype")?;
    Ok((kind, text(from, "topic", "Invalid/missing topic")?))
}
