//! Sessions, their subscriptions, packet ids of the publisher's side, and wills.

use super::change::{assigned, enqueued, message, received, session_set, view_of};
use super::{Factory, Subject};
use crate::ops::{SessionNo, SessionRecord, StoreOp, StoredSubscription, StoredWill};
use mogi_codec::QoS;
use mogi_core::MessageView;
use std::sync::Arc;

pub(super) fn run(factory: &mut Factory<'_>) {
    a_session_is_kept_as_it_was_last_set(factory);
    subscriptions_are_kept_by_filter(factory);
    long_filters_are_told_apart(factory);
    packet_ids_are_kept_until_released(factory);
    what_comes_before_a_session_or_after_its_end_counts_for_nothing(factory);
    a_session_ends_with_all_but_its_will(factory);
    wills_are_kept_by_client(factory);
    numbers_are_remembered(factory);
}

fn a_session_is_kept_as_it_was_last_set(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let record = |client: &str, left_at_ms| SessionRecord {
        client: client.into(),
        expiry_s: 3600,
        username: Some("ü".into()),
        mount: Some("mount/".into()),
        left_at_ms,
    };
    let set = |session, record| StoreOp::SessionSet { session: SessionNo(session), record };
    subject.commit(&[set(7, record("a", None)), set(u64::MAX, record("", Some(0)))]);
    subject.commit(&[set(7, record("a", Some(5))), set(7, record("a", Some(u64::MAX)))]);
    subject.holds(|contents| {
        assert_eq!(contents.sessions[&7].record, record("a", Some(u64::MAX)));
        assert_eq!(contents.sessions[&u64::MAX].record, record("", Some(0)));
        assert_eq!(contents.sessions.len(), 2);
    });
}

fn subscription(filter: &str, options: u8, id: u32) -> StoredSubscription {
    StoredSubscription { filter: filter.into(), options, id }
}

fn subscribed(session: u64, filter: &str, options: u8, id: u32) -> StoreOp {
    let subscription = subscription(filter, options, id);
    StoreOp::SubscriptionSet { session: SessionNo(session), subscription }
}

fn unsubscribed(session: u64, filter: &str) -> StoreOp {
    StoreOp::SubscriptionEnd { session: SessionNo(session), filter: filter.into() }
}

fn subscriptions_are_kept_by_filter(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    subject.commit(&[
        session_set(1),
        session_set(2),
        subscribed(1, "a/#", 0, 0),
        subscribed(1, "a", 1, 7),
        subscribed(1, "a/b", 2, 0),
        subscribed(2, "a", 0x2E, 268_435_455),
    ]);
    subject.commit(&[subscribed(1, "a", 2, 8), unsubscribed(1, "a/b"), unsubscribed(2, "none")]);
    subject.holds(|contents| {
        let one = [subscription("a", 2, 8), subscription("a/#", 0, 0)];
        assert_eq!(contents.sessions[&1].subscriptions, one);
        let two = [subscription("a", 0x2E, 268_435_455)];
        assert_eq!(contents.sessions[&2].subscriptions, two);
    });
}

/// As long as the protocol allows, and different only at the end.
fn long_filters_are_told_apart(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let long = |end: &str| format!("{}{end}", "x".repeat(65_535 - end.len()));
    let filters = [long("a"), long("b"), long("c")];
    let subscribe = |filter: &String| subscribed(1, filter, 1, 0);
    let mut batch = vec![session_set(1)];
    batch.extend(filters.iter().map(subscribe));
    subject.commit(&batch);
    subject.commit(&[unsubscribed(1, &filters[1])]);
    subject.holds(|contents| {
        let expected = [subscription(&filters[0], 1, 0), subscription(&filters[2], 1, 0)];
        assert_eq!(contents.sessions[&1].subscriptions, expected);
    });
}

fn packet_ids_are_kept_until_released(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let end = |packet_id| StoreOp::ReceivedEnd { session: SessionNo(1), packet_id };
    subject.commit(&[session_set(1), received(1, 1), received(1, 65_535), received(1, 300)]);
    subject.commit(&[end(300), end(4), received(1, 1)]);
    subject.holds(|contents| assert_eq!(contents.sessions[&1].received, [1, 65_535]));
    subject.commit(&[end(1), received(1, 1), end(65_535), received(1, 2), end(2)]);
    subject.holds(|contents| assert_eq!(contents.sessions[&1].received, [1]));
}

