//! Fields of requests and files.

use super::model::{Acl, AclType, NO_PRIORITY, Ranking, Role, Text};
use mogi_codec::topic::check_filter;
use serde_json::{Map, Value, json};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// A field that has to be there as text; `error` if it is not.
pub(super) fn text<'a>(from: &'a Object, name: &str, error: &str) -> Result<&'a str, String> {
    from.get(name).and_then(Value::as_str).ok_or_else(|| error.to_owned())
}

/// A field that may be left out, but not be anything but text.
pub(super) fn optional<'a>(
    from: &'a Object,
    name: &str,
    error: &str,
) -> Result<Option<&'a str>, String> {
    match from.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| error.to_owned()),
    }
}

/// A whole number; what is none counts as not given, as in Mosquitto.
pub(super) fn number(from: &Object, name: &str) -> Option<i64> {
    let value = from.get(name)?;
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
}

/// A priority.
pub(super) fn priority(from: &Object, otherwise: i32) -> i32 {
    const RANGE: i64 = 100_000;
    number(from, "priority").map_or(otherwise, |number| number.clamp(-RANGE, RANGE) as i32)
}

/// Takes over `textname` and `textdescription` as far as they are given.
pub(super) fn take_text(from: &Object, to: &mut Text) -> Result<(), String> {
    if let Some(name) = optional(from, "textname", "Invalid/missing textname")? {
        to.name = Some(name.to_owned());
    }
    if let Some(text) = optional(from, "textdescription", "Invalid/missing textdescription")? {
        to.description = Some(text.to_owned());
    }
    Ok(())
}

/// Puts them into an object.
pub(super) fn put_text(text: &Text, into: &mut Object) {
    if let Some(name) = &text.name {
        into.insert("textname".into(), json!(name));
    }
    if let Some(description) = &text.description {
        into.insert("textdescription".into(), json!(description));
    }
}

/// `[{NAME: …, "priority": …}]` as (name, priority); `None`: it is not such a list. A list that is
/// not there is an empty one.
pub(super) fn ranked<'a>(from: &'a Object, list: &str, name: &str) -> Option<Vec<(&'a str, i32)>> {
    let Some(list) = from.get(list) else {
        return Some(Vec::new());
    };
    let entry = |value: &'a Value| {
        let object = value.as_object()?;
        Some((object.get(name)?.as_str()?, priority(object, NO_PRIORITY)))
    };
    list.as_array()?.iter().map(entry).collect()
}

/// The same list from a ranking; priorities nobody gave are left out.
pub(super) fn ranking(ranking: &Ranking, name: &str) -> Value {
    ranking.iter().map(|ranked| with_priority(name, &ranked.name, ranked.priority)).collect()
}

/// `{NAME: …, "priority": …}`.
pub(super) fn with_priority(name: &str, text: &str, priority: i32) -> Value {
    let mut object = Object::new();
    object.insert(name.into(), json!(text));
    if priority != NO_PRIORITY {
        object.insert("priority".into(), json!(priority));
    }
    Value::Object(object)
}

/// The rules in a list, without those that are none.
pub(super) fn take_acls(from: &Object, role: &mut Role) {
    let list = from.get("acls").and_then(Value::as_array);
    for object in list.into_iter().flatten().filter_map(Value::as_object) {
        let kind = object.get("acltype").and_then(Value::as_str).and_then(AclType::of);
        let topic = object.get("topic").and_then(Value::as_str);
        let (Some(kind), Some(topic)) = (kind, topic) else {
            continue;
        };
        if check_filter(topic).is_ok() {
            role.add(kind, acl(topic, object));
        }
    }
}

/// A rule's priority and answer; without one it is no.
pub(super) fn acl(topic: &str, from: &Object) -> Acl {
    let allow = from.get("allow").and_then(Value::as_bool).unwrap_or(false);
    Acl { topic: topic.to_owned(), priority: priority(from, 0), allow }
}

/// A role as an object.
pub(super) fn role(name: &str, role: &Role) -> Value {
    let mut object = Object::new();
    object.insert("rolename".into(), json!(name));
    put_text(&role.text, &mut object);
    object.insert("allowwildcardsubs".into(), json!(role.wildcards));
    let acls = AclType::ALL.iter().flat_map(|(kind, name)| {
        role.acls[*kind as usize].iter().map(move |acl| {
            json!({
                "acltype": name,
                "topic": acl.topic,
                "priority": acl.priority,
                "allow": acl.allow,
            })
        })
    });
    object.insert("acls".into(), acls.collect());
    Value::Object(object)
}
