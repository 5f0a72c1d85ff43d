//! The file of topics and who may use them (`acl_file`, and the `acl-file` plugin).
//!
//! ```text
//! topic [read|write|readwrite|deny] FILTER      above any `user`: for clients without one
//! user NAME                                     the `topic` lines that follow are that user's
//! pattern [read|write|readwrite|deny] FILTER    for everybody, with %c and %u as levels
//! ```
//! A client's own lines are asked first, those that deny before the others; then the patterns in
//! the same way; then the answer is no.

use crate::filter::{asks_client, asks_user, covers_for, is_plain, matches_for};
use crate::password_file::Problem;
use crate::{Access, Who};
use mogi_codec::topic::{Shared, check_filter};
use std::collections::HashMap;

/// The rules of a file.
#[derive(Clone, Debug, Default)]
pub struct AclFile {
    anonymous: Rules,
    users: HashMap<Box<str>, Rules>,
    patterns: Rules,
    /// SUBSCRIBE is refused where not everything it asks for may be read.
    strict: bool,
}

/// What is allowed by lines of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    denied: Vec<Box<str>>,
    allowed: Vec<(Grant, Box<str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    read: bool,
    write: bool,
}

impl AclFile {
    /// Reads a file; beside it what is accepted, but hardly meant. `strict`: SUBSCRIBE is refused
    /// where not everything it asks for may be read; Mosquitto lets it pass, and delivers nothing.
    ///
    /// # Errors
    /// A line is none of those there are: the whole file is refused.
    pub fn parse(bytes: &[u8], strict: bool) -> Result<(Self, Vec<String>), Problem> {
        let mut file = Self { strict, ..Self::default() };
        let mut doubts = Vec::new();
        let mut user: Option<Box<str>> = None;
        for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let problem = |what: String| Problem { line: at + 1, what };
            let line = std::str::from_utf8(line).map_err(|_| problem("not UTF-8".to_owned()))?;
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // As in Mosquitto, blanks alone part words, and may stand before them.
            let line = line.trim_start_matches(' ');
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim_matches(' ');
            match word {
                "user" if rest.is_empty() => return Err(problem("'user' without a name".into())),
                "user" => user = Some(rest.into()),
                "topic" => {
                    let rules = match &user {
                        None => &mut file.anonymous,
                        Some(name) => file.users.entry(name.clone()).or_default(),
                    };
                    rules.add(rest).map_err(problem)?;
                }
                "pattern" => {
                    let filter = file.patterns.add(rest).map_err(problem)?;
                    if !asks_client(filter) {
                        doubts
                            .push(format!("ACL pattern '{filter}' does not contain '%c' or '%u'."));
                    }
                }
                other => {
                    let other = other.escape_debug();
                    return Err(problem(format!("'{other}' is none of topic, user and pattern")));
                }
            }
        }
        Ok((file, doubts))
    }

    /// Whether a client may do that.
    pub fn allows(&self, who: &Who<'_>, access: Access, topic: &str) -> bool {
        match access {
            Access::Read | Access::Write => {}
            Access::Unsubscribe => return true,
            Access::Subscribe if !self.strict => return true,
            Access::Subscribe => {}
        }
        let topic = match (access, Shared::parse(topic)) {
            (Access::Subscribe, Ok(Some(shared))) => shared.filter,
            _ => topic,
        };
        let own = match who.username {
            None => Some(&self.anonymous),
            Some(name) => self.users.get(name),
        };
        if let Some(answer) = own.and_then(|rules| rules.ask(None, access, topic)) {
            return answer;
        }
        // A client of such a name would match what others' names were put in for.
        let names = [Some(who.client_id), who.username];
        if !names.iter().flatten().all(|name| is_plain(name)) {
            return false;
        }
        self.patterns.ask(Some(who), access, topic).unwrap_or(false)
    }
}

impl Rules {
    /// Adds a line's `[ACCESS] FILTER`; the filter.
    pub(crate) fn add(&mut self, text: &str) -> Result<&str, String> {
        let (read, write) = (true, true);
        let (grant, filter) = match text.split_once(' ') {
            None => (Some(Grant { read, write }), text),
            Some((word, filter)) => {
                let filter = filter.trim_start_matches(' ');
                match word {
                    "read" => (Some(Grant { read, write: false }), filter),
                    "write" => (Some(Grant { read: false, write }), filter),
                    "readwrite" => (Some(Grant { read, write }), filter),
                    "deny" => (None, filter),
                    other => {
                        return Err(format!(
                            "'{}' is none of read, write, readwrite and deny; a filter with \
                             blanks needs one of them before it",
                            other.escape_debug()
                        ));
                    }
                }
            }
        };
        if filter.is_empty() {
            return Err("no topic filter".to_owned());
        }
        if let Err(error) = check_filter(filter) {
            return Err(format!("'{}': {}", filter.escape_debug(), error.what));
        }
        match grant {
            None => self.denied.push(filter.into()),
            Some(grant) => self.allowed.push((grant, filter.into())),
        }
        let last = match grant {
            None => self.denied.last(),
            Some(_) => self.allowed.last().map(|(_, filter)| filter),
        };
        Ok(last.map_or("", |filter| filter))
    }

    /// Whether any of these rules asks for anything about the client.
    pub(crate) fn ask_client(&self) -> bool {
        let allowed = self.allowed.iter().map(|(_, filter)| filter);
        self.denied.iter().chain(allowed).any(|filter| asks_client(filter))
    }

    /// What these rules say, if anything.
    pub(crate) fn ask(&self, who: Option<&Who<'_>>, access: Access, topic: &str) -> Option<bool> {
        let named = |filter: &str| {
            // A pattern for a user name is not about those who have none.
            who.is_none_or(|who| who.username.is_some() || !asks_user(filter))
        };
        if access == Access::Subscribe {
            // What is denied in part is denied at delivery, topic by topic.
            let denied = self.denied.iter().any(|f| named(f) && covers_for(f, topic, who));
            let allowed = |(grant, f): &(Grant, Box<str>)| {
                grant.read && named(f) && covers_for(f, topic, who)
            };
            return match denied {
                true => Some(false),
                false => self.allowed.iter().any(allowed).then_some(true),
            };
        }
        let hits = |filter: &str| named(filter) && matches_for(filter, topic, who);
        if self.denied.iter().any(|filter| hits(filter)) {
            return Some(false);
        }
        let wanted = |grant: &Grant| if access == Access::Read { grant.read } else { grant.write };
        let mut granted = self.allowed.iter().filter(|(grant, _)| wanted(grant));
        granted.any(|(_, filter)| hits(filter)).then_some(true)
    }
}
