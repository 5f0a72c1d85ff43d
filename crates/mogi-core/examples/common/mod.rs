//! A client, and a network that is infinitely fast, for what measures the core alone.

use mogi_codec::{Connect, Properties, Version};
use mogi_core::{Arrival, ListenerConfig, Pass, Worker};

/// Connects a client of MQTT 3.1.1; its key.
pub(crate) fn connect(worker: &mut Worker, token: u32) -> u32 {
    let client_id = format!("client-{token}");
    let connect = Connect {
        version: Version::V311,
        bridge: false,
        clean_start: true,
        keep_alive_s: 0,
        properties: Properties::default(),
        client_id: &client_id,
        will: None,
        username: None,
        password: None,
    };
    let mut packet = Vec::new();
    connect.encode(&mut packet);
    let arrival = Arrival {
        bridge: None,
        token,
        packet: &packet,
        client_id: &client_id,
        assigned: false,
        address: "127.0.0.1:1",
        listener: &ListenerConfig::default(),
        epoch: 0,
        pass: Pass::default(),
    };
    worker.connect(0, &arrival).expect("connects")
}

/// Takes all output of a turn away.
pub(crate) fn drain(worker: &mut Worker) {
    worker.end_turn();
    while !worker.effects().dirty.is_empty() {
        for key in std::mem::take(&mut worker.effects().dirty) {
            if let Some((_, output)) = worker.output(key) {
                let len = output.len();
                output.advance(len);
                worker.wrote(0, key, len, false);
            }
        }
    }
    worker.flushed();
}
