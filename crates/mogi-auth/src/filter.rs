//! Topics, and filters clients want, against the filters of rules.

use crate::Who;

/// Whether `topic` is matched by a rule's filter. A topic that begins with `$` is matched only by
/// a filter that names its first level ([MQTT-4.7.2-1]), and what a client calls itself is no such
/// name: one called `$CONTROL` would administer the broker where everybody has `%c/#`.
pub fn matches(filter: &str, topic: &str) -> bool {
    matches_for(filter, topic, None)
}

/// The same with `%c` and `%u`, as whole levels, standing for the client's id and user name. They
/// are compared with one level of the topic, so that no name can reach further than that
/// (CVE-2017-7650).
pub fn matches_for(filter: &str, topic: &str, who: Option<&Who<'_>>) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut wanted = filter.split('/');
    let mut given = topic.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (Some("#"), _) => return true,
            (Some(level), Some(is)) => {
                if !level_matches(level, is, who) {
                    return false;
                }
            }
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether everything a client may get by subscribing to `wanted` is matched by a rule's filter.
pub fn covers_for(filter: &str, wanted: &str, who: Option<&Who<'_>>) -> bool {
    if wanted.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut rule = filter.split('/');
    let mut levels = wanted.split('/');
    loop {
        match (rule.next(), levels.next()) {
            (Some("#"), _) => return true,
            (_, Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(_), Some("+")) => return false,
            (Some(level), Some(is)) => {
                if !level_matches(level, is, who) {
                    return false;
                }
            }
            (None, None) => return true,
            _ => return false,
        }
    }
}

fn level_matches(level: &str, is: &str, who: Option<&Who<'_>>) -> bool {
    match (level, who) {
        ("+", _) => true,
        ("%c", Some(who)) => who.client_id == is,
        ("%u", Some(who)) => who.username == Some(is),
        _ => level == is,
    }
}

/// Whether a filter asks for the client's user name.
pub fn asks_user(filter: &str) -> bool {
    filter.split('/').any(|level| level == "%u")
}

/// Whether a filter asks for anything about the client.
pub fn asks_client(filter: &str) -> bool {
    filter.split('/').any(|level| level == "%u" || level == "%c")
}

/// Whether a name may be looked for in patterns: wildcards in it match nothing, and a client that
/// calls itself so means no good.
pub fn is_plain(name: &str) -> bool {
    !name.contains(['+', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Who<'_> = Who { client_id: "c", username: Some("u") };

    #[test]
    fn topics_are_matched_level_by_level() {
        for (filter, topic, yes) in [
            ("a/b", "a/b", true),
            ("a/b", "a", false),
            ("a", "a/b", false),
            ("#", "a/b", true),
            ("a/#", "a", true),
            ("a/#", "ab", false),
            ("+/b", "a/b", true),
            ("+", "a/b", false),
            ("+/+", "/", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("%u", "u", true),
            ("x/%c/#", "x/c/y", true),
            ("x/%c/#", "x/u/y", false),
            ("x/p%u", "x/pu", false),
            ("x/p%u", "x/p%u", true),
        ] {
            assert_eq!(matches_for(filter, topic, Some(&WHO)), yes, "{filter} {topic}");
        }
        assert!(!matches("%u", "u") && matches("%u", "%u"));
    }

    #[test]
    fn no_name_stands_for_the_first_level_of_a_topic_of_the_brokers() {
        let who = Who { client_id: "$CONTROL", username: Some("$CONTROL") };
        let topic = "$CONTROL/broker/v1";
        for filter in ["%c/#", "%u/#", "%c/broker/v1"] {
            assert!(!matches_for(filter, topic, Some(&who)), "{filter}");
            assert!(!covers_for(filter, topic, Some(&who)), "{filter}");
        }
        assert!(matches_for("$CONTROL/#", topic, Some(&who)));
        assert!(matches_for("x/%c", "x/$CONTROL", Some(&who)));
    }

    #[test]
    fn a_rule_covers_a_filter_that_asks_for_no_more() {
        for (rule, wanted, yes) in [
            ("#", "#", true),
            ("a/#", "a/+/b", true),
            ("a/#", "a", true),
            ("a/#", "#", false),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("+/+", "a/b", true),
            ("a/%u/#", "a/u/#", true),
            ("a/%u/#", "a/+/#", false),
            ("#", "$SYS/#", false),
            ("a", "a/#", false),
        ] {
            assert_eq!(covers_for(rule, wanted, Some(&WHO)), yes, "{rule} {wanted}");
        }
    }
}
