//! What a broker keeps its clients within, and how that changes while it runs.

mod support;

#[path = "limits/connections.rs"]
mod connections;
#[path = "limits/kept.rs"]
mod kept;
#[path = "limits/rates.rs"]
mod rates;
#[path = "limits/reload.rs"]
mod reload;

use std::fs;
use support::Broker;

/// Replaces a piece of the broker's configuration file by another, and has it read again.
#[track_caller]
fn change(broker: &Broker, from: &str, to: &str) {
    let path = broker.dir().join("mosquitto.conf");
    let text = fs::read_to_string(&path).expect("a configuration");
    assert!(text.contains(from), "{from:?} is not in {text:?}");
    fs::write(&path, text.replace(from, to)).expect("written");
    broker.signal(nix::sys::signal::Signal::SIGHUP);
}
