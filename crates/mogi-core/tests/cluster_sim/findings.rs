//! What storms found, each by itself.

use mogi_codec::{Connect, PropertyBuf, PropertyId, QoS, Version};
use mogi_core::cluster::change::Change;
use mogi_core::cluster::roster::ShadowRecord;
use mogi_core::cluster::{Claimed, Errand, Settled};
use mogi_core::store::{
    SessionRecord, StoredDelivery, StoredSession, StoredSubscription, StoredWaiting, StoredWill,
};
use mogi_core::{
    Arrival, CoreConfig, ListenerConfig, Message, MessageView, Node, SessionNo, StoreOp, Worker,
};
use std::sync::Arc;

const NOW_MS: u64 = 1_000_000;

fn node(slot: u8) -> Worker {
    let cfg = CoreConfig { durable: true, ..CoreConfig::default() };
    let node = Arc::new(Node::clustered(1, 7, slot));
    node.cluster().expect("clustered").add_node("other").expect("room");
    Worker::new(0, node, Arc::new(cfg))
}

fn connect(worker: &mut Worker, lasting: bool, epoch: u64) {
    connect_as(worker, "c", lasting, epoch);
}

fn connect_as(worker: &mut Worker, client_id: &str, lasting: bool, epoch: u64) {
    let mut properties = PropertyBuf::new();
    if lasting {
        properties.int(PropertyId::SessionExpiryInterval, u32::MAX);
    }
    let mut packet = Vec::new();
    Connect {
        version: Version::V5,
        bridge: false,
        clean_start: !lasting,
        keep_alive_s: 0,
        properties: properties.as_properties(),
        client_id,
        will: None,
        username: None,
        password: None,
    }
    .encode(&mut packet);
    let arrival = Arrival {
        token: 1,
        packet: &packet,
        client_id,
        assigned: false,
        address: "127.0.0.1:1",
        listener: &ListenerConfig::default(),
        epoch,
        bridge: None,
        pass: mogi_core::Pass::default(),
    };
    worker.connect(NOW_MS, &arrival).expect("room");
    worker.end_turn();
}

/// What a worker's node tells the others.
fn told(worker: &Worker) -> Vec<Change> {
    let cluster = worker.node().cluster().expect("clustered");
    let (changes, _) = cluster.log().since(0).expect("all are kept");
    Change::decode_all(&changes.concat()).expect("as encoded")
}

fn apply(worker: &mut Worker, changes: Vec<Change>) {
    let node = Arc::clone(worker.node());
    for errand in node.cluster().expect("clustered").apply(&node.interest, 32, changes) {
        if let Errand::Evict(eviction) = errand {
            worker.evict(NOW_MS, &eviction);
        }
    }
}

fn stored(session: SessionNo) -> Claimed {
    let record = SessionRecord {
        client: "c".into(),
        expiry_s: u32::MAX,
        username: None,
        mount: None,
        left_at_ms: None,
    };
    let session = StoredSession {
        session,
        record,
        subscriptions: Vec::new(),
        received: Vec::new(),
        flights: Vec::new(),
        waiting: Vec::new(),
    };
    Claimed::Moved { session: Box::new(session), will: None }
}

#[test]
fn a_claimed_connection_is_later_than_one_that_needed_no_claim() {
    let (mut a, mut b) = (node(1), node(2));
    connect(&mut a, false, 0);
    connect(&mut b, true, NOW_MS + 5);
    let changes = told(&b);
    apply(&mut a, changes);
    assert_eq!(a.connected().count(), 0, "it is elsewhere");
}

