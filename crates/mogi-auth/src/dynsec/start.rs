//! What there is when there was no file: as Mosquitto 2.1 makes it, and as `mosquitto_ctrl dynsec
//! init` does.

use super::model::{Acl, AclType, Client, Dynsec, Group, NO_PRIORITY, Ranking, Role, Text};
use crate::hash::PasswordHash;
use std::sync::Arc;

use AclType::{Receive, Send, SubscribePattern, UnsubscribePattern};

/// Everything that can be done with topics.
const ALL: &[AclType] = &[Send, Receive, SubscribePattern, UnsubscribePattern];

/// Name, what it is for, and what it may do with one filter.
const ROLES: [(&str, &str, &[AclType], &str); 7] = [
    ("client", "Read/write access to the full application topic hierarchy.", ALL, "#"),
    (
        "broker-admin",
        "Grants access to administer general broker configuration.",
        ALL,
        "$CONTROL/broker/#",
    ),
    (
        "dynsec-admin",
        "Grants access to administer clients/groups/roles.",
        ALL,
        "$CONTROL/dynamic-security/#",
    ),
    ("super-admin", "Grants access to administer all kind of broker controls", ALL, "$CONTROL/#"),
    (
        "sys-notify",
        "Allow bridges to publish connection state messages.",
        &[Send],
        "$SYS/broker/connection/%c/state",
    ),
    ("sys-observe", "Observe the $SYS topic hierarchy.", &[Receive, SubscribePattern], "$SYS/#"),
    (
        "topic-observe",
        "Read only access to the full application topic hierarchy.",
        &[Receive, SubscribePattern, UnsubscribePattern],
        "#",
    ),
];

impl Dynsec {
    /// What a broker begins with that finds no file: an administrator with this password, roles
    /// for common purposes, and a group for clients without a user name.
    pub fn initial(password: PasswordHash) -> Self {
        let mut this = Self::default();
        for (name, about, kinds, filter) in ROLES {
            let mut role = Role::default();
            role.text.description = Some(about.to_owned());
            for kind in kinds {
                role.add(*kind, rule(filter));
            }
            this.roles.insert(name.into(), Arc::new(role));
        }
        let roles = ["super-admin", "sys-observe", "topic-observe"];
        this.add_admin("admin", "Admin user", password, &roles);
        let about = "If unauthenticated access is allowed, this group can be used to define roles \
                     for clients that connect without a password.";
        let text = Text {
            name: Some("Unauthenticated group".to_owned()),
            description: Some(about.to_owned()),
        };
        let name: Arc<str> = "unauthenticated".into();
        let group = Group { text, roles: Ranking::default() };
        this.groups.insert(Arc::clone(&name), Arc::new(group));
        this.anonymous_group = Some(name);
        this
    }

    /// What `mosquitto_ctrl dynsec init` writes: one client, with one role, who may administer
    /// dynamic security and look at everything.
    pub fn with_admin(username: &str, password: PasswordHash) -> Self {
        let mut this = Self::default();
        let mut role = Role::default();
        for kind in [Send, Receive, SubscribePattern] {
            role.add(kind, rule("$CONTROL/dynamic-security/#"));
        }
        for filter in ["$SYS/#", "#"] {
            role.add(Receive, rule(filter));
            role.add(SubscribePattern, rule(filter));
        }
        role.add(UnsubscribePattern, rule("#"));
        this.roles.insert("admin".into(), Arc::new(role));
        this.add_admin(username, "Dynsec admin user", password, &["admin"]);
        this
    }

    fn add_admin(&mut self, username: &str, about: &str, password: PasswordHash, roles: &[&str]) {
        let mut client = Client { password: Some(password), ..Client::default() };
        client.text.name = Some(about.to_owned());
        for role in roles {
            client.roles.add(&Arc::from(*role), NO_PRIORITY);
        }
        self.clients.insert(username.into(), Arc::new(client));
    }

    /// Sets a client's password, as `mosquitto_ctrl -f FILE dynsec setClientPassword` does; whether
    /// there is such a client.
    pub fn set_password(&mut self, username: &str, password: PasswordHash) -> bool {
        self.client_mut(username).map(|client| client.password = Some(password)).is_some()
    }
}

fn rule(filter: &str) -> Acl {
    Acl { topic: filter.to_owned(), priority: 0, allow: true }
}
