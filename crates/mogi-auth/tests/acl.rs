//! The ACL file against a naive reading of its manual.

use mogi_auth::acl_file::AclFile;
use mogi_auth::{Access, Who};
use proptest::prelude::*;

/// A line, as somebody would write it.
#[derive(Clone, Debug)]
enum Line {
    User(String),
    Topic(&'static str, String),
    Pattern(&'static str, String),
}

fn level() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "", "+", "%u", "%c", "$x", "ann", "id"])
        .prop_map(str::to_owned)
}

fn filter() -> impl Strategy<Value = String> {
    (prop::collection::vec(level(), 1..4), any::<bool>()).prop_map(|(levels, all)| {
        let mut filter = levels.join("/");
        if all {
            filter.push_str("/#");
        }
        if filter.is_empty() { "#".to_owned() } else { filter }
    })
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "", "%u", "$x", "ann", "id"]);
    prop::collection::vec(level, 1..4).prop_map(|levels| levels.join("/"))
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["ann", "id", "a", "b", "#", "+", "x/y"]).prop_map(str::to_owned)
}

fn line() -> impl Strategy<Value = Line> {
    let access = || prop::sample::select(vec!["", "read ", "write ", "readwrite ", "deny "]);
    prop_oneof![
        name().prop_map(Line::User),
        (access(), filter()).prop_map(|(access, filter)| Line::Topic(access, filter)),
        (access(), filter()).prop_map(|(access, filter)| Line::Pattern(access, filter)),
    ]
}

/// Whether levels match, one after the other.
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        ([f, filter @ ..], [t, topic @ ..]) => (*f == "+" || f == t) && matches(filter, topic),
        _ => false,
    }
}

fn oracle(lines: &[Line], who: &Who<'_>, access: Access, topic: &str) -> bool {
    let word = |access| match access {
        Access::Read => "read",
        _ => "write",
    };
    let grants = |given: &str| ["", "readwrite", word(access)].contains(&given.trim());
    let fits = |filter: &str, pattern: bool| {
        let mut levels: Vec<&str> = filter.split('/').collect();
        for level in levels.iter_mut().filter(|_| pattern) {
            match (*level, who.username) {
                ("%c", _) => *level = who.client_id,
                ("%u", Some(name)) => *level = name,
                ("%u", None) => return false,
                _ => {}
            }
        }
        let hidden = topic.starts_with('$') && !levels[0].starts_with('$');
        // A name with a slash is no level.
        let odd = levels.iter().any(|level| level.contains('/'));
        !hidden && !odd && matches(&levels, &topic.split('/').collect::<Vec<_>>())
    };
    let mut user: Option<&str> = None;
    let (mut own, mut patterns) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::User(name) => user = Some(name),
            Line::Topic(given, filter) if user == who.username => own.push((given, filter)),
            Line::Topic(..) => {}
            Line::Pattern(given, filter) => patterns.push((given, filter)),
        }
    }
    for (list, pattern) in [(own, false), (patterns, true)] {
        if pattern
            && (who.client_id.contains(['+', '#'])
                || who.username.is_some_and(|name| name.contains(['+', '#'])))
        {
            return false;
        }
        if list.iter().any(|(given, filter)| given.trim() == "deny" && fits(filter, pattern)) {
            return false;
        }
        if list.iter().any(|(given, filter)| grants(given) && fits(filter, pattern)) {
            return true;
        }
    }
    false
}

proptest! {
    #[test]
    fn rights_are_those_of_a_naive_reading(
        lines in prop::collection::vec(line(), 0..12),
        topic in topic(),
        client_id in name(),
        username in prop::option::of(name()),
        access in prop::sample::select(vec![Access::Read, Access::Write]),
    ) {
        prop_assume!(!topic.is_empty());
        let text: String = lines.iter().map(|line| match line {
            Line::User(name) => format!("user {name}\n"),
            Line::Topic(access, filter) => format!("topic {access}{filter}\n"),
            Line::Pattern(access, filter) => format!("pattern {access}{filter}\n"),
        }).collect();
        let (file, _) = AclFile::parse(text.as_bytes(), false).expect("read");
        let who = Who { client_id: &client_id, username: username.as_deref() };
        prop_assert_eq!(
            file.allows(&who, access, &topic),
            oracle(&lines, &who, access, &topic),
            "{}", text
        );
        prop_assert!(file.allows(&who, Access::Subscribe, &topic));
    }

    /// What may be subscribed to in strict mode may be read, topic by topic, unless it is denied.
    #[test]
    fn strict_subscribing_asks_for_no_more_than_reading(
        lines in prop::collection::vec(line(), 0..8),
        wanted in filter(),
        topic in topic(),
        username in prop::option::of(name()),
    ) {
        let lines: Vec<Line> = lines
            .into_iter()
            .filter(|line| !matches!(line, Line::Topic("deny ", _) | Line::Pattern("deny ", _)))
            .collect();
        prop_assume!(!topic.is_empty() && !wanted.contains('%') && !topic.contains('%'));
        let text: String = lines.iter().map(|line| match line {
            Line::User(name) => format!("user {name}\n"),
            Line::Topic(access, filter) => format!("topic {access}{filter}\n"),
            Line::Pattern(access, filter) => format!("pattern {access}{filter}\n"),
        }).collect();
        let (file, _) = AclFile::parse(text.as_bytes(), true).expect("read");
        let who = Who { client_id: "id", username: username.as_deref() };
        if file.allows(&who, Access::Subscribe, &wanted)
            && mogi_auth::filter::matches(&wanted, &topic)
        {
            prop_assert!(file.allows(&who, Access::Read, &topic), "{}", text);
        }
    }

    #[test]
    fn no_file_leads_to_a_panic(text in "[ -~\n\r\t\u{80}-\u{fff}]{0,200}") {
        let _ = AclFile::parse(text.as_bytes(), true);
        let _ = mogi_auth::password_file::PasswordFile::parse(text.as_bytes());
        let _ = mogi_auth::dynsec::Dynsec::parse(text.as_bytes());
    }
}

#[test]
fn lines_that_are_none_are_named() {
    for (text, line, what) in [
        ("topic foo bar", 1, "foo"),
        ("\ntopic", 2, "no topic filter"),
        ("# x\n\nuser \n", 3, "without a name"),
        ("topic a/#/b", 1, "a/#/b"),
        ("pattern write x/#y", 1, "x/#y"),
        ("garbage x", 1, "garbage"),
        ("  # x", 1, "none of topic, user and pattern"),
        ("topic\tread x", 1, "none of topic, user and pattern"),
    ] {
        let problem = AclFile::parse(text.as_bytes(), false).expect_err(text);
        assert_eq!(problem.line, line, "{text}");
        assert!(problem.what.contains(what), "{text}: {}", problem.what);
    }
    // Mosquitto takes these.
    for text in ["topic read", " topic x", "user a\nuser a", "topic read  two  words\r\n", "  "] {
        AclFile::parse(text.as_bytes(), false).expect(text);
    }
    let (_, doubts) = AclFile::parse(b"pattern read x/y", false).expect("read");
    assert_eq!(doubts, ["ACL pattern 'x/y' does not contain '%c' or '%u'."]);
}

#[test]
fn an_empty_file_denies_everything() {
    let (file, _) = AclFile::parse(b"", false).expect("read");
    let who = Who { client_id: "c", username: None };
    assert!(!file.allows(&who, Access::Read, "a") && !file.allows(&who, Access::Write, "a"));
}
