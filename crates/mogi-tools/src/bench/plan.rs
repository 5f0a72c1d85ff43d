//! Who publishes what to whom: every mode of steady load as a list of clients.

use super::dial::Spec;
use super::frames::{MAX_ITEMS, Terms, Topics, item_name};
use super::options::{Mode, Options};
use mogi_codec::QoS;
use std::ops::Range;

/// All clients of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) publishers: Vec<PublisherPlan>,
    pub(super) subscribers: Vec<SubscriberPlan>,
    /// Whether the subscribers share their messages: each goes to one of them.
    pub(super) shared: bool,
    /// Most messages of one publisher on their way at once.
    pub(super) in_flight: u32,
}

/// A client that publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublisherPlan {
    pub(super) topics: Topics,
    /// Deliveries each of its messages causes.
    pub(super) deliveries: u32,
}

/// A client that subscribes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubscriberPlan {
    pub(super) filters: Vec<String>,
    /// The publishers it hears.
    pub(super) publishers: Range<u32>,
}

impl Plan {
    /// The plan for a mode of steady load; `prefix` begins every topic.
    pub(super) fn new(options: &Options, prefix: &str) -> Self {
        let n = options.clients;
        let one = |i: u32| Topics::One(format!("{prefix}/{i}"));
        let publisher = |topics, deliveries| PublisherPlan { topics, deliveries };
        let subscriber =
            |filter: String, publishers| SubscriberPlan { filters: vec![filter], publishers };
        let (mut publishers, subscribers): (Vec<PublisherPlan>, Vec<_>) = match options.mode {
            Mode::FanOut => {
                let subs = (0..n).map(|_| subscriber(format!("{prefix}/0"), 0..1));
                (vec![publisher(one(0), n)], subs.collect())
            }
            Mode::FanIn => {
                let pubs = (0..n).map(|i| publisher(one(i), 1)).collect();
                (pubs, vec![subscriber(format!("{prefix}/+"), 0..n)])
            }
            Mode::Shared => {
                let pubs = (0..n).map(|i| publisher(one(i), 1)).collect();
                let filter = format!("$share/{}/{prefix}/+", options.group());
                let subs = (0..options.members).map(|_| subscriber(filter.clone(), 0..n));
                (pubs, subs.collect())
            }
            Mode::Filters => (0..n).map(|i| item_pair(options, prefix, i)).unzip(),
            _ => (0..n)
                .map(|i| {
                    let sub = subscriber(format!("{prefix}/{i}"), i..i + 1);
                    (publisher(one(i), 1), sub)
                })
                .unzip(),
        };
        if options.away {
            publishers.iter_mut().for_each(|publisher| publisher.deliveries = 0);
        }
        let shared = options.mode == Mode::Shared;
        let in_flight = in_flight(options, publishers.len(), subscribers.len(), shared);
        Self { publishers, subscribers, shared, in_flight }
    }

    /// The clients to dial: subscribers first, so that nothing is published to nobody.
    /// Lasting sessions have client ids that the next run with the same topics knows as well.
    pub(super) fn specs(&self, options: &Options) -> Vec<Spec> {
        let (qos, receive_max) = (options.qos, options.receive_max);
        let ids = match options.persistent {
            true => options.topic.clone(),
            false => format!("mogi-bench-{}", std::process::id()),
        };
        let subscribers = self.subscribers.iter().enumerate().map(|(i, sub)| Spec {
            client_id: format!("{ids}-s{i}"),
            filters: sub.filters.clone(),
            qos,
            terms: Terms { lasting: options.persistent, receive_max },
            ..Spec::default()
        });
        // Of a publisher's session only QoS 2 leaves something behind.
        let lasting = options.persistent && qos == QoS::ExactlyOnce;
        let publishers = (0..self.publishers.len()).map(|i| Spec {
            client_id: format!("{ids}-p{i}"),
            terms: Terms { lasting, receive_max: None },
            ..Spec::default()
        });
        subscribers.chain(publishers).collect()
    }
}