fn what_comes_before_a_session_or_after_its_end_counts_for_nothing(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let message = message("t", b"orphan");
    let orphans = [
        enqueued(1, 10, &message),
        assigned(1, 10, 1),
        received(1, 5),
        subscribed(1, "a", 0, 0),
        unsubscribed(1, "a"),
        StoreOp::SessionEnd { session: SessionNo(1) },
    ];
    subject.commit(&orphans);
    subject.holds(|contents| assert!(contents.sessions.is_empty()));
    subject.commit(&[session_set(1), StoreOp::SessionEnd { session: SessionNo(1) }]);
    subject.commit(&orphans);
    assert_eq!(subject.fetched(1, &[10]), [0; 0]);
    subject.holds(|contents| assert!(contents.sessions.is_empty()));
    subject.settle();
    let usage = subject.store().usage();
    assert_eq!((usage.sessions, usage.flights, usage.bodies, usage.ending), (0, 0, 0, 0));
}

fn a_session_ends_with_all_but_its_will(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let big = message("t", &[7; 4096]);
    let batch = [
        session_set(1),
        session_set(2),
        subscribed(1, "a", 0, 0),
        received(1, 5),
        enqueued(1, 10, &big),
        enqueued(2, 11, &big),
        enqueued(1, 12, &message("t", b"small")),
        assigned(1, 12, 9),
        will_set("client-1", will(b"gone")),
    ];
    subject.commit(&batch);
    subject.commit(&[StoreOp::SessionEnd { session: SessionNo(1) }]);
    assert_eq!(subject.fetched(1, &[10, 12]), [0; 0]);
    // With and without what is left behind.
    for _ in 0..2 {
        subject.holds(|contents| {
            assert_eq!(contents.sessions.keys().copied().collect::<Vec<_>>(), [2]);
            assert_eq!(contents.waiting(2), [11]);
            assert!(contents.wills.contains_key("client-1"));
        });
        assert_eq!(subject.fetch(2, &[11])[0].1.message, big);
        subject.settle();
    }
    let usage = subject.store().usage();
    assert_eq!((usage.sessions, usage.flights, usage.ending), (1, 0, 0));
}

fn will(payload: &[u8]) -> StoredWill {
    let message = message("will/topic", payload);
    StoredWill { message, expiry_s: None, delay_s: 0, due_at_ms: None }
}

fn will_set(client: &str, will: StoredWill) -> StoreOp {
    StoreOp::WillSet { client: client.into(), will: Arc::new(will) }
}

fn wills_are_kept_by_client(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let mut view = MessageView::internal("w/é", &[0; 1 << 16], QoS::ExactlyOnce, true);
    view.properties = &[0x26, 0, 1, b'k', 0, 1, b'v'];
    let full = StoredWill {
        message: view_of(&view),
        expiry_s: Some(u32::MAX),
        delay_s: u32::MAX,
        due_at_ms: Some(u64::MAX),
    };
    let long = "c".repeat(65_535);
    subject.commit(&[will_set("a", will(b"1")), will_set(&long, full.clone())]);
    subject.commit(&[will_set("a", will(b"2")), will_set("b", will(b"3"))]);
    subject.commit(&[
        StoreOp::WillEnd { client: "b".into() },
        StoreOp::WillEnd { client: "none".into() },
    ]);
    subject.holds(|contents| {
        assert_eq!(contents.wills.len(), 2);
        assert_eq!(contents.wills["a"], will(b"2"));
        assert_eq!(contents.wills[&*long], full);
    });
}

fn numbers_are_remembered(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let none = subject.store().load(&mut |_| {}).expect("it loads");
    assert_eq!((none.last_session.0, none.last_entry.0, none.last_version), (0, 0, 0));
    assert_eq!(none.alive_at_ms, None, "it never committed");
    let message = message("t", b"");
    let end = StoreOp::SessionEnd { session: SessionNo(900) };
    subject.commit(&[session_set(900), enqueued(900, 1 << 60, &message), end]);
    let gone = StoreOp::RetainedEnd { topic: "t".into(), version: 77 };
    subject.commit(&[super::retained_set("t", b"", 76), gone]);
    subject.settle();
    subject.reopen();
    let report = subject.store().load(&mut |_| {}).expect("it loads");
    assert_eq!(
        (report.last_session.0, report.last_entry.0, report.last_version),
        (900, 1 << 60, 77)
    );
    assert!(report.alive_at_ms.is_some());
}
