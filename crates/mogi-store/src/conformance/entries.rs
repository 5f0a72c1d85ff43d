//! Messages on their way to sessions.

use super::change::{
    assigned, delivered, delivery, enqueued, message, received, released, session_set, view_of,
};
use super::{Factory, Subject};
use crate::ops::{EntryNo, Ids, SessionNo, StoreOp, StoredDelivery, StoredFlight};
use mogi_codec::QoS;
use mogi_core::MessageView;

pub(super) fn run(factory: &mut Factory<'_>) {
    entries_wait_until_they_are_delivered(factory);
    every_shape_of_a_delivery_comes_back(factory);
    a_packet_id_goes_its_way(factory);
    a_batch_applied_twice_changes_nothing(factory);
    a_shared_message_lives_until_its_last_entry_goes(factory);
    large_payloads_come_back(factory);
    fetch_leaves_out_what_is_not_there(factory);
    several_batches_are_one(factory);
    many_entries_end_with_their_session(factory);
}

fn entries_wait_until_they_are_delivered(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let small = message("a/b", b"12345");
    subject.commit(&[session_set(1), session_set(2)]);
    // Not in order, as batches of several workers may be.
    subject.commit(&[enqueued(1, 30, &small), enqueued(1, 10, &small), enqueued(2, 20, &small)]);
    subject.commit(&[enqueued(1, 1 << 50, &small), delivered(1, 30), delivered(1, 31)]);
    subject.holds(|contents| {
        assert_eq!(contents.waiting(1), [10, 1 << 50]);
        assert_eq!(contents.waiting(2), [20]);
        let first = contents.sessions[&1].waiting[0];
        assert_eq!((first.weight, first.grouped), (8, false));
    });
    // Another session's entry is not this one's.
    subject.commit(&[delivered(2, 10)]);
    assert_eq!(subject.fetched(1, &[10, 30, 1 << 50]), [10, 1 << 50]);
    subject.commit(&[delivered(1, 10), delivered(1, 1 << 50), delivered(2, 20)]);
    subject.holds(|contents| assert!(contents.sessions.values().all(|it| it.waiting.is_empty())));
}

/// Subscription identifiers, groups, properties, flags and expiry.
fn every_shape_of_a_delivery_comes_back(factory: &mut Factory<'_>) {
    let mut deliveries = Vec::new();
    let ids = [Ids::None, Ids::One(1), Ids::Many([1, 268_435_455, 3].into())];
    let groups = [None, Some(("g".into(), "mount/ü/#".into())), Some(("".into(), "".into()))];
    let properties: [&[u8]; 2] = [&[], &[0x01, 1, 0x26, 0, 1, b'k', 0, 1, b'v']];
    for ids in &ids {
        for group in &groups {
            for (properties, qos) in properties.iter().zip([QoS::AtLeastOnce, QoS::ExactlyOnce]) {
                let mut view = MessageView::internal("t/ü", b"payload", qos, true);
                view.properties = properties;
                view.expires_at_ms = 1_700_000_000_000 + deliveries.len() as u64;
                deliveries.push(StoredDelivery {
                    message: view_of(&view),
                    qos,
                    retain: deliveries.len() % 2 == 1,
                    ids: ids.clone(),
                    group: group.clone(),
                });
            }
        }
    }
    let mut subject = Subject::new(factory);
    let mut batch = vec![session_set(1)];
    let numbers: Vec<u64> = (1..=deliveries.len() as u64).collect();
    batch.extend(numbers.iter().zip(&deliveries).map(|(entry, delivery)| StoreOp::Enqueued {
        session: SessionNo(1),
        entry: EntryNo(*entry),
        delivery: delivery.clone(),
    }));
    subject.commit(&batch);
    for _ in 0..2 {
        let fetched = subject.fetch(1, &numbers);
        assert_eq!(fetched.len(), deliveries.len());
        for ((number, delivery), expected) in fetched.into_iter().zip(&deliveries) {
            assert_eq!(&delivery, expected, "entry {number:?}");
        }
        let contents = subject.load();
        let waiting = &contents.sessions[&1].waiting;
        for (waiting, delivery) in waiting.iter().zip(&deliveries) {
            assert_eq!(waiting.grouped, delivery.group.is_some());
            assert_eq!(waiting.weight as usize, delivery.message.weight());
        }
        subject.reopen();
    }
}

fn a_packet_id_goes_its_way(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let message = message("t", &[1; 2000]);
    subject.commit(&[session_set(1), enqueued(1, 1, &message), enqueued(1, 2, &message)]);
    subject.commit(&[assigned(1, 1, 100), assigned(1, 3, 101)]);
    let flight =
        |entry, packet_id, delivery| StoredFlight { entry: EntryNo(entry), packet_id, delivery };
    subject.holds(|contents| {
        let sent = [flight(1, 100, Some(delivery(&message)))];
        assert_eq!(contents.sessions[&1].flights, sent);
        assert_eq!(contents.waiting(1), [2]);
    });
    // What was not sent with a packet id is not released.
    subject.commit(&[released(1, 1), released(1, 2)]);
    subject.holds(|contents| {
        assert_eq!(contents.sessions[&1].flights, [flight(1, 100, None)]);
        assert_eq!(contents.waiting(1), [2]);
    });
    assert_eq!(subject.fetched(1, &[1, 2]), [2]);
    subject.commit(&[delivered(1, 1), assigned(1, 2, 100)]);
    subject.holds(|contents| {
        let sent = [flight(2, 100, Some(delivery(&message)))];
        assert_eq!(contents.sessions[&1].flights, sent);
    });
    assert_eq!(subject.fetched(1, &[1, 2]), [2], "what was sent can be fetched too");
    subject.commit(&[delivered(1, 2)]);
    subject.holds(|contents| assert!(contents.sessions[&1].flights.is_empty()));
    subject.commit(&[enqueued(1, 4, &message), assigned(1, 4, 1), released(1, 4), delivered(1, 4)]);
    subject.holds(|contents| assert!(contents.sessions[&1].flights.is_empty()));
}

