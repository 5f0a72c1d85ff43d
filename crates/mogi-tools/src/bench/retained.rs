//! Retained messages: storing many, then fetching them all with one wildcard.

use super::cost::{measure, rss};
use super::dial::{Net, Spec, check_suback, unexpected};
use super::frames::{DISCONNECT, Stamp, Template, Topics, item_name, put_subscribes, read_publish};
use super::link::{Ended, Link};
use super::options::Options;
use super::report::Report;
use super::store::publish_items;
use hdrhistogram::Histogram;
use mogi_codec::{Ack, Header, PacketKind, Properties, Publish, QoS, Reason, Version};
use std::time::{Duration, Instant};

/// Stores `options.items` messages, fetches them `options.rounds` times, and deletes them unless
/// they are to be kept.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn run(options: &Options, net: &mut Net) -> Result<Vec<Report>, String> {
    let mut store = Report::new(options, "retained-store");
    store.rss_before = rss(options)?;
    store.measured = measure(options, || store_all(options, net))?;
    store.rss_ready = rss(options)?;
    store.rss = store.rss_ready;
    let deliver = fetch(options, net)?;
    if !options.keep {
        delete_all(options, net)?;
    }
    Ok(vec![store, deliver])
}

fn store_all(options: &Options, net: &mut Net) -> Result<(u64, u64), String> {
    let topics = Topics::Items {
        prefix: format!("{}/", options.topic),
        suffix: "/state".into(),
        first: 0,
        count: options.items,
    };
    let (version, qos, size) = (options.version, options.qos, options.size);
    let template = Template::new(version, 0, &topics, qos, true, size);
    let (mut link, window) = dial(options, net, "store")?;
    publish_items(net, &mut link, qos, (options.items, window), |out, item, packet_id| {
        template.put(out, item, 0, packet_id);
    })?;
    Ok((u64::from(options.items), 0))
}

/// Deletes every item with an empty retained message ([MQTT-3.3.1-6]).
fn delete_all(options: &Options, net: &mut Net) -> Result<(), String> {
    let (mut link, window) = dial(options, net, "delete")?;
    let qos = QoS::AtMostOnce;
    publish_items(net, &mut link, qos, (options.items, window), |out, item, _| {
        let publish = Publish {
            dup: false,
            qos,
            retain: true,
            topic: &format!("{}/{}/state", options.topic, item_name(item)),
            packet_id: 0,
            properties: Properties::default(),
            payload: b"",
        };
        publish.encode(options.version, out);
    })
}

/// Subscribes `options.rounds` times to everything stored, each time as a new client.
fn fetch(options: &Options, net: &mut Net) -> Result<Report, String> {
    let mut report = Report::new(options, "retained-deliver");
    let mut latency = Histogram::new_with_bounds(1000, 600_000_000_000, 3)
        .map_err(|err| format!("cannot make a histogram: {err}"))?;
    for round in 0..options.rounds {
        let (mut link, _) = dial(options, net, &format!("fetch{round}"))?;
        let mut fetch = Fetch::new(options, &mut latency);
        let measured = measure(options, || {
            fetch.run(options, net, &mut link).map_err(|ended| format!("fetching: {ended}"))?;
            Ok((0, fetch.delivered))
        })?;
        let sum = &mut report.measured;
        sum.seconds += measured.seconds;
        sum.delivered += measured.delivered;
        sum.generator_cpu_s += measured.generator_cpu_s;
        sum.broker_cpu_s = measured.broker_cpu_s.map(|cpu| cpu + sum.broker_cpu_s.unwrap_or(0.0));
        report.lost += u64::from(options.items) - fetch.distinct;
        report.duplicated += fetch.duplicated;
        report.foreign += fetch.foreign;
    }
    report.set_latency(&latency);
    report.rss = rss(options)?;
    Ok(report)
}

/// One client fetching everything. The order is the broker's choice, so nothing is reordered.
struct Fetch<'a> {
    version: Version,
    started: Instant,
    seen: Vec<bool>,
    delivered: u64,
    distinct: u64,
    duplicated: u64,
    foreign: u64,
    /// Since the SUBSCRIBE, in nanoseconds.
    latency: &'a mut Histogram<u64>,
}

impl<'a> Fetch<'a> {
    fn new(options: &Options, latency: &'a mut Histogram<u64>) -> Self {
        Self {
            version: options.version,
            started: Instant::now(),
            seen: vec![false; options.items as usize],
            delivered: 0,
            distinct: 0,
            duplicated: 0,
            foreign: 0,
            latency,
        }
    }

    fn run(&mut self, options: &Options, net: &mut Net, link: &mut Link) -> Result<(), Ended> {
        let filters = [format!("{}/#", options.topic)];
        put_subscribes(self.version, options.qos, &filters, &mut link.out);
        self.started = Instant::now();
        let mut last = (0, self.started);
        while self.distinct < self.seen.len() as u64 && last.1.elapsed() < options.drain {
            link.flush()?;
            net.wait(Some(Duration::from_millis(100))).map_err(Ended::Refused)?;
            let now_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            link.read(&mut net.scratch, |header, body, out| {
                self.on_packet(header, body, now_ns, out)
            })?;
            if self.delivered > last.0 {
                last = (self.delivered, Instant::now());
            }
        }
        link.out.extend_from_slice(&DISCONNECT);
        link.flush().map(|_| ())
    }

    fn on_packet(
        &mut self,
        header: Header,
        body: &[u8],
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut answer = |packet_id, kind| {
            Ack::new(packet_id, Reason::Success).encode(self.version, kind, out);
        };
        match header.kind {
            PacketKind::Suback => check_suback(self.version, body)?,
            PacketKind::Pubrel => {
                let release = Ack::decode(self.version, header.kind, body)
                    .map_err(|err| format!("bad PUBREL: {err}"))?;
                answer(release.packet_id, PacketKind::Pubcomp);
            }
            PacketKind::Publish => {
                let publish = read_publish(self.version, header, body)?;
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => answer(publish.packet_id, PacketKind::Puback),
                    QoS::ExactlyOnce => answer(publish.packet_id, PacketKind::Pubrec),
                }
                self.latency.saturating_record(now_ns);
                self.note(publish.payload);
            }
            _ => return Err(unexpected(header)),
        }
        Ok(())
    }

    fn note(&mut self, payload: &[u8]) {
        self.delivered += 1;
        let seq = Stamp::read(payload).map(|stamp| stamp.seq as usize);
        match seq.and_then(|seq| self.seen.get_mut(seq)) {
            None => self.foreign += 1,
            Some(seen) if *seen => self.duplicated += 1,
            Some(seen) => {
                *seen = true;
                self.distinct += 1;
            }
        }
    }
}

fn dial(options: &Options, net: &mut Net, name: &str) -> Result<(Link, u32), String> {
    let spec =
        Spec { client_id: format!("mogi-bench-{}-{name}", std::process::id()), ..Spec::default() };
    let dialed = net.dial_all(&[spec])?.pop().ok_or("nothing was dialled")?;
    let window = options.window.min(u32::from(dialed.receive_max));
    Ok((dialed.link.no_delay(), window))
}
