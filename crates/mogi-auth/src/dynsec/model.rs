//! Clients, groups, roles.

use crate::hash::PasswordHash;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All of it. A clone shares what it is made of, so that those who decide have one of their own.
#[derive(Clone, Debug, Default)]
pub struct Dynsec {
    pub(super) change_index: u64,
    pub(super) default: DefaultAccess,
    pub(super) clients: BTreeMap<Arc<str>, Arc<Client>>,
    pub(super) groups: BTreeMap<Arc<str>, Arc<Group>>,
    pub(super) roles: BTreeMap<Arc<str>, Arc<Role>>,
    /// The group of clients without a user name.
    pub(super) anonymous_group: Option<Arc<str>>,
}

/// The priority of those who were given none.
pub(super) const NO_PRIORITY: i32 = -1;

/// What is allowed where no rule says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultAccess {
    pub(super) send: bool,
    pub(super) receive: bool,
    pub(super) subscribe: bool,
    pub(super) unsubscribe: bool,
}

impl Default for DefaultAccess {
    fn default() -> Self {
        Self { send: false, receive: true, subscribe: false, unsubscribe: true }
    }
}

impl DefaultAccess {
    /// Their names in files and commands, in the order they are told.
    pub(super) const NAMES: [&str; 4] =
        ["publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"];

    pub(super) const fn all(&self) -> [bool; 4] {
        [self.send, self.receive, self.subscribe, self.unsubscribe]
    }

    /// The one of that name.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "publishClientSend" => Some(&mut self.send),
            "publishClientReceive" => Some(&mut self.receive),
            "subscribe" => Some(&mut self.subscribe),
            "unsubscribe" => Some(&mut self.unsubscribe),
            _ => None,
        }
    }
}

/// What people call something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
}

/// A name and how early it counts: the highest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    pub(super) name: Arc<str>,
    pub(super) priority: i32,
}

/// Names by priority, those of the same priority in the order they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranking(Vec<Ranked>);

impl Ranking {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Ranked> {
        self.0.iter()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|ranked| &*ranked.name == name)
    }

    /// Adds a name; `false` if it is there already.
    pub(super) fn add(&mut self, name: &Arc<str>, priority: i32) -> bool {
        if self.contains(name) {
            return false;
        }
        let at = self.0.partition_point(|ranked| ranked.priority >= priority);
        self.0.insert(at, Ranked { name: Arc::clone(name), priority });
        true
    }

    /// Removes a name; whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|ranked| &*ranked.name != name);
        self.0.len() < before
    }
}

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub(super) text: Text,
    /// `None`: it cannot log in.
    pub(super) password: Option<PasswordHash>,
    /// The only client id it may use.
    pub(super) client_id: Option<String>,
    pub(super) disabled: bool,
    pub(super) roles: Ranking,
    pub(super) groups: Ranking,
}

/// A group of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub(super) text: Text,
    pub(super) roles: Ranking,
}

/// What those who have the role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub(super) text: Text,
    /// Filters with wildcards may be subscribed to.
    pub(super) wildcards: bool,
    /// By type, and within a type by priority.
    pub(super) acls: [Vec<Acl>; 6],
}

impl Default for Role {
    fn default() -> Self {
        Self { text: Text::default(), wildcards: true, acls: Default::default() }
    }
}

/// One rule of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub(super) topic: String,
    pub(super) priority: i32,
    pub(super) allow: bool,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclType {
    /// Publishing to topics.
    Send,
    /// Getting messages of topics.
    Receive,
    /// Subscribing to that very filter.
    SubscribeLiteral,
    /// Subscribing to filters that ask for no more.
    SubscribePattern,
    /// Unsubscribing from that very filter.
    UnsubscribeLiteral,
    /// Unsubscribing from filters that ask for no more.
    UnsubscribePattern,
}

impl AclType {
    /// All of them, in the order they are told.
    pub(super) const ALL: [(Self, &str); 6] = [
        (Self::Send, "publishClientSend"),
        (Self::Receive, "publishClientReceive"),
        (Self::SubscribeLiteral, "subscribeLiteral"),
        (Self::SubscribePattern, "subscribePattern"),
        (Self::UnsubscribeLiteral, "unsubscribeLiteral"),
        (Self::UnsubscribePattern, "unsubscribePattern"),
    ];

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

impl Role {
    /// Adds a rule; `false` if there is one of that type for the topic already.
    pub(super) fn add(&mut self, kind: AclType, acl: Acl) -> bool {
        let acls = &mut self.acls[kind as usize];
        if acls.iter().any(|other| other.topic == acl.topic) {
            return false;
        }
        let at = acls.partition_point(|other| other.priority >= acl.priority);
        acls.insert(at, acl);
        true
    }

    /// Removes a rule; whether it was there.
    pub(super) fn remove(&mut self, kind: AclType, topic: &str) -> bool {
        let acls = &mut self.acls[kind as usize];
        let before = acls.len();
        acls.retain(|acl| acl.topic != topic);
        acls.len() < before
    }
}

impl Dynsec {
    /// How many clients there are.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn client_mut(&mut self, name: &str) -> Option<&mut Client> {
        self.clients.get_mut(name).map(Arc::make_mut)
    }

    pub(super) fn group_mut(&mut self, name: &str) -> Option<&mut Group> {
        self.groups.get_mut(name).map(Arc::make_mut)
    }

    pub(super) fn role_mut(&mut self, name: &str) -> Option<&mut Role> {
        self.roles.get_mut(name).map(Arc::make_mut)
    }

    /// The members of a group, in the order of their names, and their priorities.
    pub(super) fn members(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, i32)> {
        self.clients.iter().filter_map(move |(name, client)| {
            let ranked = client.groups.iter().find(|ranked| &*ranked.name == group)?;
            Some((name, ranked.priority))
        })
    }
}
