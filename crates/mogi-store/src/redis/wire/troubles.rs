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
        if !self.open.is_empty() {
            self.close(&(node.clone(), kind), now, false);
        }
    }

    /// Ends all that `over` says is over.
    pub(super) fn end_where(&mut self, now: Instant, over: impl Fn(&Address, Kind) -> bool) {
        self.close_where(now, false, over);
    }

    /// Ends all of nodes whose slots are others' now.
    pub(super) fn replaced(&mut self, now: Instant, over: impl Fn(&Address, Kind) -> bool) {
        self.close_where(now, true, over);
    }

    /// Whether something is wrong that another view of the cluster may help with.
    pub(super) fn of_topology(&self) -> bool {
        self.open.keys().any(|(_, kind)| match kind {
            Kind::Unreachable | Kind::Rejected | Kind::NoTopology => true,
            Kind::Refused(kind) => matches!(kind, Refusal::ClusterDown | Refusal::Replica),
            Kind::Replicas => false,
        })
    }

    fn close_where(&mut self, now: Instant, replaced: bool, over: impl Fn(&Address, Kind) -> bool) {
        let keys = self.open.keys().filter(|(node, kind)| over(node, *kind));
        let keys: Vec<_> = keys.cloned().collect();
        keys.iter().for_each(|key| self.close(key, now, replaced));
    }

    fn close(&mut self, key: &(Address, Kind), now: Instant, replaced: bool) {
        if let Some((why, since)) = self.open.remove(key) {
            let after_ms = now.saturating_duration_since(since).as_millis() as u64;
            let node = key.0.clone();
            self.notices.push(Notice::Recovered { node, why, after_ms, replaced });
        }
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
            Notice::Recovered { node, why: down("a"), after_ms: 7, replaced: false },
        ];
        assert_eq!(troubles.notices, expected);
    }
}
