//! Which turns of which worker are durable.
//!
//! A turn's changes lie in many slots, and some of those may answer late. So turns are done in any
//! order, and a worker is told of each as soon as all of it is.

use crate::committer::Answer;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mogi_core::Wait;
use std::collections::VecDeque;

/// A turn: the worker, and a number that rises with its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TicketNo {
    worker: u16,
    seq: u64,
}

#[derive(Debug)]
struct Ticket {
    turn: u64,
    wait: Wait,
    /// What has to be done before it is.
    left: usize,
    bytes: u64,
    ops: u64,
    told: bool,
}

#[derive(Debug, Default)]
struct Turns {
    /// The number of the first of them.
    first: u64,
    tickets: VecDeque<Ticket>,
}

/// All turns that are not durable yet.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    workers: HashMap<u16, Turns, RandomState>,
    /// Workers of which a turn is done.
    changed: Vec<u16>,
    /// Bytes and changes of turns that are done, since they were last asked for.
    done: (u64, u64),
}

impl Tickets {
    /// A turn, with one thing to be done: to be put in its place.
    pub(super) fn open(
        &mut self,
        worker: u16,
        turn: u64,
        wait: Wait,
        bytes: u64,
        ops: u64,
    ) -> TicketNo {
        let turns = self.workers.entry(worker).or_default();
        turns.tickets.push_back(Ticket { turn, wait, left: 1, bytes, ops, told: false });
        TicketNo { worker, seq: turns.first + turns.tickets.len() as u64 - 1 }
    }

    /// One more thing has to be done before it is.
    pub(super) fn add(&mut self, no: TicketNo) {
        if let Some(ticket) = self.get(no) {
            ticket.left += 1;
        }
    }

    /// One thing is done.
    pub(super) fn done(&mut self, no: TicketNo) {
        let Some(ticket) = self.get(no) else { return };
        ticket.left = ticket.left.saturating_sub(1);
        if ticket.left == 0 {
            let (bytes, ops) = (ticket.bytes, ticket.ops);
            self.done.0 += bytes;
            self.done.1 += ops;
            if self.changed.last() != Some(&no.worker) {
                self.changed.push(no.worker);
            }
        }
    }

    /// What the workers are to be told.
    pub(super) fn answers(&mut self, out: &mut Vec<(u16, Answer)>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for worker in changed {
            let Some(turns) = self.workers.get_mut(&worker) else { continue };
            let mut all_up_to = None;
            while let Some(ticket) = turns.tickets.front().filter(|ticket| ticket.left == 0) {
                turns.first += 1;
                if ticket.wait != Wait::Nobody {
                    all_up_to = Some(ticket.turn);
                }
                turns.tickets.pop_front();
            }
            if let Some(turn) = all_up_to {
                out.push((worker, Answer::Stored { turn }));
            }
            for ticket in &mut turns.tickets {
                // Who waits for all before as well is told when all is done.
                if ticket.left == 0 && ticket.wait == Wait::ForThis && !ticket.told {
                    ticket.told = true;
                    out.push((worker, Answer::StoredOne { turn: ticket.turn }));
                }
            }
        }
    }

    /// Bytes and changes that became durable since this was last asked.
    pub(super) fn take_done(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.done)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.values().all(|turns| turns.tickets.is_empty())
    }

    /// The worker and the turn.
    pub(super) fn turn(&self, no: TicketNo) -> Option<(u16, u64)> {
        let turns = self.workers.get(&no.worker)?;
        let at = usize::try_from(no.seq.checked_sub(turns.first)?).ok()?;
        Some((no.worker, turns.tickets.get(at)?.turn))
    }

    fn get(&mut self, no: TicketNo) -> Option<&mut Ticket> {
        let turns = self.workers.get_mut(&no.worker)?;
        let at = usize::try_from(no.seq.checked_sub(turns.first)?).ok()?;
        turns.tickets.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tickets: &mut Tickets) -> Vec<(u16, Answer)> {
        let mut out = Vec::new();
        tickets.answers(&mut out);
        out
    }

    #[test]
    fn a_turn_is_told_when_it_is_done_and_all_up_to_it_when_they_are() {
        let mut tickets = Tickets::default();
        let mut open = |turn, wait| tickets.open(1, turn, wait, 10, 1);
        let (a, b, c) = (open(5, Wait::ForThis), open(6, Wait::ForThis), open(9, Wait::ForAll));
        tickets.done(b);
        tickets.done(c);
        assert_eq!(told(&mut tickets), [(1, Answer::StoredOne { turn: 6 })]);
        assert_eq!(told(&mut tickets), []);
        tickets.done(a);
        assert_eq!(told(&mut tickets), [(1, Answer::Stored { turn: 9 })]);
        assert_eq!(tickets.take_done(), (30, 3));
        assert!(tickets.is_empty());
    }

    #[test]
    fn nobody_is_told_of_what_nobody_waits_for() {
        let mut tickets = Tickets::default();
        let lazy = tickets.open(0, 1, Wait::Nobody, 1, 1);
        let awaited = tickets.open(0, 2, Wait::ForThis, 1, 1);
        tickets.done(awaited);
        assert_eq!(told(&mut tickets), [(0, Answer::StoredOne { turn: 2 })]);
        tickets.done(lazy);
        assert_eq!(told(&mut tickets), [(0, Answer::Stored { turn: 2 })]);
        let lazy = tickets.open(0, 3, Wait::Nobody, 1, 1);
        tickets.done(lazy);
        assert_eq!(told(&mut tickets), []);
    }
}