/// A publisher and a subscriber with their part of the filters, half of them ending in `/+` and
/// half in `/#`. Every filter matches the one topic with its number.
fn item_pair(options: &Options, prefix: &str, i: u32) -> (PublisherPlan, SubscriberPlan) {
    let share = |i: u32| {
        let split = u64::from(options.items) * u64::from(i) / u64::from(options.clients);
        split.min(u64::from(MAX_ITEMS)) as u32
    };
    let (first, end) = (share(i), share(i + 1));
    let filter = |item: u32| {
        let last = if item.is_multiple_of(2) { '+' } else { '#' };
        format!("{prefix}/{}/state/{last}", item_name(item))
    };
    let topics = Topics::Items {
        prefix: format!("{prefix}/"),
        suffix: "/state/on".into(),
        first,
        count: end - first,
    };
    let publisher = PublisherPlan { topics, deliveries: u32::from(end > first) };
    let subscriber =
        SubscriberPlan { filters: (first..end).map(filter).collect(), publishers: i..i + 1 };
    (publisher, subscriber)
}

/// The option bounds what is on its way to one subscriber; this is each publisher's part of it.
fn in_flight(options: &Options, publishers: usize, subscribers: usize, shared: bool) -> u32 {
    let receivers = if shared { subscribers } else { 1 };
    let per_receiver = match options.mode {
        Mode::FanIn | Mode::Shared => publishers.max(1),
        _ => 1,
    };
    let total = u64::from(options.in_flight) * receivers as u64;
    u32::try_from(total / per_receiver as u64).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(args: &[&str]) -> Plan {
        let options = Options::parse(args.iter().copied()).expect("good options");
        Plan::new(&options, "t")
    }

    #[test]
    fn pairs_have_a_topic_each() {
        let plan = plan(&["pairs", "-n", "2"]);
        assert_eq!(plan.publishers[1].topics, Topics::One("t/1".into()));
        assert_eq!(plan.subscribers[1].filters, ["t/1"]);
        assert_eq!(plan.subscribers[1].publishers, 1..2);
        assert_eq!(plan.in_flight, 500);
    }

    #[test]
    fn fan_in_divides_what_may_be_on_its_way() {
        let plan = plan(&["fan-in", "-n", "100", "--in-flight", "500"]);
        assert_eq!((plan.publishers.len(), plan.subscribers.len()), (100, 1));
        assert_eq!(plan.in_flight, 5);
    }

    #[test]
    fn fan_out_expects_a_delivery_for_everyone() {
        let plan = plan(&["fan-out", "-n", "7"]);
        assert_eq!(plan.publishers[0].deliveries, 7);
        assert_eq!(plan.subscribers.len(), 7);
    }

    #[test]
    fn a_shared_group_is_one_receiver_of_many_hands() {
        let plan = plan(&["shared", "-n", "4", "--members", "2", "--in-flight", "100"]);
        assert!(plan.shared);
        assert_eq!((plan.subscribers.len(), plan.in_flight), (2, 50));
    }

    #[test]
    fn sessions_last_where_something_is_promised() {
        for (qos, publishers_last) in [("1", false), ("2", true)] {
            let line = ["pairs", "-n", "1", "--persistent", "-q", qos, "-t", "x"];
            let options = Options::parse(line).expect("good options");
            let specs = Plan::new(&options, &options.topic).specs(&options);
            let found: Vec<_> =
                specs.iter().map(|spec| (spec.client_id.as_str(), spec.terms.lasting)).collect();
            assert_eq!(found, [("x-s0", true), ("x-p0", publishers_last)]);
        }
    }

    #[test]
    fn who_is_away_gets_nothing() {
        let plan = plan(&["pairs", "-n", "2", "-q1", "--persistent", "--away"]);
        assert!(plan.publishers.iter().all(|publisher| publisher.deliveries == 0));
        assert_eq!(plan.subscribers.len(), 2);
    }

    #[test]
    fn filters_are_divided_without_a_rest() {
        let plan = plan(&["filters", "-n", "3", "--items", "10"]);
        let all: usize = plan.subscribers.iter().map(|sub| sub.filters.len()).sum();
        assert_eq!(all, 10);
        assert_eq!(plan.subscribers[0].filters[0], "t/0000000/state/+");
        assert_eq!(plan.subscribers[0].filters[1], "t/0000001/state/#");
        assert_eq!(
            plan.subscribers[2].filters.last().map(String::as_str),
            Some("t/0000009/state/#")
        );
    }
}
