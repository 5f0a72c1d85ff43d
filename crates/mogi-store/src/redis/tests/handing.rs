//! Messages of shared groups that go from one member to another.

use super::*;

/// Whatever moment a broker ends at, a message of a group is with one member.
#[test]
fn a_message_that_is_handed_over_is_with_one_member() {
    let server = Server::start(&[]);
    for crash_after in 0..4 {
        server.cli(&["FLUSHALL"]);
        let (mut store, mut lanes) = two_sessions(&server);
        store.commit(&[&[exactly_once(1, 10)]]).expect("written");
        lanes.submit(0, 4, vec![handed_over(10, 1), exactly_once(2, 20)], Wait::ForThis, 1);
        carry_out(&mut lanes, &store, crash_after);
        drop(lanes);
        for _ in 0..2 {
            let expected = if crash_after == 0 { vec![1, 0] } else { vec![0, 1] };
            assert_eq!(found_later(&server), (0, expected), "{crash_after}");
        }
    }
}

/// Its copy came late over a link, to a node the member has come to since.
#[test]
fn mqtt_4_3_3_a_message_that_is_gone_is_not_handed_over_again() {
    let server = Server::start(&[]);
    // Whether what follows from the first time has followed by then, or is still to.
    for (first, requests) in [(1, 1), (1, 9), (0, 1), (0, 9)] {
        server.cli(&["FLUSHALL"]);
        let (mut store, mut lanes) = two_sessions(&server);
        store.commit(&[&[exactly_once(1, 10)]]).expect("written");
        let batch = [handed_over(10, first), exactly_once(2, 20)];
        lanes.submit(0, 4, batch[..=first as usize].to_vec(), Wait::ForThis, 1);
        carry_out(&mut lanes, &store, requests);
        let mut later = lanes_of_two(&server);
        later.submit(0, 4, vec![handed_over(10, 1), exactly_once(2, 21)], Wait::ForThis, 1);
        carry_out(&mut later, &store, 9);
        let refused: Vec<_> = later.refused.iter().map(|(.., cause)| cause.clone()).collect();
        assert_eq!(refused, [Cause::Entry(EntryNo(10))], "{first} {requests}");
        drop((lanes, later));
        assert_eq!(found_later(&server), (0, vec![0, first as usize]), "{first} {requests}");
        let left = server.cli(&["HLEN", "recv:{client-1}"]);
        assert_eq!(left.trim(), "0", "{first} {requests}");
    }
}

/// The reply got lost on its way.
#[test]
fn a_request_that_hands_over_may_be_sent_again() {
    let server = Server::start(&[]);
    for follows in [0, 1] {
        server.cli(&["FLUSHALL"]);
        let (mut store, mut lanes) = two_sessions(&server);
        store.commit(&[&[exactly_once(1, 10)]]).expect("written");
        let batch = [handed_over(10, follows), exactly_once(2, 20)];
        lanes.submit(0, 4, batch[..=follows as usize].to_vec(), Wait::ForThis, 1);
        let Out { slot, commands, .. } = lanes.next(now_ms()).expect("a request");
        store.link.call(vec![Request::new(slot, commands)]).expect("a reply");
        let again = lanes.again(slot).expect("it is out");
        let replies = store.link.call(vec![Request::new(slot, again)]).expect("a reply");
        lanes.returned(slot, &replies[0].values, now_ms()).expect("no error");
        assert_eq!(lanes.refused.len(), 0, "{follows}");
    }
}

/// A message that is still to be written for one member, and goes to another by then.
#[test]
fn a_message_that_is_handed_over_at_once_is_with_one_member() {
    let server = Server::start(&[]);
    for crash_after in 0..6 {
        server.cli(&["FLUSHALL"]);
        let (mut store, mut lanes) = two_sessions(&server);
        store.commit(&[&[session_set(3)]]).expect("written");
        lanes.directory.learn(SessionNo(3), &"client-3".into());
        lanes.submit(0, 4, vec![taken(3, 9, 1), exactly_once(1, 10)], Wait::ForThis, 1);
        lanes.submit(0, 5, vec![handed_over(10, 1), exactly_once(2, 20)], Wait::ForThis, 1);
        carry_out(&mut lanes, &store, crash_after);
        drop(lanes);
        for _ in 0..2 {
            let (_, waiting) = found_later(&server);
            let sum: usize = waiting.iter().sum();
            assert_eq!(sum, usize::from(crash_after > 0), "{crash_after}: {waiting:?}");
        }
    }
}
