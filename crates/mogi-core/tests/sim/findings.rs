//! What the simulation found, one scenario each: rare in the storm, certain here.

use crate::client::{Client, Life};
use crate::plan::Plan;
use crate::rng::Rng;
use crate::world::World;
use mogi_codec::{QoS, SubscribeOptions, Version};
use mogi_core::{CoreConfig, ListenerConfig};

/// A world without chance, with so many clients (1 to `clients`) besides the watcher.
fn world(workers: u16, clients: usize, durable: bool) -> World {
    let mut plan = Plan::new(&mut Rng::new(1));
    plan.workers = workers;
    plan.clients = clients;
    plan.core = CoreConfig { durable, ..CoreConfig::default() };
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
    assert!(world.broker.ledger.received.iter().any(|key| key.0 == name(publisher)));
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
