//! Several sources of rules, asked one after the other.

use crate::acl_file::AclFile;
use crate::dynsec::{Dynsec, Login};
use crate::hash::PasswordHash;
use crate::password_file::PasswordFile;
use crate::{Access, Verdict, Who};
use std::sync::Arc;

/// One source.
#[derive(Clone, Debug)]
pub enum Source {
    /// Users and passwords.
    Passwords(Arc<PasswordFile>),
    /// Topics by user.
    Acl(Arc<AclFile>),
    /// Both.
    Dynsec(Arc<Dynsec>),
}

/// All rules that count for a listener, in the order they are asked.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// The sources.
    pub sources: Vec<Source>,
    /// Clients without a user name may come in.
    pub allow_anonymous: bool,
}

/// How a client may come in.
#[derive(Debug)]
pub enum Entry<'a> {
    /// As it is.
    Open,
    /// Not at all, for this reason.
    Refused(&'static str),
    /// With this password.
    Password(&'a PasswordHash),
}

impl RuleSet {
    /// How a client may come in.
    pub fn entry(&self, who: &Who<'_>) -> Entry<'_> {
        let Some(username) = who.username else {
            return match self.allow_anonymous {
                true => Entry::Open,
                false => Entry::Refused("clients without a user name are not let in"),
            };
        };
        let mut any = false;
        for source in &self.sources {
            match source {
                Source::Acl(_) => {}
                Source::Passwords(file) => {
                    any = true;
                    if let Some(hash) = file.get(username) {
                        return Entry::Password(hash);
                    }
                }
                Source::Dynsec(dynsec) => {
                    any = true;
                    match dynsec.login(username, who.client_id) {
                        Login::Unknown => {}
                        Login::Refused(why) => return Entry::Refused(why),
                        Login::Password(hash) => return Entry::Password(hash),
                    }
                }
            }
        }
        match (any, self.allow_anonymous) {
            // Where nobody knows users, a name makes no difference.
            (false, true) => Entry::Open,
            (false, false) => Entry::Refused("there are no users"),
            (true, _) => Entry::Refused("unknown user"),
        }
    }

    /// Whether anything is said about topics; if not, everything is allowed.
    pub fn limits_topics(&self) -> bool {
        self.sources.iter().any(|source| !matches!(source, Source::Passwords(_)))
    }

    /// Whether a client may do that.
    pub fn allows(&self, who: &Who<'_>, access: Access, topic: &str) -> bool {
        let mut any = false;
        for source in &self.sources {
            let verdict = match source {
                Source::Passwords(_) => continue,
                Source::Acl(file) => match file.allows(who, access, topic) {
                    true => Verdict::Allow,
                    false => Verdict::Deny,
                },
                Source::Dynsec(dynsec) => dynsec.decide(who, access, topic),
            };
            any = true;
            match verdict {
                Verdict::Allow => return true,
                Verdict::Deny => return false,
                Verdict::Defer => {}
            }
        }
        !any
    }
}
