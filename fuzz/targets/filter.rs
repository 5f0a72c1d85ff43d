//! Topic filters: what is valid, and what matches, compared with the specification written down
//! as plainly as it can be.
//!
//! Input: a filter and a topic name, with a line feed between them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mogi_codec::topic::{self, Shared};

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let Some((filter, name)) = input.split_once('\n') else {
        return;
    };

    assert_eq!(topic::check_name(name).is_ok(), valid_name(name), "name {name:?}");
    let shared = Shared::parse(filter);
    assert_eq!(topic::check_filter(filter).is_ok(), valid_filter(filter), "filter {filter:?}");
    if let Ok(Some(shared)) = shared {
        assert_eq!(filter, format!("$share/{}/{}", shared.group, shared.filter));
    }
    if !valid_plain_filter(filter) || filter.starts_with("$share/") || !valid_name(name) {
        return;
    }
    assert_eq!(topic::has_wildcard(filter), filter.contains(['+', '#']));
    assert_eq!(
        topic::matches(filter, name),
        matches(filter, name),
        "filter {filter:?}, topic {name:?}"
    );
});

/// [MQTT-4.7.1-1], [MQTT-4.7.3-1] (5.0: [MQTT-4.7.0-1])
fn valid_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '#'])
}

/// [MQTT-4.8.2-1], [MQTT-4.8.2-2]
fn valid_filter(filter: &str) -> bool {
    let levels: Vec<_> = filter.splitn(3, '/').collect();
    match levels[..] {
        ["$share", group, inner] => {
            !group.is_empty() && !group.contains(['+', '#']) && valid_plain_filter(inner)
        }
        ["$share", ..] => false,
        _ => valid_plain_filter(filter),
    }
}

/// [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1]
fn valid_plain_filter(filter: &str) -> bool {
    let levels: Vec<_> = filter.split('/').collect();
    let last = levels.len() - 1;
    !filter.is_empty()
        && levels.iter().enumerate().all(|(index, level)| match *level {
            "#" => index == last,
            "+" => true,
            level => !level.contains(['+', '#']),
        })
}

/// Section 4.7, word by word; both arguments valid.
fn matches(filter: &str, name: &str) -> bool {
    let filter: Vec<_> = filter.split('/').collect();
    let name: Vec<_> = name.split('/').collect();
    // [MQTT-4.7.2-1]
    if name[0].starts_with('$') && (filter[0] == "#" || filter[0] == "+") {
        return false;
    }
    levels_match(&filter, &name)
}

fn levels_match(filter: &[&str], name: &[&str]) -> bool {
    match (filter.split_first(), name.split_first()) {
        // "#" stands for the parent and any number of levels below it.
        (Some((&"#", _)), _) => true,
        (Some((wanted, filter)), Some((level, name))) => {
            (*wanted == "+" || wanted == level) && levels_match(filter, name)
        }
        (None, None) => true,
        _ => false,
    }
}