fn a_batch_applied_twice_changes_nothing(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let big = message("t", &[9; 5000]);
    let batch = [
        session_set(1),
        session_set(2),
        enqueued(1, 1, &big),
        enqueued(2, 2, &big),
        enqueued(1, 3, &big),
        assigned(1, 1, 7),
        released(1, 1),
        received(1, 8),
        super::retained_set("r", b"x", 4),
        delivered(1, 3),
    ];
    subject.commit(&batch);
    let once = subject.load();
    for _ in 0..3 {
        subject.commit(&batch);
        let again = &once;
        subject.holds(|contents| assert_eq!(contents, again));
    }
    subject.commit(&[delivered(2, 2), delivered(1, 1)]);
    assert_eq!(subject.store().usage().bodies, 0, "the message is counted once per entry");
}

fn a_shared_message_lives_until_its_last_entry_goes(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let big = message("t", &[3; 10_000]);
    let sessions = 1..=10;
    let mut batch: Vec<_> = sessions.clone().map(session_set).collect();
    batch.extend(sessions.map(|session| enqueued(session, 100 + session, &big)));
    subject.commit(&batch);
    // The first entry goes first, and some with their sessions.
    subject.commit(&[delivered(1, 101), StoreOp::SessionEnd { session: SessionNo(2) }]);
    subject.settle();
    for session in 3..10 {
        assert_eq!(subject.fetch(session, &[100 + session])[0].1.message, big);
        subject.commit(&[delivered(session, 100 + session)]);
        if session % 3 == 0 {
            subject.reopen();
        }
    }
    assert_eq!(subject.fetch(10, &[110])[0].1.message, big);
    // Entries and the end of their message in one commit.
    subject.commit(&[enqueued(1, 200, &big), enqueued(3, 201, &big), delivered(1, 200)]);
    subject.commit(&[delivered(10, 110), delivered(3, 201)]);
    assert_eq!(subject.store().usage().bodies, 0);
    subject.holds(|contents| assert!(contents.sessions.values().all(|it| it.waiting.is_empty())));
}

fn large_payloads_come_back(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let payload: Vec<u8> = (0..1 << 20).map(|at: u32| (at * 7 % 251) as u8).collect();
    let large = message(&"t".repeat(65_535), &payload);
    subject.commit(&[session_set(1), session_set(2), enqueued(1, 1, &large)]);
    subject.commit(&[enqueued(1, 2, &large), enqueued(2, 3, &large)]);
    for _ in 0..2 {
        let fetched = subject.fetch(1, &[1, 2]);
        assert!(fetched.iter().all(|(_, delivery)| delivery.message == large));
        assert_eq!(fetched.len(), 2);
        assert_eq!(subject.load().sessions[&2].waiting[0].weight as usize, large.weight());
        subject.reopen();
    }
}

fn fetch_leaves_out_what_is_not_there(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let message = message("t", b"x");
    let mut batch = vec![session_set(1), session_set(2)];
    batch.extend((0..1000).map(|at| enqueued(1, at * 3, &message)));
    batch.extend((0..1000).map(|at| enqueued(2, at * 3 + 1, &message)));
    subject.commit(&batch);
    let every_other: Vec<_> = (0..500).map(|at| delivered(1, at * 6)).collect();
    subject.commit(&every_other);
    for _ in 0..2 {
        let all: Vec<u64> = (0..3000).collect();
        let there: Vec<u64> = (0..500).map(|at| at * 6 + 3).collect();
        assert_eq!(subject.fetched(1, &all), there);
        assert_eq!(subject.fetched(1, &[2997, 9, 9, 3]), [3, 9, 2997], "by rising number");
        assert_eq!(subject.fetched(1, &[]), [0; 0]);
        assert_eq!(subject.fetched(1, &[1, 2, 6, u64::MAX]), [0; 0]);
        assert_eq!(subject.fetched(3, &[3]), [0; 0]);
        assert_eq!(subject.fetched(2, &[1, 2, 3, 4]), [1, 4]);
        subject.reopen();
    }
}

fn several_batches_are_one(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let message = message("t", b"x");
    let batches: [&[StoreOp]; 5] = [
        &[session_set(1)],
        &[],
        &[enqueued(1, 1, &message), enqueued(1, 2, &message)],
        &[delivered(1, 1)],
        &[enqueued(1, 3, &message)],
    ];
    subject.store().commit(&batches).expect("it takes them");
    subject.holds(|contents| assert_eq!(contents.waiting(1), [2, 3]));
    subject.store().commit(&[]).expect("nothing is something too");
    subject.holds(|contents| assert_eq!(contents.waiting(1), [2, 3]));
}

fn many_entries_end_with_their_session(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let message = message("t", b"x");
    let mut batch = vec![session_set(1), session_set(2)];
    batch.extend((0..5000).map(|at| enqueued(1, at * 2, &message)));
    batch.extend((0..10).map(|at| enqueued(2, at * 2 + 1, &message)));
    subject.commit(&batch);
    subject.commit(&[StoreOp::SessionEnd { session: SessionNo(1) }]);
    // In the middle of its removal.
    subject.store().tick().expect("a step");
    subject.holds(|contents| assert_eq!(contents.sessions.len(), 1));
    subject.settle();
    subject.holds(|contents| assert_eq!(contents.waiting(2).len(), 10));
}
