//! What the simulation found, one scenario each: rare in the storm, certain here.

use crate::client::{Client, Life};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::wills::Will;
use crate::world::{World, full_options};
use mogi_codec::{QoS, SubscribeOptions, Version};
use mogi_core::{CoreConfig, ListenerConfig};

/// A world without chance, with so many clients (1 to `clients`) besides the watcher.
fn world(workers: u16, clients: usize, durable: bool) -> World {
    world_of(workers, clients, CoreConfig { durable, ..CoreConfig::default() })
}

fn world_of(workers: u16, clients: usize, core: CoreConfig) -> World {
    let mut plan = Plan::new(&mut Rng::new(1));
    plan.workers = workers;
    plan.clients = clients;
    plan.core = core;
    plan.listener = ListenerConfig::default();
    plan.tight = false;
    plan.large = 0;
    plan.expiry = false;
    plan.aliases = false;
    plan.narrow = 0;
    let mut world = World::with_plan(1, plan, Rng::new(1));
    for number in 1..=clients {
        world.clients[number] = Client::new(number, Version::V5, Life::Lasting);
        world.oracle.subjects[number].packet_limit = None;
    }
    world.calm = true;
    world
}

/// A durable one with a watcher, whose broker crashes.
fn crashing_world(workers: u16, clients: usize) -> World {
    let mut world = world(workers, clients, true);
    world.clients[0].life = Life::Lasting;
    world.start(0);
    world.subscribe_to(0, &[("w/#".to_owned(), full_options())]);
    world.settle("watcher");
    world
}

impl World {
    fn start(&mut self, client: usize) {
        self.connect_as(client, false, u32::MAX, false);
        self.settle("start");
    }

    fn subscribes(&mut self, client: usize, filter: &str, qos: QoS) {
        let options = SubscribeOptions { qos, ..Default::default() };
        self.subscribe_to(client, &[(filter.to_owned(), options)]);
    }

    fn publishes(&mut self, client: usize, topic: &str, qos: QoS) {
        self.publish_to(client, topic.to_owned(), Some(qos));
    }

    /// Takes in all that the client has sent.
    fn take_all(&mut self, client: usize) {
        let token = self.clients[client].token.expect("connected");
        self.broker.take_in(token, usize::MAX);
        self.drain_events();
    }

    fn end_turns(&mut self) {
        (0..self.plan.workers).for_each(|worker| self.broker.end_turn(worker));
        self.drain_events();
    }

    /// Lets the broker work until it rests, while no client reads.
    fn work(&mut self) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for worker in 0..self.plan.workers {
                self.broker.end_turn(worker);
                moved |= self.broker.ledger.redeem();
                moved |= self.broker.report(worker);
                for other in 0..self.plan.workers {
                    moved |= self.broker.deliver_mail(worker, other, &mut self.rng);
                }
            }
            moved |= self.broker.answer();
            self.drain_events();
        }
    }

    /// Publishes and lets the broker work.
    fn publishes_fast(&mut self, client: usize, topic: &str, qos: QoS) {
        self.publishes(client, topic, qos);
        self.take_all(client);
        self.work();
    }

    /// The client connects and does not read.
    fn arrives_silently(&mut self, client: usize, clean: bool, expiry_s: u32) {
        self.connect_as(client, clean, expiry_s, false);
        self.take_all(client);
    }

    /// Packets that left for the client and were not read.
    fn unread(&self, client: usize) -> usize {
        let token = self.clients[client].token.expect("connected");
        self.broker.conns[&token].down.len()
    }

    fn finish(&mut self) {
        self.check_at_rest();
        self.check_wills();
        self.clean_up();
    }

    /// The first client number of which the given worker is the owner.
    fn client_of(&self, worker: u16) -> usize {
        let owned = |number: &usize| self.broker.node.owner(&self.broker.names[*number]) == worker;
        (1..self.clients.len()).find(owned).expect("enough clients")
    }
}

