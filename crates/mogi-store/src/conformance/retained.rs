//! Retained messages.

use super::change::{retained, view_of};
use super::{Contents, Factory, Subject};
use crate::ops::StoreOp;
use mogi_codec::QoS;
use mogi_core::{Author, MessageView};

pub(super) fn run(factory: &mut Factory<'_>) {
    the_newest_version_wins_in_any_order(factory);
    an_ended_one_is_not_brought_back(factory);
    topics_are_told_apart(factory);
    all_of_the_message_comes_back(factory);
}

fn ended(topic: &str, version: u64) -> StoreOp {
    StoreOp::RetainedEnd { topic: topic.into(), version }
}

fn version(contents: &Contents, topic: &str) -> Option<u64> {
    contents.retained.get(topic).map(|(version, _)| *version)
}

fn the_newest_version_wins_in_any_order(factory: &mut Factory<'_>) {
    let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    for together in [true, false] {
        for order in orders {
            let mut subject = Subject::new(factory);
            let changes = order.map(|version| retained("t", &[version as u8], version));
            if together {
                subject.commit(&changes);
            } else {
                changes.chunks(1).for_each(|change| subject.commit(change));
            }
            subject.holds(|contents| {
                assert_eq!(version(contents, "t"), Some(3), "{order:?}");
                assert_eq!(contents.retained["t"].1.payload(), [3]);
            });
        }
    }
}

fn an_ended_one_is_not_brought_back(factory: &mut Factory<'_>) {
    for together in [true, false] {
        let mut subject = Subject::new(factory);
        let changes = [
            retained("a", b"", 10),
            ended("a", 12),
            retained("a", b"late", 11),
            ended("b", 21),
            retained("b", b"late", 20),
            ended("c", 30),
            retained("c", b"new", 31),
            retained("d", b"new", 41),
            ended("d", 40),
        ];
        if together {
            subject.commit(&changes);
        } else {
            for change in changes.chunks(1) {
                subject.commit(change);
                subject.reopen();
            }
        }
        subject.settle();
        subject.holds(|contents| {
            let versions = ["a", "b", "c", "d"].map(|topic| version(contents, topic));
            assert_eq!(versions, [None, None, Some(31), Some(41)]);
        });
        assert_eq!(subject.store().usage().retained, 2);
        subject.commit(&[ended("c", 50), ended("d", 51), retained("a", b"", 52)]);
        subject.holds(|contents| assert_eq!(contents.retained.len(), 1));
    }
}

fn topics_are_told_apart(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let long = |end: &str| format!("{}{end}", "é".repeat(30_000));
    let topics = ["a", "a/", "a/b", "/", "ab", "$SYS/x", "日本", &long("a"), &long("b"), &long("")];
    let numbered = topics.iter().zip(1..);
    let batch: Vec<_> = numbered.map(|(topic, at)| retained(topic, topic.as_bytes(), at)).collect();
    subject.commit(&batch);
    subject.holds(|contents| {
        for topic in topics {
            assert_eq!(contents.retained[topic].1.payload(), topic.as_bytes());
        }
        assert_eq!(contents.retained.len(), topics.len());
    });
    subject.commit(&[ended(topics[7], 100), ended("a", 101)]);
    subject.holds(|contents| assert_eq!(contents.retained.len(), topics.len() - 2));
}

fn all_of_the_message_comes_back(factory: &mut Factory<'_>) {
    let mut subject = Subject::new(factory);
    let mut view = MessageView::internal("t", b"value", QoS::ExactlyOnce, true);
    view.properties = &[0x26, 0, 1, b'k', 0, 1, b'v'];
    view.expires_at_ms = 1_800_000_000_123;
    let message = view_of(&view);
    let anonymous = Author { client_id: "a client = ü%20\u{3000}", username: None, port: 0 };
    let named = Author { client_id: "", username: Some("ann smith"), port: 1883 };
    let all = [message.clone(), message.signed(&anonymous), message.signed(&named)];
    for (message, version) in all.into_iter().zip(u64::MAX - 3..) {
        subject.commit(&[StoreOp::Retained { message: message.clone(), version }]);
        subject.holds(|contents| assert_eq!(contents.retained["t"], (version, message.clone())));
    }
}
