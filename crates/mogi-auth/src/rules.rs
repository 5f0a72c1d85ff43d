//! Several sources of rules, asked one after the other.

use crate::acl_file::AclFile;
use crate::dynsec::{Dynsec, Login};
use crate::hash::PasswordHash;
use crate::jwt::{Keys, TokenRules};
use crate::password_file::PasswordFile;
use crate::scram::ScramFile;
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
    /// Users by token, and their rights.
    Tokens(Arc<Tokens>),
    /// Users with a verifier for SCRAM, which logs in by itself.
    Scram(Arc<ScramFile>),
    /// Whom somebody else knows, who is asked by whoever asks here.
    Elsewhere,
}

/// Tokens that are believed.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// What is asked of them.
    pub rules: TokenRules,
    /// Who may have signed them.
    pub keys: Keys,
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
    /// With a token, or if somebody else knows it.
    Further,
}

impl RuleSet {
    /// How a client may come in.
    pub fn entry(&self, who: &Who<'_>, has_password: bool) -> Entry<'_> {
        let further = self.grants();
        let Some(username) = who.username else {
            if further && has_password {
                return Entry::Further;
            }
            return match self.allow_anonymous {
                true => Entry::Open,
                false => Entry::Refused("clients without a user name are not let in"),
            };
        };
        let mut any = false;
        for source in &self.sources {
            match source {
                Source::Acl(_) => {}
                Source::Tokens(_) | Source::Scram(_) | Source::Elsewhere => any = true,
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
        if further {
            return Entry::Further;
        }
        match (any, self.allow_anonymous) {
            // Where nobody knows users, a name makes no difference.
            (false, true) => Entry::Open,
            (false, false) => Entry::Refused("there are no users"),
            (true, _) => Entry::Refused("unknown user"),
        }
    }

    /// Whether clients may come in with rights of their own.
    pub fn grants(&self) -> bool {
        let grants = |source: &Source| matches!(source, Source::Tokens(_) | Source::Elsewhere);
        self.sources.iter().any(grants)
    }

    /// The tokens that are believed, if any are.
    pub fn tokens(&self) -> Option<&Arc<Tokens>> {
        self.sources.iter().find_map(|source| match source {
            Source::Tokens(tokens) => Some(tokens),
            _ => None,
        })
    }

    /// The users of SCRAM, if there are any.
    pub fn scram(&self) -> Option<&Arc<ScramFile>> {
        self.sources.iter().find_map(|source| match source {
            Source::Scram(file) => Some(file),
            _ => None,
        })
    }

    /// Whether anything is said about topics; if not, everything is allowed.
    pub fn limits_topics(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Acl(_) | Source::Dynsec(_)))
    }

    /// Whether a client may do that.
    pub fn allows(&self, who: &Who<'_>, access: Access, topic: &str) -> bool {
        let mut any = false;
        for source in &self.sources {
            let verdict = match source {
                Source::Passwords(_) | Source::Tokens(_) | Source::Scram(_) | Source::Elsewhere => {
                    continue;
                }
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
