//! Many subscribers of the same thing.

use super::siege::Siege;
use crate::support::{Client, Dial, Out, V5, V311};
use std::time::Duration;

/// How long a reader waits here. While nobody reads, the kernel runs out of room for sockets and
/// asks each of them again after twice as long as before: as long as the messages took to publish.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn e21_fan_out_bomb() {
    Siege::new(96).alone().run(|broker| {
        let mut readers: Vec<Client> = (0..300)
            .map(|n| {
                let mut client = broker.client(V311, &format!("e21-{n}"));
                client.subscribe("e21", 0);
                client.stream().set_read_timeout(Some(PATIENCE)).expect("set");
                client
            })
            .collect();
        let mut writer = broker.client(V5, "writer");
        for n in 0..200u8 {
            let mut payload = vec![b'x'; 2048];
            payload[0] = n;
            writer.publish(Out::new("e21", payload).qos(1));
        }
        // 400 KiB each, less than a queue or a buffer holds: all of it comes.
        for n in 0..200u8 {
            for reader in &mut readers {
                let message = reader.expect_publish();
                assert_eq!((message.payload[0], message.payload.len()), (n, 2048));
            }
        }
    });
}

#[test]
fn x14_a_group_of_a_thousand_that_comes_and_goes() {
    Siege::new(48).alone().run(|broker| {
        let mut writer = broker.client(V5, "writer");
        for round in 0..2 {
            let members: Vec<Client> = (0..1000)
                .map(|n| {
                    let dial = Dial::persistent(V311, &format!("x14-{n}"));
                    let mut client = broker.connect(&dial);
                    client.subscribe("$share/g/x14", 1);
                    client
                })
                .collect();
            for n in 0..200 {
                writer.publish(Out::new("x14", format!("{round}/{n}")).qos(1));
            }
            members.into_iter().for_each(Client::abort);
        }
        for n in 0..1000 {
            let dial = Dial::new(V311, &format!("x14-{n}"));
            broker.connect(&dial).disconnect();
        }
        let code = writer.publish_code(Out::new("x14", "nobody").qos(1));
        assert_eq!(code, 0x10, "the group is gone");
    });
}

#[test]
fn x15_large_messages_to_many() {
    // A payload that goes to many is held once.
    Siege::new(64).alone().run(|broker| {
        let readers: Vec<Client> = (0..100)
            .map(|n| {
                let mut client = broker.client(V5, &format!("x15-{n}"));
                client.subscribe("x15", 1);
                client
            })
            .collect();
        let mut writer = broker.client(V311, "writer");
        for _ in 0..3 {
            writer.publish(Out::new("x15", vec![b'x'; 1_900_000]).qos(1));
        }
        drop(readers);
    });
}
