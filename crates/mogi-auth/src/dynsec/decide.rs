//! What follows from clients, groups and roles.

use super::model::{AclType, Client, Dynsec, Ranking, Role};
use crate::filter::{covers_for, matches_for};
use crate::hash::PasswordHash;
use crate::{Access, Verdict, Who};
use std::sync::Arc;

/// What a client is to prove before it comes in.
#[derive(Debug)]
pub enum Login<'a> {
    /// Nobody of that name is known here.
    Unknown,
    /// It may not come in, whatever its password.
    Refused(&'static str),
    /// It has this password.
    Password(&'a PasswordHash),
}

impl Dynsec {
    /// How a client with a user name may come in.
    pub fn login(&self, username: &str, client_id: &str) -> Login<'_> {
        let Some(client) = self.clients.get(username) else {
            return Login::Unknown;
        };
        if client.disabled {
            return Login::Refused("the client is disabled");
        }
        if client.client_id.as_deref().is_some_and(|wanted| wanted != client_id) {
            return Login::Refused("another client id belongs to the user");
        }
        match &client.password {
            Some(hash) => Login::Password(hash),
            None => Login::Refused("the client has no password"),
        }
    }

    /// Whether a client may do that: its roles by priority, then its groups by priority and the
    /// roles of each, then the default.
    pub fn decide(&self, who: &Who<'_>, access: Access, topic: &str) -> Verdict {
        let answer = match who.username {
            Some(name) => match self.clients.get(name) {
                None => return Verdict::Defer,
                Some(client) => self.ask_client(client, who, access, topic),
            },
            None => match self.anonymous_group.as_ref().and_then(|name| self.groups.get(name)) {
                None => return Verdict::Defer,
                Some(group) => self.ask_roles(&group.roles, who, access, topic),
            },
        };
        let allowed = answer.unwrap_or_else(|| {
            let default = match access {
                Access::Write => self.default.send,
                Access::Read => self.default.receive,
                Access::Subscribe => self.default.subscribe,
                Access::Unsubscribe => self.default.unsubscribe,
            };
            // What administers the broker is never open by default.
            default && !is_control(topic)
        });
        if allowed { Verdict::Allow } else { Verdict::Deny }
    }

    fn ask_client(
        &self,
        client: &Client,
        who: &Who<'_>,
        access: Access,
        topic: &str,
    ) -> Option<bool> {
        self.ask_roles(&client.roles, who, access, topic).or_else(|| {
            let mut groups =
                client.groups.iter().filter_map(|ranked| self.groups.get(&ranked.name));
            groups.find_map(|group| self.ask_roles(&group.roles, who, access, topic))
        })
    }

    fn ask_roles(
        &self,
        roles: &Ranking,
        who: &Who<'_>,
        access: Access,
        topic: &str,
    ) -> Option<bool> {
        let roles = roles.iter().filter_map(|ranked| self.roles.get(&ranked.name));
        roles.map(Arc::as_ref).find_map(|role| ask_role(role, who, access, topic))
    }
}

/// Below which only administrators have business.
fn is_control(topic: &str) -> bool {
    topic == "$CONTROL" || topic.starts_with("$CONTROL/")
}

fn ask_role(role: &Role, who: &Who<'_>, access: Access, topic: &str) -> Option<bool> {
    let acls = |kind: AclType| role.acls[kind as usize].iter();
    let literal = |kind| acls(kind).find(|acl| acl.topic == topic).map(|acl| acl.allow);
    let pattern = |kind| {
        let mut acls = acls(kind);
        acls.find(|acl| covers_for(&acl.topic, topic, Some(who))).map(|acl| acl.allow)
    };
    let matching = |kind| {
        let mut acls = acls(kind);
        acls.find(|acl| matches_for(&acl.topic, topic, Some(who))).map(|acl| acl.allow)
    };
    match access {
        Access::Write => matching(AclType::Send),
        Access::Read => matching(AclType::Receive),
        Access::Subscribe if !role.wildcards && topic.contains(['+', '#']) => Some(false),
        Access::Subscribe => {
            literal(AclType::SubscribeLiteral).or_else(|| pattern(AclType::SubscribePattern))
        }
        Access::Unsubscribe => {
            literal(AclType::UnsubscribeLiteral).or_else(|| pattern(AclType::UnsubscribePattern))
        }
    }
}
