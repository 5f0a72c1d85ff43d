//! What is wrong where since when, so that each thing is said once, and that it is over.

use super::notice::{Notice, Refusal, Trouble};
use super::options::Address;
use std::collections::BTreeMap;
use std::time::Instant;

/// Troubles of one kind at one node are one; their texts may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// There is no connection.
    Unreachable,
    /// There could be one, and the server will not have us.
    Rejected,
    Refused(Refusal),
    Replicas,
    NoTopology,
}

/// All that is wrong now.
#[derive(Default)]
pub(super) struct Troubles {
    open: BTreeMap<(Address, Kind), (Trouble, Instant)>,
    /// To be told.
    pub(super) notices: Vec<Notice>,
}

impl Troubles {
    /// Says it, unless it is known.
    pub(super) fn begin(
        &mut self,
        (node, kind): (&Address, Kind),
        why: Trouble,
        slots: u16,
        now: Instant,
    ) {
        let key = (node.clone(), kind);
        if !self.open.contains_key(&key) {
            self.notices.push(Notice::Degraded { node: node.clone(), slots, why: why.clone() });
            self.open.insert(key, (why, now));
        }
    }

    /// Says that it is over, if it was.
    pub(super) fn end(&mut self, node: &Address, kind: Kind, now: Instant) {
        if self.open.is_empty() {
            return;
        }
        if let Some((why, since)) = self.open.remove(&(node.clone(), kind)) {
            let after_ms = now.saturating_duration_since(since).as_millis() as u64;
            self.notices.push(Notice::Recovered { node: node.clone(), why, after_ms });
        }
    }

    /// Ends all that `over` says is over.
    pub(super) fn end_where(&mut self, now: Instant, over: impl Fn(&Address, Kind) -> bool) {
        let keys = self.open.keys().filter(|(node, kind)| over(node, *kind));
        let keys: Vec<_> = keys.cloned().collect();
        for (node, kind) in keys {
            self.end(&node, kind, now);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_said_once_and_that_it_is_over() {
        let node = Address { host: "h".to_owned(), port: 1 };
        let now = Instant::now();
        let mut troubles = Troubles::default();
        let down = |text: &str| Trouble::Unreachable(text.to_owned());
        troubles.begin((&node, Kind::Unreachable), down("a"), 3, now);
        troubles.begin((&node, Kind::Unreachable), down("b"), 3, now);
        troubles.end(&node, Kind::Replicas, now);
        troubles.end(&node, Kind::Unreachable, now + std::time::Duration::from_millis(7));
        troubles.end(&node, Kind::Unreachable, now);
        let expected = [
            Notice::Degraded { node: node.clone(), slots: 3, why: down("a") },
            Notice::Recovered { node, why: down("a"), after_ms: 7 },
        ];
        assert_eq!(troubles.notices, expected);
    }
}