#[test]
fn an_older_home_does_not_end_a_newer_session() {
    let (mut a, mut b, mut c) = (node(1), node(2), node(3));
    connect(&mut a, true, NOW_MS + 1);
    connect(&mut b, true, NOW_MS + 2);
    let (older, newer) = (told(&a), told(&b));
    apply(&mut c, newer);
    apply(&mut c, older);
    let cluster = c.node().cluster().expect("clustered");
    assert!(cluster.is_stale("c", NOW_MS + 1) && !cluster.is_stale("c", NOW_MS + 2));
    assert_eq!(cluster.shadows(), 1);
    // Nor does it leave a shadow where the newer one lives.
    let older = told(&a);
    apply(&mut b, older);
    assert_eq!(b.node().cluster().expect("clustered").shadows(), 0);
    assert_eq!(b.connected().count(), 1);
}

#[test]
fn a_late_refusal_does_not_drop_a_session_that_was_claimed_again() {
    let mut a = node(1);
    let session = SessionNo(77);
    let settled = a.claimed(NOW_MS, &"c".into(), stored(session), NOW_MS + 9);
    assert!(matches!(settled, Settled::After(_)));
    let here = |a: &Worker| a.node().cluster().expect("clustered").log().residents();
    a.fenced(NOW_MS, "c", session, NOW_MS + 3);
    assert_eq!(here(&a), 1);
    a.fenced(NOW_MS, "c", session, NOW_MS + 9);
    assert_eq!(here(&a), 0);
}

#[test]
fn a_claim_that_comes_too_late_brings_nothing() {
    let (mut a, mut b) = (node(1), node(2));
    connect(&mut b, true, NOW_MS + 20);
    let changes = told(&b);
    apply(&mut a, changes);
    let settled = a.claimed(NOW_MS, &"c".into(), stored(SessionNo(77)), NOW_MS + 10);
    assert_eq!(settled, Settled::Stale);
    assert_eq!(a.node().cluster().expect("clustered").log().residents(), 0);
}

#[test]
fn a_restored_session_is_no_shadow_any_more() {
    let (mut a, mut b) = (node(1), node(2));
    connect(&mut b, true, NOW_MS + 1);
    let changes = told(&b);
    apply(&mut a, changes);
    let Claimed::Moved { session, .. } = stored(SessionNo(77)) else { unreachable!() };
    a.restore_at(NOW_MS, *session, NOW_MS, NOW_MS + 2);
    assert_eq!(a.node().cluster().expect("clustered").shadows(), 0);
}

#[test]
fn what_the_store_had_does_not_replace_what_the_sessions_node_told() {
    let (a, mut b) = (node(1), node(2));
    connect(&mut b, true, NOW_MS);
    let session = b.session_of("c");
    let mut changes = vec![Change::SnapshotBegin];
    changes.extend(told(&b));
    let filter = "stays".into();
    changes.push(Change::Subscribed { session, options: 2, id: 0, filter });
    changes.push(Change::SnapshotEnd);
    let cluster = a.node().cluster().expect("clustered");
    cluster.apply(&a.node().interest, 32, changes);
    // It was read before the client changed its mind.
    let subscription = StoredSubscription { filter: "left".into(), options: 1, id: 0 };
    let record = ShadowRecord {
        session,
        client: "c".into(),
        mount: None,
        epoch: NOW_MS,
        subscriptions: vec![subscription],
    };
    cluster.add_shadow(&a.node().interest, 32, &record);
    let mut filters = Vec::new();
    a.node().interest.for_each(|filter| filters.push(filter.to_owned()));
    assert_eq!(filters, ["stays"]);
}

