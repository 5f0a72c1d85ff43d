//! Topic names and filters, beside matchers that were written to be obvious and not fast.

use mogi_codec::Reason;
use mogi_codec::topic::{Shared, check_filter, check_name, has_wildcard, matches};
use proptest::prelude::*;

/// Section 4.7 by recursion over levels.
fn naive_matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([], []) => true,
        (["#"], _) => true,
        (["+", filter @ ..], [_, topic @ ..]) => naive_matches(filter, topic),
        ([wanted, filter @ ..], [level, topic @ ..]) => {
            wanted == level && naive_matches(filter, topic)
        }
        _ => false,
    }
}

fn naive(filter: &str, topic: &str) -> bool {
    let hidden = topic.as_bytes()[0] == b'$' && b"+#".contains(&filter.as_bytes()[0]);
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    !hidden && naive_matches(&filter, &topic)
}

/// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], level by level.
fn naive_valid(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    !filter.is_empty()
        && levels.iter().enumerate().all(|(i, level)| match *level {
            "+" => true,
            "#" => i + 1 == levels.len(),
            level => !level.contains(['+', '#']),
        })
}

fn naive_shared_valid(filter: &str) -> bool {
    let mut parts = filter.splitn(3, '/');
    if parts.next() != Some("$share") {
        return naive_valid(filter);
    }
    match (parts.next(), parts.next()) {
        (Some(group), Some(inner)) => {
            !group.is_empty() && !group.contains(['+', '#']) && naive_valid(inner)
        }
        _ => false,
    }
}

/// Few letters, so that filters and topics meet.
fn level() -> impl Strategy<Value = String> {
    "[ab$]{0,2}"
}

fn topic() -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(level(), 1..6);
    levels.prop_map(|levels| levels.join("/")).prop_filter("not empty", |text| !text.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+".to_owned())];
    (prop::collection::vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, rest)| {
            levels.extend(rest.then(|| "#".to_owned()));
            levels.join("/")
        })
        .prop_filter("not empty", |text| !text.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn matching_is_what_the_naive_matcher_says(filter in filter(), topic in topic()) {
        prop_assert_eq!(matches(&filter, &topic), naive(&filter, &topic));
    }

    #[test]
    fn a_topic_made_from_the_filter_matches(filter in filter(), filling in level()) {
        let topic = filter.replace('+', "x").replace('#', &format!("{filling}/y"));
        prop_assume!(!(topic.starts_with('$') && filter.starts_with(['+', '#'])));
        prop_assert!(matches(&filter, &topic), "{} {}", filter, topic);
    }

    #[test]
    fn filters_are_valid_when_the_naive_rule_says_so(
        filter in r"(\$share/?)?[ab+#/$]{0,8}"
    ) {
        let found = check_filter(&filter);
        prop_assert_eq!(found.is_ok(), naive_shared_valid(&filter), "{}: {:?}", filter, found);
        if let Err(err) = found {
            prop_assert_eq!(err.reason, Reason::TopicFilterInvalid);
        }
    }

    #[test]
    fn names_have_a_character_and_no_wildcard(name in "[ab+#/$]{0,6}") {
        let valid = !name.is_empty() && !name.contains(['+', '#']);
        prop_assert_eq!(check_name(&name).is_ok(), valid, "{}", name);
        prop_assert_eq!(has_wildcard(&name), name.contains(['+', '#']));
    }

    #[test]
    fn a_valid_name_is_a_filter_for_itself_only(a in topic(), b in topic()) {
        prop_assert_eq!(matches(&a, &b), a == b);
    }
}

/// The examples of section 4.7.
#[test]
fn the_examples_of_the_specification() {
    for (filter, yes, no) in [
        (
            "sport/tennis/player1/#",
            &[
                "sport/tennis/player1",
                "sport/tennis/player1/ranking",
                "sport/tennis/player1/score/wimbledon",
            ][..],
            &["sport/tennis/player2", "sport/tennis"][..],
        ),
        ("sport/#", &["sport", "sport/", "sport/a"], &["sports", "/sport"]),
        ("#", &["a", "/", "a/b/c", "/a"], &["$SYS", "$SYS/a"]),
        (
            "sport/tennis/+",
            &["sport/tennis/player1", "sport/tennis/"],
            &["sport/tennis", "sport/tennis/player1/ranking"],
        ),
        ("sport/+", &["sport/"], &["sport"]),
        ("+/+", &["/finance"], &["finance", "$SYS/x", "a/b/c"]),
        ("/+", &["/finance", "/"], &["finance", "/a/b"]),
        ("+", &["finance"], &["/finance", "$SYS"]),
        ("$SYS/#", &["$SYS", "$SYS/monitor/Clients"], &["SYS/a"]),
        ("$SYS/monitor/+", &["$SYS/monitor/Clients"], &["$SYS/monitor"]),
        ("+/monitor/Clients", &["a/monitor/Clients"], &["$SYS/monitor/Clients"]),
        ("+/tennis/#", &["a/tennis", "/tennis/x"], &["tennis", "$a/tennis"]),
        ("ACCOUNTS", &["ACCOUNTS"], &["Accounts", "ACCOUNTS/"]),
        ("a//b", &["a//b"], &["a/b", "a/ /b"]),
        ("A\u{30a}", &["A\u{30a}"], &["\u{c5}"]),
    ] {
        check_filter(filter).unwrap_or_else(|err| panic!("{filter}: {err}"));
        for topic in yes {
            assert!(matches(filter, topic), "{filter} does not match {topic}");
        }
        for topic in no {
            assert!(!matches(filter, topic), "{filter} matches {topic}");
        }
    }
}

#[test]
fn invalid_filters() {
    for filter in [
        "",
        "a#",
        "#a",
        "a/#/b",
        "##",
        "#/",
        "a+",
        "+a",
        "a/+b/c",
        "++",
        "a/b+",
        "/#/",
        "a/#/",
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//a",
        "$share/g+/a",
        "$share/#/a",
        "$share/+/a",
        "$share/g/a#",
        "$share/g/#/a",
    ] {
        let err = check_filter(filter).expect_err(filter);
        assert_eq!(err.reason, Reason::TopicFilterInvalid, "{filter}");
    }
}

/// Section 4.8.2.
#[test]
fn shared_subscriptions_are_taken_apart() {
    let split = |filter| Shared::parse(filter).expect("valid");
    let shared = |group, filter| Some(Shared { group, filter });
    assert_eq!(split("$share/g/a/#"), shared("g", "a/#"));
    assert_eq!(split("$share/g//"), shared("g", "/"));
    assert_eq!(split("$share/g/+"), shared("g", "+"));
    assert_eq!(split("$share/$g/$SYS/#"), shared("$g", "$SYS/#"));
    assert_eq!(split("$share/g/$share/h/a"), shared("g", "$share/h/a"));
    for plain in ["share/g/a", "$shared/g/a", "$Share/g/a", "/$share/g/a", "a", "$share2/x"] {
        assert_eq!(split(plain), None, "{plain}");
    }
}
