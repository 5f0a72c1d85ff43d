//! A client that said DISCONNECT: its socket is closed when it is durable that its will is never
//! published.
//!
//! DISCONNECT has no acknowledgement of its own (section 3.14), but whoever sends it may wait until
//! the broker closes the connection, and take that for one: from then on no crash brings the will
//! back ([MQTT-3.1.2-10]). Where the store does not answer in time, or another node has the client
//! by then, the connection is reset instead, which says nothing. Who closes by itself does not
//! wait, and is not waited for.

use crate::event::{Close, Wait};
use crate::map::Map;
use crate::turn::Done;
use crate::worker::Worker;
use foldhash::fast::FixedState;
use std::collections::VecDeque;
use std::sync::Arc;

/// How long a socket waits for the store, in milliseconds: longer than Redis takes to elect another
/// master.
const PATIENCE_MS: u64 = 10_000;

/// Sockets that are closed when something is durable. There is one per connection at the most.
#[derive(Debug)]
pub(crate) struct Farewells {
    all: Map<u32, Farewell>,
    /// When each is given up, and its token and turn; those that were closed already do not count.
    due: VecDeque<(u64, u32, u64)>,
}

#[derive(Debug)]
struct Farewell {
    /// The turn that ends the will.
    turn: u64,
    client: Arc<str>,
    /// The claim under which it does.
    epoch: u64,
    close: Close,
}

impl Farewells {
    pub(crate) fn new(hash: FixedState) -> Self {
        Self { all: Map::with_hasher(hash), due: VecDeque::new() }
    }

    /// When the next one is given up, if there is one.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.due.front().map(|(due_ms, ..)| *due_ms)
    }

    fn wait(&mut self, now_ms: u64, farewell: Farewell) {
        let (token, turn) = (farewell.close.token, farewell.turn);
        self.due.push_back((now_ms + PATIENCE_MS, token, turn));
        self.all.insert(token, farewell);
    }

    /// Takes those of turns that are durable.
    fn take_done(&mut self, done: &Done, out: &mut Vec<Close>) {
        if self.all.is_empty() {
            return;
        }
        let ready = self.all.extract_if(|_, farewell| done.contains(farewell.turn));
        out.extend(ready.map(|(_, farewell)| farewell.close));
        self.tidy();
    }

    /// Takes those to which that applies, to be reset.
    fn give_up(&mut self, out: &mut Vec<Close>, is_it: impl Fn(&Farewell) -> bool) {
        let lost = self.all.extract_if(|_, farewell| is_it(farewell));
        out.extend(lost.map(|(_, farewell)| Close { reset: true, ..farewell.close }));
        self.tidy();
    }

    /// Forgets when those are due that are closed.
    fn tidy(&mut self) {
        while let Some((_, token, turn)) = self.due.front()
            && self.all.get(token).is_none_or(|farewell| farewell.turn != *turn)
        {
            self.due.pop_front();
        }
    }
}

impl Worker {
    /// Closes a socket when the changes of this turn are durable: they end the client's will.
    pub(crate) fn close_when_durable(&mut self, close: Close, client: &Arc<str>, epoch: u64) {
        self.turn.wait = self.turn.wait.max(Wait::ForThis);
        let (turn, client) = (self.turn.seq, Arc::clone(client));
        self.farewells.wait(self.turn.now_ms, Farewell { turn, client, epoch, close });
    }

    /// More turns are durable.
    pub(crate) fn close_durable(&mut self) {
        self.farewells.take_done(&self.turn.done, &mut self.turn.effects.closes);
    }

    /// A client that was waited for has closed its side.
    pub(crate) fn close_left(&mut self, token: u32) {
        if let Some(farewell) = self.farewells.all.remove(&token) {
            self.turn.effects.closes.push(farewell.close);
            self.farewells.tidy();
        }
    }

    /// Resets what has waited for too long.
    pub(crate) fn reset_overdue(&mut self, now_ms: u64) {
        while let Some((due_ms, token, turn)) = self.farewells.due.front().copied()
            && due_ms <= now_ms
        {
            self.farewells.due.pop_front();
            if self.farewells.all.get(&token).is_some_and(|farewell| farewell.turn == turn)
                && let Some(Farewell { close, .. }) = self.farewells.all.remove(&token)
            {
                self.turn.effects.closes.push(Close { reset: true, ..close });
            }
        }
        self.farewells.tidy();
    }

    /// Another node has the client, and what was ended here under a claim up to that of `epoch`
    /// does not count.
    pub(crate) fn reset_fenced(&mut self, client: &str, epoch: u64) {
        let it = |farewell: &Farewell| *farewell.client == *client && farewell.epoch <= epoch;
        self.farewells.give_up(&mut self.turn.effects.closes, it);
    }

