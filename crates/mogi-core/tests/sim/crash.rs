//! The broker crashes: what was not durable is gone, and the next one begins with what the store
//! holds, some time later, perhaps with another number of workers.

use crate::broker::{Broker, Cause};
use crate::plan::Plan;
use crate::trace::note;
use crate::wills::Crash;
use crate::world::World;
use mogi_core::{Node, Worker};
use std::sync::Arc;

impl World {
    /// The broker crashes; now and then again while it recovers.
    pub(crate) fn crash(&mut self) {
        let away_ms = match self.rng.below(20) {
            0..=8 => self.rng.below(10),
            9..=14 => self.rng.below(3000),
            15..=18 => self.rng.below(30_000),
            _ => 36_000_000 + self.rng.below(1000),
        };
        if self.rng.percent(30) {
            self.leave_at_last();
        }
        let workers = self.rng.range(1, 4) as u16;
        self.crash_for(away_ms as u64, workers);
        while self.rng.percent(30) {
            for _ in 0..self.rng.below(4) {
                let worker = self.rng.below(usize::from(self.plan.workers)) as u16;
                self.broker.end_turn(worker);
                self.broker.ledger.redeem();
                self.broker.report(worker);
            }
            let workers = self.rng.range(1, 4) as u16;
            self.crash_for(self.rng.clone().below(1000) as u64, workers);
        }
    }

    /// Somebody says DISCONNECT, and the broker has no time to write it down.
    fn leave_at_last(&mut self) {
        let client = 1 + self.rng.below(self.plan.clients);
        let token = self.clients[client].token;
        let Some(token) = token.filter(|_| self.is_on(client)) else { return };
        self.say_goodbye(client);
        self.broker.take_in(token, usize::MAX);
        (0..self.plan.workers).for_each(|worker| self.broker.end_turn(worker));
        self.drain_events();
    }

    /// The broker is gone for so long.
    pub(crate) fn crash_for(&mut self, away_ms: u64, workers: u16) {
        self.drain_events();
        self.crashes += 1;
        let died_ms = self.broker.now_ms;
        let born_ms = died_ms + away_ms;
        note(|| format!("crash, gone for {away_ms} ms, then {workers} workers"));
        self.dropped_before = self.dropped();
        let held = &self.broker.ledger.held;
        let crash = Crash { died_ms, born_ms, held, wills_ever: &self.broker.ledger.wills_ever };
        self.wills.crashed(&self.broker.names, &crash);
        self.oracle.crashed();
        self.broker.break_connections(&mut self.rng);
        self.drain_events();
        for client in &mut self.clients {
            client.broker_crashed = true;
            if client.token.is_none() {
                client.reset_connection();
            }
        }
        self.broker.now_ms = born_ms;
        self.plan.workers = workers;
        self.broker.restart(&self.plan, died_ms);
        self.forget_connection(0);
        self.clients[0].away_until_ms = 0;
        self.connect_as(0, false, u32::MAX, false);
    }
}

impl Broker {
    /// All sockets are gone; what left before may still arrive, up to a point.
    fn break_connections(&mut self, rng: &mut crate::rng::Rng) {
        let tokens: Vec<u32> = self.conns.keys().copied().collect();
        for token in tokens {
            self.ended(token, Cause::Broken);
            let Some(conn) = self.conns.get_mut(&token) else {
                continue;
            };
            conn.ended = Some(self.now_ms);
            conn.cut = true;
            conn.up.clear();
            conn.up_closed = true;
            if rng.percent(50) {
                let left = rng.below(conn.down.len() + 1);
                conn.down.truncate(left);
            }
            conn.down_closed = true;
        }
    }

    /// A new broker with what the store holds.
    fn restart(&mut self, plan: &Plan, died_ms: u64) {
        self.set_plan(plan);
        self.node = Arc::new(Node::new(plan.workers, self.now_ms));
        let cfg = Arc::new(plan.core.clone());
        let worker = |index| Worker::new(index, Arc::clone(&self.node), Arc::clone(&cfg));
        self.workers = (0..plan.workers).map(worker).collect();
        self.forget_mail();
        self.ledger.crash(plan.workers);
        let held = &self.ledger.held;
        let (session, entry, version) = held.last_numbers();
        self.node.continue_from(session, entry, version);
        for (message, version) in held.retained() {
            self.node.retained.restore(message.clone(), version);
        }
        for stored in held.stored_sessions() {
            note(|| format!("restores {:?}: {:?}", stored.session, stored.record));
            let owner = usize::from(self.node.owner(&stored.record.client));
            self.workers[owner].restore(self.now_ms, stored, died_ms);
        }
        for (client, will) in &held.wills {
            let owner = usize::from(self.node.owner(client));
            self.workers[owner].restore_will(self.now_ms, client, will, died_ms);
        }
    }
}
