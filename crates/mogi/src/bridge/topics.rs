//! What a bridge carries, and how topics change on the way: `topic` of mosquitto.conf(5).
//!
//! ```text
//!  topic PATTERN DIRECTION QOS LOCAL REMOTE
//!     this broker   LOCAL PATTERN   ⇄   REMOTE PATTERN   the other broker
//! ```

use mogi_codec::QoS;
use mogi_codec::topic::{check_filter, matches};

/// All topics of a bridge, in the order of the file: the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topics {
    rules: Vec<Rule>,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    #[default]
    Out,
    In,
    Both,
}

/// One `topic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    direction: Direction,
    qos: QoS,
    local: Filter,
    remote: Filter,
}

/// A prefix, and the pattern behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    whole: String,
    prefix_len: usize,
}

/// Why a `topic` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRule {
    /// Without a pattern both prefixes have to be there.
    Remapping,
    LocalPrefix,
    RemotePrefix,
    /// Prefix and pattern together are no filter.
    Local,
    Remote,
}

impl Rule {
    /// One `topic`; an empty prefix is none, and an empty pattern is the prefixes alone.
    ///
    /// # Errors
    /// It can carry nothing.
    pub(crate) fn new(
        pattern: &str,
        direction: Direction,
        qos: QoS,
        local: &str,
        remote: &str,
    ) -> Result<Self, BadRule> {
        if pattern.is_empty() && (local.is_empty() || remote.is_empty()) {
            return Err(BadRule::Remapping);
        }
        for (prefix, bad) in [(local, BadRule::LocalPrefix), (remote, BadRule::RemotePrefix)] {
            if prefix.contains(['+', '#']) {
                return Err(bad);
            }
        }
        let filter = |prefix: &str, bad| {
            let whole = format!("{prefix}{pattern}");
            check_filter(&whole).map_err(|_| bad)?;
            Ok(Filter { whole, prefix_len: prefix.len() })
        };
        let (local, remote) = (filter(local, BadRule::Local)?, filter(remote, BadRule::Remote)?);
        Ok(Self { direction, qos, local, remote })
    }

    const fn goes_out(&self) -> bool {
        matches!(self.direction, Direction::Out | Direction::Both)
    }

    const fn comes_in(&self) -> bool {
        matches!(self.direction, Direction::In | Direction::Both)
    }
}

impl Filter {
    /// The topic on the other side, if it is one of these.
    fn map(&self, topic: &str, to: &Self) -> Option<String> {
        if !matches(&self.whole, topic) {
            return None;
        }
        // `a/#` matches `a`: then there is less than the prefix.
        let rest = topic.get(self.prefix_len..).unwrap_or_default();
        let mapped = format!("{}{rest}", &to.whole[..to.prefix_len]);
        let mapped = if topic.len() < self.prefix_len {
            mapped.strip_suffix('/').map_or_else(|| mapped.clone(), str::to_owned)
        } else {
            mapped
        };
        (!mapped.is_empty() && mapped.len() <= usize::from(u16::MAX)).then_some(mapped)
    }
}

impl Topics {
    /// What is carried, and under which names, a line each.
    pub(crate) fn list(&self) -> String {
        let line = |rule: &Rule| {
            let Rule { direction, local, remote, .. } = rule;
            let way = match direction {
                Direction::Out => "out",
                Direction::In => "in",
                Direction::Both => "both",
            };
            format!("{way} {} {} {}\n", local.whole, remote.whole, remote.prefix_len)
        };
        self.rules.iter().map(line).collect()
    }

    /// Adds a topic, unless it is there already.
    pub(crate) fn add(&mut self, rule: Rule) -> bool {
        let known = self.rules.contains(&rule);
        if !known {
            self.rules.push(rule);
        }
        !known
    }

    /// What to subscribe to in this broker, and with which QoS.
    pub(crate) fn local_filters(&self) -> impl Iterator<Item = (&str, QoS)> {
        let out = self.rules.iter().filter(|rule| rule.goes_out());
        out.map(|rule| (&*rule.local.whole, rule.qos))
    }

    /// What to subscribe to in the other broker, and with which QoS.
    pub(crate) fn remote_filters(&self) -> impl Iterator<Item = (&str, QoS)> {
        let comes_in = self.rules.iter().filter(|rule| rule.comes_in());
        comes_in.map(|rule| (&*rule.remote.whole, rule.qos))
    }

    /// What the bridge must not be subscribed to in the other broker: it was, if the topic had
    /// another direction before.
    pub(crate) fn remote_leftovers(&self) -> impl Iterator<Item = &str> {
        let wanted = |filter: &str| self.remote_filters().any(|(other, _)| other == filter);
        let only_out = self.rules.iter().filter(|rule| !rule.comes_in());
        only_out.map(|rule| &*rule.remote.whole).filter(move |filter| !wanted(filter))
    }

    /// What a topic of this broker is called in the other one; `None`: it does not go there.
    pub(crate) fn to_remote(&self, topic: &str) -> Option<String> {
        let mut out = self.rules.iter().filter(|rule| rule.goes_out());
        out.find_map(|rule| rule.local.map(topic, &rule.remote))
    }

