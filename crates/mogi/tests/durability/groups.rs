//! Shared subscriptions: a message is for one member, whoever of them is there.

use super::scene::{TOLD, begin, crash, resume, settle, start};
use crate::support::{Client, Dial, Message, Out, PacketKind, V5, eventually};

const MEMBERS: [&str; 3] = ["ann", "bob", "cat"];

/// Takes what comes to any of these, until as many have come; nothing more is to come then.
#[track_caller]
fn take(members: &mut [Client], count: usize) -> Vec<u32> {
    let mut found = Vec::new();
    eventually("all messages of the group", || {
        members.iter_mut().for_each(|member| take_present(member, &mut found));
        found.len() >= count
    });
    members.iter_mut().for_each(|member| take_present(member, &mut found));
    found.sort_unstable();
    found
}

/// Takes what there is until the answer to a ping.
#[track_caller]
fn take_present(client: &mut Client, found: &mut Vec<u32>) {
    client.send(&[0xC0, 0]);
    loop {
        let frame = client.recv();
        if frame.kind() == PacketKind::Pingresp {
            return;
        }
        let message = Message::of(&frame);
        client.complete(&message);
        found.push(message.text().parse().expect("a number"));
    }
}

#[test]
fn a_group_keeps_its_messages() {
    for version in TOLD {
        for qos in [1, 2] {
            let mut broker = start("max_queued_messages 0\n");
            for id in MEMBERS {
                let mut member = begin(&broker, version, id);
                member.subscribe("$share/g/t", qos);
                member.disconnect();
            }
            let mut sender = broker.client(version, "sender");
            for n in 0..60 {
                sender.publish(Out::new("t", n.to_string()).qos(qos));
            }
            crash(&mut broker);
            let mut members = MEMBERS.map(|id| resume(&broker, version, id));
            let found = take(&mut members, 60);
            assert_eq!(found, Vec::from_iter(0..60), "{version:?}, QoS {qos}");
            members.iter_mut().for_each(settle);
            crash(&mut broker);
            for id in MEMBERS {
                resume(&broker, version, id).expect_nothing();
            }
        }
    }
}

/// What waited for a member whose session ends goes to the others, also when the broker has hardly
/// started and not read it yet.
#[test]
fn what_a_member_leaves_goes_to_the_others() {
    let mut broker = start("max_queued_messages 0\n");
    for id in MEMBERS {
        let mut member = begin(&broker, V5, id);
        member.subscribe("$share/g/t", 1);
        member.disconnect();
    }
    let mut sender = broker.client(V5, "sender");
    for n in 0..60 {
        sender.publish(Out::new("t", n.to_string()).qos(1));
    }
    crash(&mut broker);
    broker.connect(&Dial::new(V5, "ann"));
    let found = take(&mut ["bob", "cat"].map(|id| resume(&broker, V5, id)), 60);
    assert_eq!(found, Vec::from_iter(0..60));
}