/// Two workers of one node, a member of a shared group with the first, which is given a message by
/// the second: what was written down, and the batch that tells of it.
fn given_to_a_member() -> ([Worker; 2], StoredWaiting, StoredDelivery, Vec<u8>) {
    let cfg = Arc::new(CoreConfig { durable: true, ..CoreConfig::default() });
    let node = Arc::new(Node::clustered(2, 7, 1));
    node.cluster().expect("clustered").add_node("other").expect("room");
    let owner = node.owner("c");
    let worker = |index| Worker::new(index, Arc::clone(&node), Arc::clone(&cfg));
    let (mut home, mut other) = (worker(owner), worker(1 - owner));
    let Claimed::Moved { mut session, will } = stored(SessionNo(77)) else { unreachable!() };
    session.subscriptions =
        vec![StoredSubscription { filter: "$share/g/t".into(), options: 2, id: 0 }];
    home.claimed(NOW_MS, &"c".into(), Claimed::Moved { session, will }, NOW_MS + 1);
    home.end_turn();
    let view = MessageView::internal("t", b"once", QoS::ExactlyOnce, false);
    other.publish_internal(NOW_MS, &view);
    other.end_turn();
    let effects = other.effects();
    let changes = effects.store.as_ref().expect("it is written down");
    let written = changes.batch.iter().find_map(|op| match op {
        StoreOp::Enqueued { entry, delivery, .. } => Some((*entry, delivery.clone())),
        _ => None,
    });
    let (entry, delivery) = written.expect("for the member");
    let batch = effects.batches.first().expect("for its worker").1.clone();
    ([home, other], StoredWaiting { entry, weight: 10, grouped: true }, delivery, batch)
}

#[test]
fn mqtt_4_3_3_a_member_gets_once_what_it_read_before_it_was_given() {
    let ([mut home, _], waiting, delivery, batch) = given_to_a_member();
    let entry = waiting.entry;
    home.catch_up(NOW_MS, "c", vec![waiting]);
    home.end_turn();
    let fetch = home.effects().fetches.first().expect("it is fetched").clone();
    let found = vec![(entry, delivery)];
    home.fetched(NOW_MS, fetch.key, fetch.generation, fetch.question, found);
    home.peer_batch(NOW_MS, &batch);
    home.measure();
    assert_eq!(home.stats().messages_queued, 1);
}

#[test]
fn mqtt_4_3_3_a_member_that_moved_finds_its_message_in_the_store() {
    let ([mut home, _], _, _, batch) = given_to_a_member();
    home.fenced(NOW_MS, "c", SessionNo(77), NOW_MS + 1);
    home.end_turn();
    home.peer_batch(NOW_MS, &batch);
    home.end_turn();
    let changes = home.effects().store.iter().flat_map(|changes| changes.batch.iter());
    let touches = |op: &StoreOp| matches!(op, StoreOp::Delivered { .. } | StoreOp::Enqueued { .. });
    let touched: Vec<_> = changes.filter(|op| touches(op)).collect();
    assert_eq!(touched, Vec::<&StoreOp>::new(), "it is neither ended nor given to another");
}

/// A node whose session 77 has no subscription any more, and a message for it of another node,
/// which has not heard of that yet: what is written down, and the batch that tells of it.
fn given_to_one_who_left() -> (Worker, StoredWaiting, Vec<u8>) {
    let (mut home, mut other) = (node(1), node(2));
    home.claimed(NOW_MS, &"c".into(), stored(SessionNo(77)), NOW_MS + 1);
    home.end_turn();
    let subscription = StoredSubscription { filter: "t".into(), options: 1, id: 0 };
    let record = ShadowRecord {
        session: SessionNo(77),
        client: "c".into(),
        mount: None,
        epoch: NOW_MS,
        subscriptions: vec![subscription],
    };
    let shared = Arc::clone(other.node());
    shared.cluster().expect("clustered").add_shadow(&shared.interest, 32, &record);
    let view = MessageView::internal("t", b"x", QoS::AtLeastOnce, false);
    other.publish_internal(NOW_MS, &view);
    other.end_turn();
    let effects = other.effects();
    let changes = effects.store.as_ref().expect("it is written down");
    let written = changes.batch.iter().find_map(|op| match op {
        StoreOp::Enqueued { entry, .. } => Some(*entry),
        _ => None,
    });
    let entry = written.expect("for the session");
    let batch = effects.far.first().expect("for its node").bytes.clone();
    (home, StoredWaiting { entry, weight: 10, grouped: false }, batch)
}