#[test]
fn an_acknowledgement_behind_one_that_waits_leaves_with_it() {
    let mut world = world(1, 2, true);
    world.start(1);
    world.start(2);
    world.subscribes(2, "t/0", QoS::AtLeastOnce);
    world.settle("subscribed");
    world.forget_connection(2);
    world.settle("the subscriber is away");
    world.publishes(1, "t/0", QoS::AtLeastOnce);
    world.take_all(1);
    world.end_turns();
    // Nobody wants this one, so its own turn has nothing to store, and no ticket.
    world.publishes(1, "t/1", QoS::AtLeastOnce);
    world.take_all(1);
    world.settle("published");
    assert!(world.clients[1].flows.is_empty());
    world.finish();
}

#[test]
fn what_is_for_sessions_of_other_workers_is_written_down_before_they_hear_of_it() {
    let mut world = world(2, 8, true);
    let (publisher, subscriber) = (world.client_of(0), world.client_of(1));
    world.start(publisher);
    world.start(subscriber);
    world.subscribes(subscriber, "t/0", QoS::AtLeastOnce);
    world.settle("subscribed");
    world.publishes(publisher, "t/0", QoS::ExactlyOnce);
    world.take_all(publisher);
    world.broker.end_turn(0);
    // One batch: the message for the other worker's session and the publisher's packet id.
    assert!(world.broker.ledger.redeem());
    let name = |client: usize| world.broker.names[client].clone();
    assert!(world.broker.ledger.enqueued.contains(&(name(subscriber), 0)));
    let (_, kept) = world.broker.ledger.held.session_of(&name(publisher)).expect("a session");
    assert_eq!(kept.received.len(), 1);
    assert!(world.broker.has_mail(), "the other worker has not heard of it");
    world.finish();
}

#[test]
fn qos_0_does_not_overtake_what_waits_behind_a_full_window() {
    let mut world = world(1, 2, true);
    world.clients[1].receive_maximum = Some(1);
    world.start(2);
    world.start(1);
    world.subscribes(1, "t/0", QoS::AtLeastOnce);
    world.settle("subscribed");
    // Taken in, not greeted yet: everything waits.
    world.forget_connection(1);
    world.connect_as(1, false, u32::MAX, false);
    world.take_all(1);
    for qos in [QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::AtMostOnce] {
        world.publishes(2, "t/0", qos);
    }
    world.take_all(2);
    world.end_turns();
    while world.broker.ledger.redeem() {}
    while world.broker.report(0) {}
    world.publishes(2, "t/0", QoS::AtMostOnce);
    world.take_all(2);
    world.finish();
}

#[test]
fn what_waits_for_a_member_that_leaves_goes_to_one_that_is_there() {
    let mut world = world(1, 3, false);
    world.clients[1].receive_maximum = Some(1);
    for client in 1..=3 {
        world.start(client);
    }
    for client in [1, 2] {
        world.subscribes(client, "$share/s0/g/+", QoS::AtLeastOnce);
    }
    world.settle("subscribed");
    (0..8).for_each(|_| world.publishes(3, "g/0", QoS::AtLeastOnce));
    world.take_all(3);
    world.end_turns();
    world.forget_connection(1);
    world.settle("a member leaves");
    let (of_1, of_2) = (&world.oracle.subjects[1].seen, &world.oracle.subjects[2].seen);
    assert!(of_1.copies.len() + of_2.copies.len() >= 7, "only what was in flight may stay");
    world.finish();
}

#[test]
fn a_subscription_to_a_group_counts_for_what_follows_in_the_same_read() {
    let mut world = world(1, 1, false);
    world.start(1);
    world.publishes(1, "g/0", QoS::AtLeastOnce);
    world.settle("the topic is known");
    world.subscribes(1, "$share/s0/g/+", QoS::AtLeastOnce);
    world.publishes(1, "g/0", QoS::AtLeastOnce);
    world.take_all(1);
    world.settle("published");
    assert_eq!(world.oracle.subjects[1].seen.copies.len(), 1);
    world.finish();
}

