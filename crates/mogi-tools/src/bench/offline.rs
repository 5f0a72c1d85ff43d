//! The queue of subscribers that are away: how fast it fills, and how fast it drains when they
//! come back.

use super::cost::{Mark, measure, rss};
use super::dial::{Dialed, Net, Spec, unexpected};
use super::frames::{PINGREQ, Stamp, Template, Terms, Topics, read_publish};
use super::link::{Ended, Link};
use super::options::Options;
use super::report::Report;
use super::sequence::{Sequence, Tally};
use super::sessions::{forget, goodbye, links};
use super::store::publish_items;
use mogi_codec::{Ack, Header, PacketKind, QoS, Reason, Version};
use std::time::{Duration, Instant};

/// Subscribes, goes away, has `options.items` messages published, and fetches them; that
/// `options.cycles` times. Where the messages are to be kept, they are not fetched.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn run(options: &Options, net: &mut Net) -> Result<Vec<Report>, String> {
    let mut subscribers: Vec<_> = (0..options.clients).map(|i| subscriber(options, i)).collect();
    let publisher = publisher(options);
    let all = || subscribers.iter().chain([&publisher]).cloned().collect::<Vec<_>>();
    forget(net, &all())?;
    let dialed = net.dial_all(&subscribers)?;
    goodbye(net, links(dialed))?;
    // The subscriptions are the session's: who returns does not repeat them.
    subscribers.iter_mut().for_each(|spec| spec.filters.clear());
    let mut reports = Vec::new();
    for cycle in 0..options.cycles {
        let mut report = fill(options, net, &publisher, cycle)?;
        report.cycle = Some(cycle);
        reports.push(report);
        if options.keep {
            return Ok(reports);
        }
        let mut report = drain(options, net, &subscribers, cycle)?;
        report.cycle = Some(cycle);
        reports.push(report);
    }
    subscribers.push(publisher);
    forget(net, &subscribers)?;
    Ok(reports)
}

pub(super) fn subscriber(options: &Options, i: u32) -> Spec {
    Spec {
        client_id: format!("{}-s{i}", options.topic),
        filters: vec![topic(options)],
        qos: options.qos,
        terms: Terms { lasting: true, receive_max: options.receive_max },
        ..Spec::default()
    }
}

pub(super) fn publisher(options: &Options) -> Spec {
    let lasting = options.qos == QoS::ExactlyOnce;
    Spec {
        client_id: format!("{}-p", options.topic),
        terms: Terms { lasting, receive_max: None },
        ..Spec::default()
    }
}

fn topic(options: &Options) -> String {
    format!("{}/0", options.topic)
}

/// Publishes the messages of one cycle. They carry its number, so that one which comes a cycle
/// late is known as foreign.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn fill(
    options: &Options,
    net: &mut Net,
    spec: &Spec,
    cycle: u32,
) -> Result<Report, String> {
    let mut report = Report::new(options, "offline-fill");
    report.rss_before = rss(options)?;
    let topics = Topics::One(topic(options));
    let (version, qos, size) = (options.version, options.qos, options.size);
    let template = Template::new(version, cycle, &topics, qos, false, size);
    let dialed = net.dial_all(std::slice::from_ref(spec))?.pop().ok_or("nothing was dialled")?;
    let window = options.window.min(u32::from(dialed.receive_max));
    let mut link = dialed.link.no_delay();
    report.measured = measure(options, || {
        publish_items(net, &mut link, qos, (options.items, window), |out, item, packet_id| {
            template.put(out, item, 0, packet_id);
        })?;
        Ok((u64::from(options.items), 0))
    })?;
    report.rss_ready = rss(options)?;
    report.rss = report.rss_ready;
    report.count_disk(options)?;
    Ok(report)
}

fn drain(options: &Options, net: &mut Net, specs: &[Spec], cycle: u32) -> Result<Report, String> {
    let report = Report::new(options, "offline-drain");
    let before = Mark::now(options)?;
    let dialed = net.dial_all(specs)?;
    fetch(options, net, dialed, (report, before), cycle)
}

/// Fetches what waits for these clients; the report is of all that happens since the mark.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn fetch(
    options: &Options,
    net: &mut Net,
    dialed: Vec<Dialed>,
    (mut report, before): (Report, Mark),
    cycle: u32,
) -> Result<Report, String> {
    let mut drain = Drain::new(options, cycle, dialed.len());
    let mut links = drain.take_early(dialed)?;
    let say = |ended: Ended| format!("draining: {ended}");
    drain.run(options, net, &mut links).map_err(say)?;
    drain.wait_for_acks(net, &mut links).map_err(say)?;
    report.measured = Mark::now(options)?.since(before, (0, drain.delivered));
    // What never comes is waited for at the end, and that is not time the broker took.
    report.measured.seconds = (drain.last - before.at).as_secs_f64();
    report.rss = rss(options)?;
    goodbye(net, links)?;
    std::thread::sleep(options.hold.unwrap_or_default());
    report.count_disk(options)?;
    let tally = drain.tally();
    report.lost = drain.expected() - tally.distinct;
    report.duplicated = tally.duplicated;
    report.reordered = tally.reordered;
    report.foreign = drain.foreign;
    Ok(report)
}

