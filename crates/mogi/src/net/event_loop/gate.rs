//! Which turns are answered: those whose changes are durable, and known to the other nodes where
//! they have to be.
//!
//! Without other nodes everything passes through at once.

use crate::cluster::Barrier;
use mogi_core::cluster::FarBatch;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What turns wait for.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Turns other nodes have to know of, and how many changes of interest that is.
    told: VecDeque<(u64, u64)>,
    /// Messages for other nodes that leave when their turn is durable, in order.
    far: VecDeque<(u64, FarBatch)>,
    /// Turns that are durable: up to one, and some behind it.
    up_to: u64,
    beyond: BTreeSet<u64>,
    /// The last turn handed to the store.
    handed: u64,
    /// Other nodes that wait for a turn.
    barriers: VecDeque<(u64, Arc<Barrier>)>,
}

/// What is to be told to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// All turns up to this one.
    UpTo(u64),
    /// This one.
    One(u64),
}

impl Gate {
    /// The turn was handed to the store; `told`: see [`mogi_core::Changes::told`].
    pub(super) fn expect(&mut self, turn: u64, told: u64) {
        self.handed = turn;
        if told != 0 {
            self.told.push_back((turn, told));
        }
    }

    /// Keeps messages until the turn handed over last is durable.
    pub(super) fn hold(&mut self, batch: FarBatch) {
        self.far.push_back((self.handed, batch));
    }

    /// All turns up to `turn` are durable.
    pub(super) fn stored(&mut self, turn: u64, know: impl Fn(u64) -> bool, done: &mut Vec<Done>) {
        let before = self.up_to;
        self.up_to = before.max(turn);
        self.beyond = self.beyond.split_off(&(self.up_to + 1));
        // Asked once of each: what becomes known meanwhile is not to be forgotten unanswered.
        let blocked = self.told.iter().filter(|(at, told)| *at <= turn && !know(*told));
        let blocked: BTreeSet<u64> = blocked.map(|(at, _)| *at).collect();
        match blocked.first() {
            None => done.push(Done::UpTo(turn)),
            Some(first) => {
                done.push(Done::UpTo(first - 1));
                let rest = *first.max(&(before + 1))..=turn;
                done.extend(rest.filter(|at| !blocked.contains(at)).map(Done::One));
            }
        }
        self.told.retain(|(at, _)| *at > turn || blocked.contains(at));
    }

    /// That turn is durable.
    pub(super) fn stored_one(
        &mut self,
        turn: u64,
        know: impl Fn(u64) -> bool,
        done: &mut Vec<Done>,
    ) {
        if turn > self.up_to {
            self.beyond.insert(turn);
        }
        if !self.told.iter().any(|(at, told)| *at == turn && !know(*told)) {
            self.told.retain(|(at, _)| *at != turn);
            done.push(Done::One(turn));
        }
    }

    /// Other nodes know of more.
    pub(super) fn told(&mut self, know: impl Fn(u64) -> bool, done: &mut Vec<Done>) {
        let (up_to, beyond) = (self.up_to, &self.beyond);
        self.told.retain(|(turn, told)| {
            let durable = *turn <= up_to || beyond.contains(turn);
            let passes = durable && know(*told);
            if passes {
                done.push(Done::One(*turn));
            }
            !passes
        });
    }

    /// A node waits until the turn handed over last is durable, and all before it.
    pub(super) fn stand_before(&mut self, barrier: Arc<Barrier>) {
        self.barriers.push_back((self.handed, barrier));
        self.pass_barriers();
    }

    /// Whether somebody waits for turns that are durable now.
    pub(super) fn may_pass(&self) -> bool {
        self.barriers.front().is_some_and(|(turn, _)| *turn <= self.up_to)
    }

    pub(super) fn pass_barriers(&mut self) {
        while let Some((turn, _)) = self.barriers.front()
            && *turn <= self.up_to
            && let Some((_, barrier)) = self.barriers.pop_front()
        {
            barrier.pass();
        }
    }

    /// Nothing of what has not left yet is to leave.
    pub(super) fn forget_leaving(&mut self) {
        self.far.clear();
    }

    /// The messages that may leave.
    pub(super) fn leaving(&mut self) -> Option<FarBatch> {
        let (turn, _) = self.far.front()?;
        if *turn > self.up_to && !self.beyond.contains(turn) {
            return None;
        }
        self.far.pop_front().map(|(_, batch)| batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other nodes may confirm what a turn waits for at the moment it is looked at.
    #[test]
    fn a_turn_that_becomes_known_meanwhile_is_answered() {
        for known_from in 0..4 {
            let mut gate = Gate::default();
            gate.expect(1, 9);
            let asked = std::cell::Cell::new(0);
            let know = |_| asked.replace(asked.get() + 1) >= known_from;
            let mut done = Vec::new();
            gate.stored(1, know, &mut done);
            gate.told(|_| true, &mut done);
            let answered = |one: &Done| matches!(one, Done::UpTo(1) | Done::One(1));
            assert_eq!(done.iter().filter(|one| answered(one)).count(), 1, "{known_from}");
        }
    }

    #[test]
    fn turns_wait_for_other_nodes_where_they_have_to() {
        let mut gate = Gate::default();
        (1..=4).for_each(|turn| gate.expect(turn, if turn == 2 { 9 } else { 0 }));
        let mut done = Vec::new();
        gate.stored(4, |seq| seq < 9, &mut done);
        assert_eq!(done, [Done::UpTo(1), Done::One(3), Done::One(4)]);
        done.clear();
        gate.told(|_| true, &mut done);
        assert_eq!(done, [Done::One(2)]);
        done.clear();
        gate.expect(5, 10);
        gate.told(|_| true, &mut done);
        assert_eq!(done, [], "it is not durable yet");
        gate.stored(5, |_| true, &mut done);
        assert_eq!(done, [Done::UpTo(5)]);
    }

    #[test]
    fn messages_leave_in_order_when_they_are_durable() {
        let mut gate = Gate::default();
        let batch = |peer| FarBatch { peer, bytes: Vec::new(), stored: true };
        for turn in 1..=3 {
            gate.expect(turn, 0);
            gate.hold(batch(turn as u16));
        }
        let mut done = Vec::new();
        gate.stored_one(2, |_| true, &mut done);
        assert_eq!(gate.leaving(), None, "the first is not durable");
        gate.stored(1, |_| true, &mut done);
        let left: Vec<u16> = std::iter::from_fn(|| gate.leaving()).map(|it| it.peer).collect();
        assert_eq!(left, [1, 2]);
    }
}