#[test]
fn messages_come_back_without_the_mount_point() {
    let mut world = world(1, 2, false);
    world.plan.listener.mount_point = Some("mount/".to_owned());
    world.broker.set_plan(&world.plan);
    for client in [1, 2] {
        world.start(client);
    }
    world.subscribes(1, "t/#", QoS::AtLeastOnce);
    world.settle("subscribed");
    world.publishes(2, "t/0", QoS::AtLeastOnce);
    world.take_all(2);
    world.end_turns();
    world.forget_connection(1);
    world.finish();
}

#[test]
fn what_a_peer_wrote_down_leaves_memory_with_what_is_before_it() {
    let durable = CoreConfig { durable: true, ..CoreConfig::default() };
    let mut world = world_of(2, 8, CoreConfig { queue_qos0_messages: true, ..durable });
    let (publisher, subscriber) = (world.client_of(0), world.client_of(1));
    world.clients[subscriber].receive_maximum = Some(1);
    world.start(publisher);
    world.start(subscriber);
    world.subscribes(subscriber, "t/0", QoS::AtLeastOnce);
    world.settle("subscribed");
    world.forget_connection(subscriber);
    world.settle("away");
    for _ in 0..3 {
        world.publishes_fast(publisher, "t/0", QoS::AtLeastOnce);
    }
    // Two of them are fetched and wait, one comes behind them from the other worker.
    world.arrives_silently(subscriber, false, u32::MAX);
    world.work();
    world.publishes_fast(publisher, "t/0", QoS::AtLeastOnce);
    world.forget_connection(subscriber);
    world.finish();
}

#[test]
fn at_qos_2_nothing_passes_what_waits_for_its_packet_id() {
    let mut world = world(2, 8, true);
    let (publisher, subscriber) = (world.client_of(0), world.client_of(1));
    world.start(publisher);
    world.start(subscriber);
    world.subscribes(subscriber, "t/0", QoS::ExactlyOnce);
    world.settle("subscribed");
    world.forget_connection(subscriber);
    world.settle("away");
    world.publishes_fast(publisher, "t/0", QoS::ExactlyOnce);
    // From now on its session ends with its connection, and new messages are not written down.
    world.arrives_silently(subscriber, false, 0);
    world.end_turns();
    while world.broker.ledger.redeem() {}
    while world.broker.report(1) {}
    world.end_turns();
    assert!(world.broker.answer());
    world.end_turns();
    let greeting = world.unread(subscriber);
    world.publishes(publisher, "t/0", QoS::ExactlyOnce);
    world.take_all(publisher);
    world.end_turns();
    assert!(world.broker.deliver_items(0, 1, 1));
    world.end_turns();
    assert_eq!(world.unread(subscriber), greeting, "both wait");
    world.work();
    assert!(world.unread(subscriber) > greeting, "both leave");
    world.finish();
}

#[test]
fn of_overlapping_subscriptions_the_one_that_was_written_down_gets_the_number() {
    let mut world = world(2, 8, true);
    let (publisher, subscriber) = (world.client_of(0), world.client_of(1));
    world.start(publisher);
    world.start(subscriber);
    world.subscribes(subscriber, "t/0", QoS::AtMostOnce);
    world.subscribes(subscriber, "t/+", QoS::AtLeastOnce);
    world.subscribes(subscriber, "t/#", QoS::AtMostOnce);
    world.subscribes(subscriber, "#", QoS::ExactlyOnce);
    world.settle("subscribed");
    world.publishes(publisher, "t/0", QoS::ExactlyOnce);
    // The store forgets all that was delivered.
    world.finish();
}

