//! mogi's own options.

use super::refusal;
use crate::config::Config;
use crate::config::table::{self, Kind, Status};

/// A line, and whether a configuration says what it does.
type Example = (&'static str, fn(&Config) -> bool);

/// Limits, as lines, and what they come to.
#[rustfmt::skip]
pub(super) const LIMITS: &[Example] = &[
    ("max_connection_wait 7", |c| c.crowd.wait_ms == 7000),
    ("max_connection_rate 7", |c| c.crowd.per_second == 7),
    ("max_connections_per_address 7", |c| c.crowd.per_address == 7),
    ("max_pending_connections 7", |c| c.crowd.pending == 7),
    ("max_publish_bytes_per_client 7", |c| c.rates.client.bytes == 7),
    ("max_publish_rate_per_client 7", |c| c.rates.client.messages == 7),
    ("max_publish_bytes_per_listener 7", |c| c.rates.listener.bytes == 7),
    ("max_publish_rate_per_listener 7", |c| c.rates.listener.messages == 7),
    ("max_publish_bytes_per_user 7", |c| c.rates.user.bytes == 7),
    ("max_publish_rate_per_user 7", |c| c.rates.user.messages == 7),
    ("max_queued_bytes_total 7", |c| c.core.max_queued_bytes_total == 7),
    ("max_retained_bytes 7", |c| c.core.max_retained_bytes == 7),
    ("memory_limit 5000000000", |c| c.memory_limit == 5_000_000_000),
];

#[test]
fn limits_are_what_the_file_says() {
    for (line, is) in LIMITS {
        assert!(is(&super::read(&format!("{line}\n"))), "{line}");
        assert!(!is(&Config::default()), "{line}");
    }
}

#[test]
fn ranges_of_mogis_own_options_are_told() {
    let own = table::all().filter(|spec| spec.scope == table::Scope::Mogi);
    for spec in own {
        // Those that take any text have no wrong one.
        let any = matches!(spec.status, Status::Works(Kind::Text(_) | Kind::TextOnce(_)));
        if any || ["cluster_node_id", "redis_prefix"].contains(&spec.name) {
            continue;
        }
        let Status::Works(Kind::Number(range, _)) = spec.status else {
            let text = refusal(&format!("{} sometimes\n", spec.name));
            assert!(text.contains(spec.name), "{text}");
            continue;
        };
        let default: i32 = spec.default.parse().expect("a number");
        assert!((range.low..=range.high).contains(&default), "{}", spec.name);
        let text = refusal(&format!("{} {}\n", spec.name, range.low - 1));
        let low = range.low.to_string();
        assert!(text.contains(spec.name) && text.contains(&low), "{text}");
        assert!(!text.contains('{'), "{text}");
    }
}