fn delivered(worker: &mut Worker) -> usize {
    worker.end_turn();
    let changes = worker.effects().store.iter().flat_map(|changes| changes.batch.iter());
    changes.filter(|op| matches!(op, StoreOp::Delivered { .. })).count()
}

/// Its publisher may have been promised it before the UNSUBSCRIBE was sent.
#[test]
fn what_was_written_before_an_unsubscribe_waits_in_the_store() {
    let (mut home, _, batch) = given_to_one_who_left();
    home.far_batch(NOW_MS, &batch);
    assert_eq!(delivered(&mut home), 0);
    home.measure();
    assert_eq!(home.stats().messages_queued, 1);
}

/// It may be on its way to the client, and its packet id in use.
#[test]
fn what_a_session_read_from_the_store_does_not_end_when_its_message_comes() {
    let (mut home, waiting, batch) = given_to_one_who_left();
    home.catch_up(NOW_MS, "c", vec![waiting]);
    home.end_turn();
    home.effects().store = None;
    home.far_batch(NOW_MS, &batch);
    assert_eq!(delivered(&mut home), 0);
}

/// It was delivered, and done, on another node while its copy waited for a link that stood still;
/// and then its session came here.
#[test]
fn mqtt_4_3_3_what_is_older_than_a_sessions_stay_is_looked_up_in_the_store() {
    let (mut home, waiting, batch) = given_to_one_who_left();
    let StoredWaiting { entry, .. } = waiting;
    let subscription = StoredSubscription { filter: "t".into(), options: 2, id: 0 };
    let Claimed::Moved { mut session, will } = stored(SessionNo(77)) else { unreachable!() };
    session.subscriptions = vec![subscription];
    let later_ms = NOW_MS + 60_000;
    home.claimed(later_ms, &"c".into(), Claimed::Moved { session, will }, later_ms);
    home.catch_up(later_ms, "c", Vec::new());
    connect(&mut home, true, later_ms);
    let turn = home.effects().store.as_ref().map_or(0, |changes| changes.turn);
    home.stored(later_ms, turn);
    home.far_batch(later_ms, &batch);
    home.end_turn();
    let asked: Vec<_> = home.effects().fetches.iter().flat_map(|it| it.entries.clone()).collect();
    assert_eq!((asked, home.stats().publish_sent), (vec![entry], 0));
}

/// It was restored a moment ago: the others write down what it gets without a word until they know
/// that it is here.
#[test]
fn a_session_reads_what_waits_when_all_others_know_where_it_is() {
    let mut a = node(1);
    let Claimed::Moved { session, .. } = stored(SessionNo(77)) else { unreachable!() };
    a.restore_at(NOW_MS, *session, NOW_MS, NOW_MS + 2);
    let told = a.node().cluster().expect("clustered").log().seq();
    connect_as(&mut a, "d", false, 0);
    let settled = a.claimed(NOW_MS, &"c".into(), Claimed::Ours, NOW_MS + 3);
    assert_eq!(settled, Settled::After(told), "neither before, nor for what else was told");
}

/// Its node let go of it because another one has it.
#[test]
fn a_session_its_node_does_not_name_any_more_keeps_its_subscriptions() {
    let (a, mut b) = (node(1), node(2));
    b.claimed(NOW_MS, &"c".into(), stored(SessionNo(77)), NOW_MS + 1);
    let cluster = a.node().cluster().expect("clustered");
    let snapshot = |rest: Vec<Change>| {
        let whole = [vec![Change::SnapshotBegin], rest, vec![Change::SnapshotEnd]].concat();
        cluster.apply(&a.node().interest, 32, whole);
    };
    let subscribed =
        Change::Subscribed { session: SessionNo(77), options: 1, id: 0, filter: "stays".into() };
    snapshot([told(&b), vec![subscribed]].concat());
    snapshot(Vec::new());
    let mut filters = Vec::new();
    a.node().interest.for_each(|filter| filters.push(filter.to_owned()));
    assert_eq!((filters, cluster.homeless()), (vec!["stays".to_owned()], vec!["c".into()]));
}