    /// What a topic of the other broker is called here; `None`: it is not wanted.
    pub(crate) fn to_local(&self, topic: &str) -> Option<String> {
        let mut comes_in = self.rules.iter().filter(|rule| rule.comes_in());
        comes_in.find_map(|rule| rule.remote.map(topic, &rule.local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Both, In, Out};

    fn rule(pattern: &str, direction: Direction, local: &str, remote: &str) -> Rule {
        Rule::new(pattern, direction, QoS::AtLeastOnce, local, remote).expect("a rule")
    }

    fn topics(rules: &[Rule]) -> Topics {
        Topics { rules: rules.to_vec() }
    }

    #[test]
    fn prefixes_are_exchanged_as_the_manual_has_it() {
        for (local, remote, here, there) in [
            ("L/", "R/", "L/pattern", "R/pattern"),
            ("L/", "", "L/pattern", "pattern"),
            ("", "R/", "pattern", "R/pattern"),
            ("", "", "pattern", "pattern"),
        ] {
            let topics = topics(&[rule("pattern", Both, local, remote)]);
            assert_eq!(topics.to_remote(here).as_deref(), Some(there));
            assert_eq!(topics.to_local(there).as_deref(), Some(here));
            assert_eq!(topics.local_filters().next(), Some((here, QoS::AtLeastOnce)));
            assert_eq!(topics.remote_filters().next(), Some((there, QoS::AtLeastOnce)));
        }
        let single = topics(&[rule("", Both, "local", "remote")]);
        assert_eq!(single.to_remote("local").as_deref(), Some("remote"));
        assert_eq!(single.to_local("remote").as_deref(), Some("local"));
        assert_eq!(single.to_remote("local/x"), None);
    }

    #[test]
    fn the_manual_s_invalid_rules_are_refused() {
        let new = |pattern, local, remote| Rule::new(pattern, Out, QoS::AtMostOnce, local, remote);
        for (local, remote) in [("local", ""), ("", "remote"), ("", "")] {
            assert_eq!(new("", local, remote), Err(BadRule::Remapping));
        }
        assert_eq!(new("a", "l/#", "r"), Err(BadRule::LocalPrefix));
        assert_eq!(new("a", "l", "+/r"), Err(BadRule::RemotePrefix));
        assert_eq!(new("#", "l", "r/"), Err(BadRule::Local));
        assert_eq!(new("#", "l/", "r"), Err(BadRule::Remote));
        assert_eq!(new("a/#/b", "", ""), Err(BadRule::Local));
    }

    #[test]
    fn directions_are_kept_apart_and_the_first_rule_counts() {
        let topics = topics(&[
            rule("a/#", Out, "", "out/"),
            rule("a/b", Both, "", "both/"),
            rule("c", In, "in/", ""),
        ]);
        assert_eq!(topics.to_remote("a/b").as_deref(), Some("out/a/b"));
        assert_eq!(topics.to_local("both/a/b").as_deref(), Some("a/b"));
        assert_eq!(topics.to_local("out/a/b"), None);
        assert_eq!(topics.to_remote("in/c"), None);
        assert_eq!(topics.to_local("c").as_deref(), Some("in/c"));
        assert_eq!(topics.remote_leftovers().collect::<Vec<_>>(), ["out/a/#"]);
    }

    #[test]
    fn a_tree_s_root_is_mapped_as_well() {
        let topics = topics(&[rule("#", Both, "l/", "remote/tree/"), rule("x/#", Out, "", "")]);
        assert_eq!(topics.to_remote("l").as_deref(), Some("remote/tree"));
        assert_eq!(topics.to_local("remote/tree").as_deref(), Some("l"));
        assert_eq!(topics.to_remote("l/").as_deref(), Some("remote/tree/"));
        assert_eq!(topics.to_remote("x").as_deref(), Some("x"));
    }

    #[test]
    fn topics_of_the_broker_itself_need_to_be_named() {
        let all = topics(&[rule("#", Both, "", "r/")]);
        assert_eq!(all.to_remote("$SYS/broker/uptime"), None);
        let named = topics(&[rule("clients/total", In, "test/", "$SYS/broker/")]);
        let mapped = named.to_local("$SYS/broker/clients/total");
        assert_eq!(mapped.as_deref(), Some("test/clients/total"));
    }

    /// Numbers as good as random, the same in every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) as usize % sides
        }

        fn levels(&mut self, most: usize, words: &[&str]) -> String {
            let count = 1 + self.roll(most);
            let levels: Vec<&str> = (0..count).map(|_| words[self.roll(words.len())]).collect();
            levels.join("/")
        }
    }

    #[test]
    fn what_goes_there_and_comes_back_is_the_same() {
        let mut dice = Dice(1);
        let mut mapped = 0;
        for _ in 0..20_000 {
            let pattern = dice.levels(3, &["a", "b", "+", "#", "ü", ""]);
            let (local, remote) =
                (["", "l/", "l/m/", "$x/"][dice.roll(4)], ["", "r/", "/", "s/t/"][dice.roll(4)]);
            let Ok(rule) = Rule::new(&pattern, Both, QoS::AtMostOnce, local, remote) else {
                continue;
            };
            let topics = topics(&[rule]);
            let topic = format!("{local}{}", dice.levels(4, &["a", "b", "ü", "", "c"]));
            if topic.is_empty() {
                continue;
            }
            let filter = format!("{local}{pattern}");
            let Some(there) = topics.to_remote(&topic) else {
                let lost = format!("{remote}{}", &topic[local.len()..]);
                assert!(!matches(&filter, &topic) || lost.is_empty(), "{filter} {topic}");
                continue;
            };
            assert!(matches(&filter, &topic));
            // A wildcard of the other side does not match what became a topic of the broker.
            if matches(&format!("{remote}{pattern}"), &there) {
                assert_eq!(topics.to_local(&there).as_deref(), Some(&*topic), "{filter} {there}");
                mapped += 1;
            }
        }
        assert!(mapped > 1000, "{mapped}");
    }
}
