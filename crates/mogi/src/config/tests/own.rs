//! mogi's own options.

use super::refusal;
use crate::config::table::{self, Kind, Status};

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
