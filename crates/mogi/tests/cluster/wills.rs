//! Wills of clients whose node dies.

use super::scene::{Site, TOLD, begin, resume, three, two};
use crate::support::{Broker, Client, Dial, V5, eventually};

fn witness(broker: &Broker) -> Client {
    let mut witness = begin(broker, V5, "witness");
    witness.subscribe("will/#", 2);
    witness
}

/// Receives as many wills, in any order.
#[track_caller]
fn wills(witness: &mut Client, count: usize) -> Vec<String> {
    let mut all: Vec<String> = (0..count)
        .map(|_| {
            let message = witness.expect_publish();
            witness.complete(&message);
            message.topic
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_will_crosses_nodes() {
    let [a, b] = two();
    let mut witness = witness(&b);
    for version in TOLD {
        let dial = Dial::new(version, "mortal").will("will/x", "gone").will_qos(1);
        drop(a.connect(&dial));
        witness.receive("will/x", "gone");
        a.connect(&dial).disconnect();
        witness.expect_nothing();
    }
}

/// A client that goes on at another node has not died; where its old connection is taken over, its
/// will comes as it would on one node.
#[test]
fn a_killed_node_publishes_the_wills_of_its_clients_once() {
    let [mut a, b, c] = three();
    let mut witness = witness(&b);
    let mut clients = Vec::new();
    for version in TOLD {
        let brief = format!("brief-{version:?}");
        let kept = format!("kept-{version:?}");
        let topic = |id: &str| format!("will/{id}");
        let dial = Dial::new(version, &brief).will(&topic(&brief), "gone").will_qos(2);
        clients.push(a.connect(&dial));
        let dial = Dial::persistent(version, &kept).will(&topic(&kept), "gone").will_qos(2);
        clients.push(a.connect(&dial));
        let calm = format!("calm-{version:?}");
        a.connect(&Dial::persistent(version, &calm).will(&topic(&calm), "gone")).disconnect();
    }
    a.kill();
    let expected = ["will/brief-V311", "will/brief-V5", "will/kept-V311", "will/kept-V5"];
    assert_eq!(wills(&mut witness, 4), expected);
    a.restart();
    resume(&c, V5, "kept-V5").disconnect();
    a.kill();
    a.restart();
    witness.expect_nothing();
}

#[test]
fn a_delayed_will_is_taken_back_by_its_client_elsewhere() {
    let [mut a, b] = two();
    let mut witness = witness(&b);
    let dial = |id: &str, delay_s| {
        let dial = Dial::persistent(V5, id).will(&format!("will/{id}"), "gone").will_qos(2);
        dial.will_delay(delay_s)
    };
    let _back = a.connect(&dial("back", 5));
    let _gone = a.connect(&dial("gone", 1));
    a.kill();
    let back = resume(&b, V5, "back");
    witness.receive("will/gone", "gone");
    back.disconnect();
    witness.expect_nothing();
}

#[test]
fn sessions_of_a_killed_node_expire() {
    let site = Site::new("");
    let [mut a, b] = ["a", "b"].map(|name| site.node(name));
    let mut client = a.connect(&Dial::new(V5, "client").resume().session_expiry(1));
    client.subscribe("t", 1);
    a.kill();
    b.expect_log("looking after");
    eventually("the session's end", || {
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let mut client = b.dial(&Dial::new(V5, "client").resume().session_expiry(1));
        let present = client.expect_connected().session_present();
        client.disconnect();
        !present
    });
}