/// It was here, went elsewhere, and comes back: nobody has told yet that it was away.
#[test]
fn mqtt_3_1_2_8_the_will_of_a_connection_elsewhere_is_published_though_an_older_one_is_here() {
    let mut a = node(1);
    connect(&mut a, false, NOW_MS + 1);
    let view = MessageView::internal("w", b"gone", QoS::AtLeastOnce, false);
    let message = Message::new(&view, &mut Vec::new());
    let will = StoredWill { message, expiry_s: None, delay_s: 0, due_at_ms: None };
    a.effects().store = None;
    a.claimed(NOW_MS, &"c".into(), Claimed::Nothing { will: Some(will) }, NOW_MS + 5);
    a.end_turn();
    let changes = a.effects().store.iter().flat_map(|changes| changes.batch.iter());
    let taken = changes.filter(|op| matches!(op, StoreOp::WillTaken { .. })).count();
    assert_eq!((taken, a.connected().count()), (1, 0));
}

/// Its client began a new session under the claim under which the store has the one before.
#[test]
fn what_the_store_had_does_not_bring_a_session_back_that_came_before() {
    let (a, mut b) = (node(1), node(2));
    connect(&mut b, true, NOW_MS);
    let whole = [vec![Change::SnapshotBegin], told(&b), vec![Change::SnapshotEnd]].concat();
    let cluster = a.node().cluster().expect("clustered");
    cluster.apply(&a.node().interest, 32, whole);
    let record = ShadowRecord {
        session: SessionNo(7),
        client: "c".into(),
        mount: None,
        epoch: NOW_MS,
        subscriptions: Vec::new(),
    };
    cluster.add_shadow(&a.node().interest, 32, &record);
    cluster.apply(&a.node().interest, 32, vec![Change::Gone { session: b.session_of("c") }]);
    assert_eq!(cluster.shadows(), 0, "the new one was there, and the old one was not");
}

/// Its client comes back to the node it was with, whose claim is in the store, and not known to its
/// worker yet: a node that starts meanwhile reads of the claim, and hears of the one before.
#[test]
fn a_session_is_where_its_node_says_though_the_store_knows_of_a_later_claim_of_it() {
    let (mut a, mut b) = (node(1), node(2));
    b.claimed(NOW_MS, &"c".into(), stored(SessionNo(77)), NOW_MS + 1);
    let subscription = StoredSubscription { filter: "t".into(), options: 1, id: 0 };
    let record = ShadowRecord {
        session: SessionNo(77),
        client: "c".into(),
        mount: None,
        epoch: NOW_MS + 5,
        subscriptions: vec![subscription],
    };
    let shared = Arc::clone(a.node());
    let cluster = shared.cluster().expect("clustered");
    cluster.add_shadow(&shared.interest, 32, &record);
    let subscribed = ["t", "u"].map(|filter| Change::Subscribed {
        session: SessionNo(77),
        options: 1,
        id: 0,
        filter: filter.into(),
    });
    let whole = [vec![Change::SnapshotBegin], told(&b), subscribed.to_vec()].concat();
    apply(&mut a, [whole, vec![Change::SnapshotEnd]].concat());
    assert_eq!(cluster.homeless(), Vec::<Arc<str>>::new());
    for topic in ["t", "u"] {
        a.publish_internal(NOW_MS, &MessageView::internal(topic, b"x", QoS::AtLeastOnce, false));
        a.end_turn();
        let far: Vec<u16> = a.effects().far.iter().map(|batch| batch.peer).collect();
        assert_eq!(far, [32], "{topic} goes there at once");
        a.effects().far.clear();
    }
}