    /// Nobody knows what becomes of what was not answered so far.
    pub(crate) fn reset_all(&mut self) {
        self.farewells.give_up(&mut self.turn.effects.closes, |_| true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CoreConfig, ListenerConfig};
    use crate::connect::Arrival;
    use crate::end::Ending;
    use crate::node::Node;
    use crate::pass::Pass;
    use mogi_codec::{Connect, Disconnect, Properties, QoS, Reason, Version, Will};

    const TOKEN: u32 = 7;

    /// A worker whose client `c` has come with a will and said DISCONNECT at 1000 ms.
    fn left(durable: bool, reason: Reason) -> (Worker, u64) {
        let cfg = CoreConfig { durable, ..CoreConfig::default() };
        let node = Arc::new(Node::clustered(1, 7, 1));
        let mut worker = Worker::new(0, node, Arc::new(cfg));
        let mut packet = Vec::new();
        let will = Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            topic: "w",
            payload: b"gone",
        };
        let connect = Connect {
            version: Version::V5,
            bridge: false,
            clean_start: true,
            keep_alive_s: 0,
            properties: Properties::default(),
            client_id: "c",
            will: Some(will),
            username: None,
            password: None,
        };
        connect.encode(&mut packet);
        let listener = ListenerConfig::default();
        let arrival = Arrival {
            token: TOKEN,
            packet: &packet,
            client_id: "c",
            assigned: false,
            address: "127.0.0.1:1",
            listener: &listener,
            epoch: 5,
            bridge: None,
            pass: Pass::default(),
        };
        let key = worker.connect(1000, &arrival).expect("room");
        let turn = end_turn(&mut worker);
        worker.stored(1000, turn);
        let mut bytes = Vec::new();
        Disconnect { reason, properties: Properties::default() }.encode(Version::V5, &mut bytes);
        worker.received(1000, key, TOKEN, &bytes);
        let turn = end_turn(&mut worker);
        (worker, turn)
    }

    fn end_turn(worker: &mut Worker) -> u64 {
        worker.end_turn();
        let changes = worker.effects().store.take();
        changes.map_or(0, |changes| {
            assert_ne!(changes.wait, Wait::Nobody, "nobody would be told");
            changes.turn
        })
    }

    /// Which sockets are closed, and whether with a reset.
    fn closes(worker: &mut Worker) -> Vec<(u32, bool)> {
        worker.effects().closes.drain(..).map(|close| (close.token, close.reset)).collect()
    }

    #[test]
    fn mqtt_3_1_2_10_a_socket_is_closed_when_the_end_of_the_will_is_durable() {
        let (mut worker, turn) = left(true, Reason::Success);
        assert_eq!(closes(&mut worker), []);
        worker.stored_one(1001, turn);
        assert_eq!(closes(&mut worker), [(TOKEN, false)]);
        assert_eq!(worker.next_timeout_ms(), None);
    }

    #[test]
    fn where_nothing_is_durable_or_the_will_is_published_it_is_closed_at_once() {
        let (mut worker, _) = left(false, Reason::Success);
        assert_eq!(closes(&mut worker), [(TOKEN, false)]);
        let (mut worker, _) = left(true, Reason::DisconnectWithWill);
        assert_eq!(closes(&mut worker), [(TOKEN, false)]);
    }

    #[test]
    fn who_closes_first_is_not_waited_for() {
        let (mut worker, turn) = left(true, Reason::Success);
        worker.closed(1001, 0, TOKEN, Ending::Closed);
        assert_eq!(closes(&mut worker), [(TOKEN, false)]);
        worker.stored(1002, turn);
        assert_eq!(closes(&mut worker), []);
    }

    #[test]
    fn a_store_that_does_not_answer_in_time_is_a_reset() {
        let (mut worker, turn) = left(true, Reason::Success);
        assert_eq!(worker.next_timeout_ms(), Some(1000 + PATIENCE_MS));
        worker.tick(999 + PATIENCE_MS);
        assert_eq!(closes(&mut worker), []);
        worker.tick(1000 + PATIENCE_MS);
        assert_eq!(closes(&mut worker), [(TOKEN, true)]);
        worker.stored(1001 + PATIENCE_MS, turn);
        assert_eq!((closes(&mut worker), worker.next_timeout_ms()), (Vec::new(), None));
    }

    /// Whoever has the client now had its will, and published it.
    #[test]
    fn an_end_that_another_node_refuses_is_a_reset() {
        let (mut worker, turn) = left(true, Reason::Success);
        worker.fenced(1001, "c", crate::store::SessionNo::NONE, 4);
        assert_eq!(closes(&mut worker), [], "that was an earlier stay");
        worker.fenced(1001, "c", crate::store::SessionNo::NONE, 5);
        assert_eq!(closes(&mut worker), [(TOKEN, true)]);
        worker.stored(1001, turn);
        assert_eq!(closes(&mut worker), []);
    }

    #[test]
    fn whoever_was_taken_for_dead_or_stops_promises_nothing() {
        let (mut worker, _) = left(true, Reason::Success);
        worker.disown(1001);
        assert_eq!(closes(&mut worker), [(TOKEN, true)]);
        let (mut worker, _) = left(true, Reason::Success);
        worker.disconnect_all(1001);
        assert_eq!(closes(&mut worker), [(TOKEN, true)]);
    }
}