#[test]
fn an_entry_goes_to_the_subscription_it_was_written_down_for() {
    let mut world = crashing_world(2, 8);
    let (publisher, subscriber) = (world.client_of(0), world.client_of(1));
    world.start(publisher);
    world.start(subscriber);
    world.subscribes(subscriber, "t/+", QoS::ExactlyOnce);
    world.subscribes(subscriber, "t/#", QoS::AtMostOnce);
    world.settle("subscribed");
    world.publishes(publisher, "t/0", QoS::ExactlyOnce);
    world.take_all(publisher);
    world.broker.end_turn(0);
    // While the message is on its way between the workers, the other one is raised.
    world.subscribes(subscriber, "t/#", QoS::AtLeastOnce);
    world.take_all(subscriber);
    world.work();
    world.crash_for(10, 2);
    world.settle("everybody is gone");
    // The second copy has the QoS of the second subscription.
    world.start(subscriber);
    world.finish();
}

#[test]
fn a_will_that_was_due_while_the_broker_was_away_is_not_called_back() {
    for (delay_s, verdict) in [(0, 1), (3, 1), (30, 0)] {
        let mut world = crashing_world(2, 2);
        let will = world.make_will(1);
        world.oracle.messages[will.message as usize].qos = QoS::ExactlyOnce;
        let will = Will { delay_s, ..will };
        world.connect_with(1, false, u32::MAX, Some(will));
        world.settle("connected");
        world.crash_for(5000, 2);
        // Back before any clock was looked at.
        world.start(1);
        world.settle("back");
        assert_eq!(world.oracle.wills_seen.len(), verdict, "delay of {delay_s} s");
        world.finish();
    }
}

#[test]
fn a_session_whose_time_was_over_while_the_broker_was_away_has_ended() {
    let mut world = crashing_world(2, 2);
    world.clients[1].life = Life::Timed(5);
    world.connect_as(1, false, 5, false);
    world.settle("connected");
    world.crash_for(10_000, 1);
    // Back before any clock was looked at.
    world.connect_as(1, false, 5, false);
    world.settle("back");
    assert_eq!(world.oracle.subjects[1].epoch, 2, "sessions");
    world.finish();
}

#[test]
fn a_clean_start_is_answered_when_the_end_of_the_session_is_durable() {
    let mut world = crashing_world(1, 2);
    world.start(1);
    world.subscribes(1, "t/0", QoS::AtLeastOnce);
    world.settle("subscribed");
    world.arrives_silently(1, true, 0);
    world.end_turns();
    // This one ends a session the store never knew.
    world.forget_connection(1);
    world.arrives_silently(1, true, 0);
    world.end_turns();
    assert_eq!(world.unread(1), 0, "CONNACK waits");
    assert!(world.broker.ledger.redeem() && world.broker.report(0));
    world.end_turns();
    assert!(world.unread(1) > 0, "CONNACK leaves");
    world.crash_for(10, 1);
    assert_eq!(world.broker.ledger.held.session_of("c1").map(|kept| kept.0), None);
    world.finish();
}

#[test]
fn messages_of_a_group_outlive_a_member_whose_time_was_over_while_the_broker_was_away() {
    let mut world = crashing_world(1, 3);
    world.clients[1].life = Life::Timed(5);
    world.connect_as(1, false, 5, false);
    world.settle("a member");
    world.subscribes(1, "$share/s0/g/+", QoS::AtLeastOnce);
    world.settle("subscribed");
    world.forget_connection(1);
    world.start(3);
    world.publishes(3, "g/0", QoS::AtLeastOnce);
    world.settle("it waits for the only member");
    world.start(2);
    world.subscribes(2, "$share/s0/g/+", QoS::AtLeastOnce);
    world.settle("another member");
    world.crash_for(10_000, 1);
    // The clock is looked at before the store has given the messages back.
    world.broker.tick(0);
    world.settle("recovered");
    world.start(2);
    world.broker.now_ms += 1000;
    world.settle("the first session ends");
    assert_eq!(world.oracle.subjects[2].seen.copies.len(), 1);
    world.finish();
}