/// Subscribers fetching what waited for them.
struct Drain {
    version: Version,
    size: usize,
    items: u32,
    cycle: u32,
    seen: Vec<Sequence>,
    delivered: u64,
    foreign: u64,
    /// QoS 2 messages of which the PUBREL has not come.
    unreleased: u64,
    pings: usize,
    /// When the last packet came.
    last: Instant,
}

impl Drain {
    fn new(options: &Options, cycle: u32, clients: usize) -> Self {
        Self {
            version: options.version,
            size: options.size,
            items: options.items,
            cycle,
            seen: vec![Sequence::default(); clients],
            delivered: 0,
            foreign: 0,
            unreleased: 0,
            pings: 0,
            last: Instant::now(),
        }
    }

    /// Takes what came while the other clients still connected.
    fn take_early(&mut self, dialed: Vec<Dialed>) -> Result<Vec<Link>, String> {
        let mut links = Vec::with_capacity(dialed.len());
        for (i, Dialed { link, early, .. }) in dialed.into_iter().enumerate() {
            let mut link = link.no_delay();
            for (header, body) in early {
                self.on_packet(i, header, &body, &mut link.out)?;
            }
            links.push(link);
        }
        Ok(links)
    }

    fn run(&mut self, options: &Options, net: &mut Net, links: &mut [Link]) -> Result<(), Ended> {
        // What came after the CONNACK raised its event while others were dialled.
        let mut ready: Vec<usize> = (0..links.len()).collect();
        loop {
            self.exchange(net, links, &mut ready)?;
            let complete = self.delivered >= self.expected()
                && self.tally().distinct == self.expected()
                && self.unreleased == 0;
            if complete || self.last.elapsed() > options.drain {
                return Ok(());
            }
        }
    }

    /// The answer to a PINGREQ behind the last acknowledgement tells that it was taken.
    fn wait_for_acks(&mut self, net: &mut Net, links: &mut [Link]) -> Result<(), Ended> {
        const PATIENCE: Duration = Duration::from_secs(5);
        for link in links.iter_mut() {
            link.out.extend_from_slice(&PINGREQ);
        }
        let mut ready: Vec<usize> = (0..links.len()).collect();
        let (last, until) = (self.last, Instant::now() + PATIENCE);
        while self.pings < links.len() && Instant::now() < until {
            self.exchange(net, links, &mut ready)?;
        }
        self.last = last;
        Ok(())
    }

    /// Reads and answers on the links that are ready, and waits for the next ones.
    fn exchange(
        &mut self,
        net: &mut Net,
        links: &mut [Link],
        ready: &mut Vec<usize>,
    ) -> Result<(), Ended> {
        for i in ready.drain(..) {
            let Some(link) = links.get_mut(i) else {
                continue;
            };
            link.read(&mut net.scratch, |header, body, out| self.on_packet(i, header, body, out))?;
            link.flush()?;
        }
        net.wait(Some(Duration::from_millis(10))).map_err(Ended::Refused)?;
        ready.extend(net.events.iter().map(|event| event.token().0));
        Ok(())
    }

    fn on_packet(
        &mut self,
        i: usize,
        header: Header,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut answer = |packet_id, kind| {
            Ack::new(packet_id, Reason::Success).encode(self.version, kind, out);
        };
        match header.kind {
            PacketKind::Pingresp => {
                self.pings += 1;
                return Ok(());
            }
            PacketKind::Pubrel => {
                let release = Ack::decode(self.version, header.kind, body)
                    .map_err(|err| format!("bad PUBREL: {err}"))?;
                answer(release.packet_id, PacketKind::Pubcomp);
                self.unreleased = self.unreleased.saturating_sub(1);
            }
            PacketKind::Publish => {
                let publish = read_publish(self.version, header, body)?;
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => answer(publish.packet_id, PacketKind::Puback),
                    QoS::ExactlyOnce => {
                        answer(publish.packet_id, PacketKind::Pubrec);
                        self.unreleased += 1;
                    }
                }
                self.note(i, publish.payload);
            }
            _ => return Err(unexpected(header)),
        }
        self.last = Instant::now();
        Ok(())
    }

    fn note(&mut self, i: usize, payload: &[u8]) {
        self.delivered += 1;
        let stamp = Stamp::read(payload).filter(|stamp| {
            payload.len() == self.size && stamp.publisher == self.cycle && stamp.seq < self.items
        });
        match (stamp, self.seen.get_mut(i)) {
            (Some(stamp), Some(seen)) => {
                seen.observe(stamp.seq);
            }
            _ => self.foreign += 1,
        }
    }

    fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        self.seen.iter().for_each(|seen| sum += seen.tally());
        sum
    }

    fn expected(&self) -> u64 {
        u64::from(self.items) * self.seen.len() as u64
    }
}
