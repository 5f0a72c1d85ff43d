//! Rights that came with a login: in a token, or in the answer of whoever was asked.
//!
//! ```text
//! {"pub": ["a/#"], "sub": ["b/%c/#"], "all": []}                     filters by what they allow
//! ["read a/#", "deny a/secret"]                                      lines as in acl_file
//! [{"permission": "allow", "action": "publish", "topic": "a/%u"}]    one object a rule
//! ```

use crate::acl_file::Rules;
use crate::filter::is_plain;
use crate::{Access, Who};
use mogi_codec::topic::Shared;
use serde_json::{Map, Value};

/// Rules a grant may have; with more a login would cost too much.
const MAX_RULES: usize = 1000;

/// What a client may do, because somebody it is known to said so. What is not allowed is denied.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    rules: Rules,
    count: usize,
}

impl Granted {
    /// Reads rules in any of the three forms.
    ///
    /// # Errors
    /// It has none of them, a topic that is no filter, or too many rules: what is not understood
    /// grants nothing.
    pub fn parse(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Object(lists) => self.parse_lists(lists),
            Value::Array(rules) => rules.iter().try_for_each(|rule| match rule {
                Value::String(line) => self.add(line.strip_prefix("topic ").unwrap_or(line)),
                Value::Object(rule) => self.parse_rule(rule),
                _ => Err("a rule is neither text nor an object".to_owned()),
            }),
            _ => Err("it is neither an object nor a list".to_owned()),
        }
    }

    /// Adds a rule as in `acl_file`: `[read|write|readwrite|deny] FILTER`, with `%c` and `%u`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn add(&mut self, rule: &str) -> Result<(), String> {
        self.count += 1;
        if self.count > MAX_RULES {
            return Err(format!("more than {MAX_RULES} rules"));
        }
        self.rules.add(rule).map(drop)
    }

    /// Whether the client may do that.
    pub fn allows(&self, who: &Who<'_>, access: Access, topic: &str) -> bool {
        // A client of such a name would match what others' names were put in for.
        let mut names = [Some(who.client_id), who.username].into_iter().flatten();
        if !names.all(is_plain) && self.rules.ask_client() {
            return false;
        }
        let topic = match (access, Shared::parse(topic)) {
            (Access::Unsubscribe, _) => return true,
            (Access::Subscribe, Ok(Some(shared))) => shared.filter,
            _ => topic,
        };
        self.rules.ask(Some(who), access, topic).unwrap_or(false)
    }

    fn parse_lists(&mut self, lists: &Map<String, Value>) -> Result<(), String> {
        for (name, filters) in lists {
            let access = match name.as_str() {
                "pub" | "publish" | "write" => "write",
                "sub" | "subscribe" | "read" => "read",
                "all" | "readwrite" => "readwrite",
                "deny" => "deny",
                other => return Err(format!("'{}' is no kind of rights", other.escape_debug())),
            };
            self.add_all(access, filters)?;
        }
        Ok(())
    }

    fn parse_rule(&mut self, rule: &Map<String, Value>) -> Result<(), String> {
        let text = |name: &str| rule.get(name).and_then(Value::as_str);
        let access = match (text("permission"), text("action").unwrap_or("all")) {
            (Some("allow") | None, "publish" | "pub") => "write",
            (Some("allow") | None, "subscribe" | "sub") => "read",
            (Some("allow") | None, "all" | "pubsub") => "readwrite",
            // What is denied is denied for both: there is no finer word for it.
            (Some("deny"), "all" | "pubsub") => "deny",
            (Some("deny"), _) => return Err("a rule denies only one of two actions".to_owned()),
            _ => return Err("a rule has another permission or action".to_owned()),
        };
        let known = ["permission", "action", "topic", "topics"];
        if let Some(other) = rule.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("a rule has '{}'", other.escape_debug()));
        }
        let topics = rule.get("topics").or_else(|| rule.get("topic"));
        self.add_all(access, topics.ok_or("a rule has no topic")?)
    }

    fn add_all(&mut self, access: &str, filters: &Value) -> Result<(), String> {
        match filters {
            Value::String(filter) => self.add(&format!("{access} {filter}")),
            Value::Array(filters) => filters.iter().try_for_each(|filter| match filter.as_str() {
                Some(filter) => self.add(&format!("{access} {filter}")),
                None => Err("a topic is no text".to_owned()),
            }),
            _ => Err("a topic is no text".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WHO: Who<'_> = Who { client_id: "c1", username: Some("ann") };

    fn granted(value: &Value) -> Granted {
        let mut granted = Granted::default();
        granted.parse(value).expect("understood");
        granted
    }

    #[test]
    fn the_three_forms_say_the_same() {
        for value in [
            json!({"pub": ["a/%u"], "sub": "b/%c/#", "deny": ["b/c1/x"]}),
            json!(["write a/%u", "topic read b/%c/#", "deny b/c1/x"]),
            json!([
                {"permission": "allow", "action": "publish", "topic": "a/%u"},
                {"action": "subscribe", "topics": ["b/%c/#"]},
                {"permission": "deny", "action": "all", "topic": "b/c1/x"},
            ]),
        ] {
            let granted = granted(&value);
            let may = |access, topic| granted.allows(&WHO, access, topic);
            assert!(may(Access::Write, "a/ann") && !may(Access::Write, "a/bob"), "{value}");
            assert!(!may(Access::Read, "a/ann") && may(Access::Read, "b/c1/y"), "{value}");
            assert!(!may(Access::Read, "b/c1/x") && !may(Access::Read, "b/c2/y"), "{value}");
            assert!(may(Access::Subscribe, "b/c1/+") && !may(Access::Subscribe, "b/#"), "{value}");
            assert!(may(Access::Subscribe, "$share/g/b/c1/y"), "{value}");
            assert!(may(Access::Unsubscribe, "anything"), "{value}");
        }
    }

    #[test]
    fn what_is_not_understood_grants_nothing() {
        for value in [
            json!("a/#"),
            json!(3),
            json!({"own": ["a"]}),
            json!({"pub": [3]}),
            json!({"pub": ["a/#/b"]}),
            json!([{"permission": "maybe", "topic": "a"}]),
            json!([{"permission": "deny", "action": "publish", "topic": "a"}]),
            json!([{"topic": "a", "qos": 1}]),
            json!([{"permission": "allow"}]),
            json!(vec!["read a"; MAX_RULES + 1]),
        ] {
            assert!(Granted::default().parse(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn no_name_reaches_further_than_one_level() {
        let granted = granted(&json!(["a/%u/#", "%c"]));
        let mallory = Who { client_id: "+", username: Some("#") };
        assert!(!granted.allows(&mallory, Access::Read, "a/b"));
        assert!(!granted.allows(&mallory, Access::Write, "+"));
    }
}
