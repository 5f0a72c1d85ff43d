//! One run of a scenario: a version of MQTT, and names nobody else uses on that broker.

use crate::support::{Broker, Client, Dial, V5, Version};

/// How often a scenario runs for each version. Which worker owns a client id is decided by a hash
/// nobody can foretell, so several rounds make it likely that clients meet both on one worker and
/// across two.
const ROUNDS: u32 = 3;

/// A broker with two workers.
#[track_caller]
pub(super) fn start(conf: &str) -> Broker {
    start_with(conf, "")
}

/// A broker with two workers and more of mogi's own options.
#[track_caller]
pub(super) fn start_with(conf: &str, own: &str) -> Broker {
    let own = format!("worker_threads 2\n{own}");
    Broker::setup().conf(conf).own(&own).start()
}

/// Runs `scenario` for these versions, each several times, on one broker with this configuration.
#[track_caller]
pub(super) fn each(versions: &[Version], conf: &str, scenario: impl Fn(&Scene<'_>)) {
    let broker = start(conf);
    for &version in versions {
        for round in 0..ROUNDS {
            scenario(&Scene::new(&broker, version, round));
        }
    }
}

/// Clients on both workers, for messages that are to be seen *not* waiting for somebody. An
/// acknowledged message may still be on its way to another worker; one that all of these have got
/// has passed every worker, and so have those its publisher sent before.
pub(super) struct Witnesses(Vec<Client>);

impl Witnesses {
    /// Subscribes them to `filter`. That all eight are on one worker is unlikely enough.
    #[track_caller]
    pub(super) fn new(broker: &Broker, filter: &str) -> Self {
        let witness = |at| {
            let mut client = broker.client(V5, &format!("witness{at}"));
            client.subscribe(filter, 0);
            client
        };
        Self((0..8).map(witness).collect())
    }

    /// Each has this as its next message.
    #[track_caller]
    pub(super) fn expect(&mut self, topic: &str, payload: &str) {
        for client in &mut self.0 {
            client.expect_message(topic, payload);
        }
    }
}

/// A scenario's surroundings.
pub(super) struct Scene<'a> {
    pub(super) broker: &'a Broker,
    pub(super) version: Version,
    tag: String,
}

impl<'a> Scene<'a> {
    pub(super) fn new(broker: &'a Broker, version: Version, round: u32) -> Self {
        let tag = format!("v{}r{round}", version as u8);
        Self { broker, version, tag }
    }

    /// Whether the scenario runs with 5.0.
    pub(super) fn v5(&self) -> bool {
        self.version == V5
    }

    /// A client id of this scenario.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{name}-{}", self.tag)
    }

    /// A topic or filter of this scenario.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}/{name}", self.tag)
    }

    /// Connects with a clean session.
    #[track_caller]
    pub(super) fn client(&self, name: &str) -> Client {
        self.broker.client(self.version, &self.id(name))
    }

    /// A CONNECT for a clean session.
    pub(super) fn dial(&self, name: &str) -> Dial {
        Dial::new(self.version, &self.id(name))
    }

    /// A CONNECT for a session that stays.
    pub(super) fn persistent(&self, name: &str) -> Dial {
        Dial::persistent(self.version, &self.id(name))
    }

    /// Connects; the answer has to be success.
    #[track_caller]
    pub(super) fn connect(&self, dial: &Dial) -> Client {
        self.broker.connect(dial)
    }
}
