//! Who takes part: publishers, subscribers of all kinds, and clients with wills.

use super::client::{Client, Testament};
use super::ledger::Ledger;
use mogi_codec::Version;

/// Messages of a publisher that are not acknowledged.
pub(super) const WINDOW: usize = 18;
const PUBLISHERS: usize = 4;

/// The clients of a run.
pub(super) struct Cast {
    pub(super) clients: Vec<Client>,
    /// Of each publisher, who come first among the clients: its streams.
    pub(super) streams: Vec<Vec<usize>>,
}

impl Cast {
    /// Enters them into the ledger. `stock`: the broker is a stock Mosquitto; `wills`: how many
    /// clients of each kind with a will.
    pub(super) fn new(ledger: &mut Ledger, stock: bool, wills: usize) -> Self {
        let mut this = Self { clients: Vec::new(), streams: Vec::new() };
        this.add_publishers(ledger);
        this.add_subscribers(ledger, stock);
        (0..wills).for_each(|number| this.add_will_clients(number));
        this
    }

    fn add_publishers(&mut self, ledger: &mut Ledger) {
        for number in 0..PUBLISHERS {
            let version = version(number);
            let kinds = [("c", "one", 1), ("c", "two", 2), ("r", "one", 1), ("r", "two", 2)];
            let streams = kinds.map(|(root, name, qos)| {
                ledger.stream(format!("{root}/p{number}/{name}"), qos, root == "r")
            });
            self.streams.push(streams.to_vec());
            self.clients.push(Client::new(&format!("pub{number}"), version, true));
        }
    }

    fn add_subscribers(&mut self, ledger: &mut Ledger, stock: bool) {
        let all: [(&str, &[(&str, u8)]); 9] = [
            ("prompt1", &[("c/#", 1)]),
            ("prompt2", &[("c/#", 2)]),
            ("overlap", &[("c/+/two", 2), ("c/#", 1)]),
            ("overlap2", &[("c/p1/#", 2), ("c/+/two", 2), ("c/p1/two", 2)]),
            ("sleeper1", &[("c/p0/#", 1), ("c/p1/#", 1)]),
            ("sleeper2", &[("c/#", 2)]),
            ("slow1", &[("c/#", 1)]),
            ("slow2", &[("c/#", 2)]),
            ("changer", &[("c/p2/#", 2), ("c/p3/two", 2)]),
        ];
        for (number, (name, filters)) in all.into_iter().enumerate() {
            // Mosquitto 2.1 sends a copy for each filter that matches, whatever it is told.
            let filters = if stock && name != "changer" { &filters[..1] } else { filters };
            let receiver = ledger.receiver(name, true);
            let mut client = Client::new(name, version(number), true).subscribed(receiver, filters);
            client.slow_ms = if name.starts_with("slow") { 40 } else { 0 };
            self.clients.push(client);
        }
        let group = ledger.receiver("member0 member1 member2", false);
        for number in 0..3 {
            let client = Client::new(&format!("member{number}"), version(number), true);
            self.clients.push(client.subscribed(group, &[("$share/g/c/#", 2)]));
        }
        let witness = ledger.receiver("witness", false);
        let client = Client::new("witness", Version::V5, true);
        self.clients.push(client.subscribed(witness, &[("w/#", 2)]));
    }

    fn add_will_clients(&mut self, number: usize) {
        let all = [
            ("mortal-clean3", Version::V311, false, 1, 0),
            ("mortal-clean5", Version::V5, false, 2, 0),
            ("mortal-kept3", Version::V311, true, 2, 0),
            ("mortal-kept5", Version::V5, true, 2, 0),
            ("mortal-delayed", Version::V5, true, 2, 1),
        ];
        for (name, version, persistent, qos, delay_s) in all {
            let name = if number == 0 { name.to_owned() } else { format!("{name}-{number}") };
            let mut client = Client::new(&name, version, persistent);
            client.testament = Some(Testament { qos, delay_s });
            client.away = true;
            self.clients.push(client);
        }
    }
}

const fn version(number: usize) -> Version {
    if number.is_multiple_of(2) { Version::V311 } else { Version::V5 }
}
