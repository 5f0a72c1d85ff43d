//! From words to requests.

use serde_json::{Map, Value, json};

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Command {
    /// Where it is published to.
    pub(super) topic: &'static str,
    pub(super) request: Value,
}

/// Why words are no command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is no such command.
    Unknown(String),
    /// Something is missing, or is not what it should be.
    Input,
}

/// What a word after a command's name is.
#[derive(Clone, Copy)]
enum Word {
    /// Text that has to be there.
    Needed(&'static str),
    /// Text that may be there.
    Text(&'static str),
    /// A number that may be there.
    Number(&'static str),
    /// `TYPE FILTER allow|deny`, or `TYPE FILTER`.
    Acl { allow: bool },
    /// `TYPE allow|deny`.
    Default,
    /// A password, which is asked for where it is missing; `optional`: there may be none.
    Password { optional: bool },
    /// `-i ID` and `-p PASSWORD`.
    Flags,
}

use Word::{Acl, Default, Flags, Needed, Number, Password, Text};

const USER: Word = Needed("username");
const GROUP: Word = Needed("groupname");
const ROLE: Word = Needed("rolename");
const PRIORITY: Word = Number("priority");
const PAGE: &[Word] = &[Number("count"), Number("offset")];

const DYNSEC: &[(&str, &[Word])] = &[
    ("addClientRole", &[USER, ROLE, PRIORITY]),
    ("addGroupClient", &[GROUP, USER, PRIORITY]),
    ("addGroupRole", &[GROUP, ROLE, PRIORITY]),
    ("addRoleACL", &[ROLE, Acl { allow: true }, PRIORITY]),
    ("createClient", &[USER, Flags, Password { optional: true }]),
    ("createGroup", &[GROUP]),
    ("createRole", &[ROLE]),
    ("deleteClient", &[USER]),
    ("deleteGroup", &[GROUP]),
    ("deleteRole", &[ROLE]),
    ("disableClient", &[USER]),
    ("enableClient", &[USER]),
    ("getAnonymousGroup", &[]),
    ("getClient", &[USER]),
    ("getDefaultACLAccess", &[]),
    ("getGroup", &[GROUP]),
    ("getRole", &[ROLE]),
    ("listClients", PAGE),
    ("listGroups", PAGE),
    ("listRoles", PAGE),
    ("removeClientRole", &[USER, ROLE]),
    ("removeGroupClient", &[GROUP, USER]),
    ("removeGroupRole", &[GROUP, ROLE]),
    ("removeRoleACL", &[ROLE, Acl { allow: false }]),
    ("setAnonymousGroup", &[GROUP]),
    ("setClientId", &[USER, Text("clientid")]),
    ("setClientPassword", &[USER, Password { optional: false }]),
    ("setDefaultACLAccess", &[Default]),
];

const BROKER: &[(&str, &[Word])] = &[("drain", &[]), ("listListeners", &[]), ("listPlugins", &[])];

const ACL_TYPES: [&str; 6] = [
    "publishClientSend",
    "publishClientReceive",
    "subscribeLiteral",
    "subscribePattern",
    "unsubscribeLiteral",
    "unsubscribePattern",
];
const DEFAULT_TYPES: [&str; 4] =
    ["publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"];

/// Makes a request of a module's command and what stands behind it.
pub(super) fn build(module: &str, words: &[&str]) -> Result<Command, Wrong> {
    let (topic, commands) = match module {
        "broker" => ("$CONTROL/broker/v1", BROKER),
        _ => ("$CONTROL/dynamic-security/v1", DYNSEC),
    };
    let (name, rest) = words.split_first().ok_or(Wrong::Input)?;
    let known = commands.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some((name, wanted)) = known else {
        return Err(Wrong::Unknown((*name).to_owned()));
    };
    let mut command = Map::new();
    command.insert("command".to_owned(), json!(name));
    let mut rest = rest.iter().copied();
    for word in *wanted {
        take(&mut command, *word, &mut rest)?;
    }
    if rest.next().is_some() {
        return Err(Wrong::Input);
    }
    Ok(Command { topic, request: json!({ "commands": [command] }) })
}

fn take<'a>(
    command: &mut Map<String, Value>,
    word: Word,
    rest: &mut (impl Iterator<Item = &'a str> + Clone),
) -> Result<(), Wrong> {
    let mut put = |name: &str, value: Value| command.insert(name.to_owned(), value);
    match word {
        Needed(name) => {
            put(name, json!(rest.next().ok_or(Wrong::Input)?));
        }
        Text(name) => {
            if let Some(text) = rest.next() {
                put(name, json!(text));
            }
        }
        Number(name) => {
            if let Some(number) = rest.next() {
                put(name, json!(number.parse::<i32>().map_err(|_| Wrong::Input)?));
            }
        }
        Acl { allow } => {
            let kind = rest.next().and_then(|kind| one_of(&ACL_TYPES, kind));
            put("acltype", json!(kind.ok_or(Wrong::Input)?));
            put("topic", json!(rest.next().ok_or(Wrong::Input)?));
            if allow {
                put("allow", json!(allowed(rest.next())?));
            }
        }
        Default => {
            let kind = rest.next().and_then(|kind| one_of(&DEFAULT_TYPES, kind));
            let kind = kind.ok_or(Wrong::Input)?;
            let allow = allowed(rest.next())?;
            put("acls", json!([{ "acltype": kind, "allow": allow }]));
        }
        Flags => {
            while let Some(flag) = rest.clone().next() {
                let name = match flag {
                    "-i" => "clientid",
                    "-p" => "password",
                    _ => break,
                };
                rest.next();
                put(name, json!(rest.next().ok_or(Wrong::Input)?));
            }
        }
        Password { optional } => {
            if command.contains_key("password") {
                return Ok(());
            }
            let user = command.get("username").and_then(Value::as_str).unwrap_or_default();
            let given = if optional { None } else { rest.next() };
            let password = given.map(str::to_owned).or_else(|| ask(user, optional));
            match password {
                Some(password) => command.insert("password".to_owned(), json!(password)),
                None if optional => None,
                None => return Err(Wrong::Input),
            };
        }
    }
    Ok(())
}

fn one_of<'a>(names: &[&'a str], given: &str) -> Option<&'a str> {
    names.iter().copied().find(|name| name.eq_ignore_ascii_case(given))
}

