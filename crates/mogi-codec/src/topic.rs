//! Topic names, topic filters and shared subscriptions (section 4.7, 4.8).

use crate::{DecodeError, Reason};

/// Checks a topic name as a PUBLISH carries it: at least one character and no wildcard
/// ([MQTT-3.3.2-2], [MQTT-4.7.3-1]). UTF-8 and U+0000 were checked when the string was read.
///
/// # Errors
/// Topic Name invalid (0x90).
#[inline]
pub fn check_name(topic: &str) -> Result<(), DecodeError> {
    if topic.is_empty() {
        return Err(DecodeError::new(Reason::TopicNameInvalid, "topic name is empty"));
    }
    if topic.bytes().any(|byte| byte == b'+' || byte == b'#') {
        return Err(DecodeError::new(Reason::TopicNameInvalid, "wildcard in a topic name"));
    }
    Ok(())
}

/// Checks a topic filter, shared or not: `#` last and alone in its level, `+` alone in its level
/// ([MQTT-4.7.1-1], [MQTT-4.7.1-2]), and a well-formed `$share/NAME/FILTER` ([MQTT-4.8.2-1],
/// [MQTT-4.8.2-2]).
///
/// # Errors
/// Topic Filter invalid (0x8F).
pub fn check_filter(filter: &str) -> Result<(), DecodeError> {
    match Shared::parse(filter)? {
        Some(shared) => check_plain_filter(shared.filter),
        None => check_plain_filter(filter),
    }
}

fn check_plain_filter(filter: &str) -> Result<(), DecodeError> {
    const fn invalid(what: &'static str) -> Result<(), DecodeError> {
        Err(DecodeError::new(Reason::TopicFilterInvalid, what))
    }
    if filter.is_empty() {
        return invalid("topic filter is empty");
    }
    let bytes = filter.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        let starts = i == 0 || bytes[i - 1] == b'/';
        let last = i + 1 == bytes.len();
        match byte {
            b'#' if !starts || !last => return invalid("'#' is not a level of its own at the end"),
            b'+' if !starts || !(last || bytes[i + 1] == b'/') => {
                return invalid("'+' is not a level of its own");
            }
            _ => {}
        }
    }
    Ok(())
}

/// A shared subscription, `$share/GROUP/FILTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared<'a> {
    /// The share name: not empty, without `/`, `+`, `#`.
    pub group: &'a str,
    /// The filter messages are matched against.
    pub filter: &'a str,
}

impl<'a> Shared<'a> {
    /// Splits `filter`; `None` where it is no shared subscription.
    ///
    /// # Errors
    /// Topic Filter invalid where it begins with `$share/` and has no name or no filter
    /// ([MQTT-4.8.2-1], [MQTT-4.8.2-2]).
    pub fn parse(filter: &'a str) -> Result<Option<Self>, DecodeError> {
        let Some(rest) = filter.strip_prefix("$share/") else {
            // `$share` alone has no name and could never match: refused like a broken one.
            return match filter {
                "$share" => Err(BAD_SHARE),
                _ => Ok(None),
            };
        };
        let (group, inner) = rest.split_once('/').ok_or(BAD_SHARE)?;
        if group.is_empty() || inner.is_empty() || group.contains(['+', '#']) {
            return Err(BAD_SHARE);
        }
        Ok(Some(Self { group, filter: inner }))
    }
}

const BAD_SHARE: DecodeError =
    DecodeError::new(Reason::TopicFilterInvalid, "shared subscription is not $share/NAME/FILTER");

/// Whether `filter` has a wildcard. It has to be valid.
pub fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| byte == b'+' || byte == b'#')
}

/// Whether `topic` matches `filter`, both valid and the filter not shared: levels compared byte
/// for byte ([MQTT-4.7.3-4]), `$`-topics only by filters that name their first level
/// ([MQTT-4.7.2-1]), and `a/#` matching `a` as well.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}