fn allowed(word: Option<&str>) -> Result<bool, Wrong> {
    match word {
        Some("allow") => Ok(true),
        Some("deny") => Ok(false),
        _ => Err(Wrong::Input),
    }
}

/// Asks for a new password, and once more.
pub(super) fn ask(user: &str, optional: bool) -> Option<String> {
    if optional {
        crate::output::print(&format!(
            "Enter new password for {user}. Press return for no password (user will be unable to \
             login).\n"
        ));
    }
    let first = crate::passwd::ask_hidden(&format!("New password for {user}: "))?;
    let again = crate::passwd::ask_hidden(&format!("Reenter password for {user}: "))?;
    if first != again {
        eprintln!("Error: Passwords do not match.");
        return None;
    }
    String::from_utf8(first).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &str) -> Result<String, Wrong> {
        let words: Vec<&str> = words.split(' ').collect();
        build("dynsec", &words).map(|command| command.request["commands"][0].to_string())
    }

    #[test]
    fn words_become_fields() {
        for (words, fields) in [
            ("listClients", r#"{"command":"listClients"}"#),
            ("listRoles 2 1", r#"{"command":"listRoles","count":2,"offset":1}"#),
            (
                "createClient a -i id -p pw",
                r#"{"command":"createClient","username":"a","clientid":"id","password":"pw"}"#,
            ),
            (
                "addRoleACL r subscribePattern a/# deny 5",
                concat!(
                    r#"{"command":"addRoleACL","rolename":"r","acltype":"subscribePattern","#,
                    r#""topic":"a/#","allow":false,"priority":5}"#,
                ),
            ),
            ("setClientId a", r#"{"command":"setClientId","username":"a"}"#),
            (
                "SETDEFAULTACLACCESS subscribe allow",
                concat!(
                    r#"{"command":"setDefaultACLAccess","#,
                    r#""acls":[{"acltype":"subscribe","allow":true}]}"#,
                ),
            ),
        ] {
            assert_eq!(request(words).as_deref(), Ok(fields), "{words}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_refused() {
        for words in [
            "getClient",
            "getClient a b",
            "addRoleACL r foo a allow",
            "addRoleACL r publishClientSend a",
            "addRoleACL r publishClientSend a maybe",
            "addClientRole a r x",
            "setDefaultACLAccess subscribePattern allow",
            "createClient a -i",
            "createClient a -p pw more",
        ] {
            assert_eq!(request(words), Err(Wrong::Input), "{words}");
        }
        assert_eq!(request("nope"), Err(Wrong::Unknown("nope".to_owned())));
    }
}
