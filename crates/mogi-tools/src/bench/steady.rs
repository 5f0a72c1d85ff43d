//! The loop of a steady load: warm-up, the measured part, and waiting for the last messages.

use super::cost::{Mark, rss};
use super::dial::{Net, Spec};
use super::frames::DISCONNECT;
use super::link::{BACKLOG_LIMIT, Link};
use super::load::{Counts, Load, Role};
use super::options::Options;
use super::plan::Plan;
use super::report::Report;
use super::sessions;
use super::timer::Timer;
use mio::Token;
use std::time::{Duration, Instant};

/// No message has arrived for this long though windows are full of them: they are lost.
const STALL: Duration = Duration::from_secs(3);
/// The finest step of a fixed rate: what is due within it is sent together.
const TICK: Duration = Duration::from_micros(50);

/// Runs `plan` against the broker.
///
/// # Errors
/// What went wrong, in words, where no result can be given.
pub(super) fn run(options: &Options, plan: &Plan, net: &mut Net) -> Result<Report, String> {
    let specs = plan.specs(options);
    let lasting: Vec<_> = specs.iter().filter(|spec| spec.terms.lasting).cloned().collect();
    // Of a run that was cut short something may be left.
    sessions::forget(net, &lasting)?;
    let report = load(options, plan, net, &specs)?;
    sessions::forget(net, &lasting)?;
    Ok(report)
}

fn load(options: &Options, plan: &Plan, net: &mut Net, specs: &[Spec]) -> Result<Report, String> {
    let rss_before = rss(options)?;
    let mut dialed = net.dial_all(specs)?;
    let rss_subscribed = rss(options)?;
    let publishers = dialed.split_off(plan.subscribers.len());
    let windows: Vec<u16> = publishers.iter().map(|dialed| dialed.receive_max).collect();
    let mut slots: Vec<_> = dialed
        .into_iter()
        .enumerate()
        .map(|(i, dialed)| Slot::new(dialed.link, Role::Subscriber(i)))
        .chain(
            publishers
                .into_iter()
                .enumerate()
                .map(|(i, dialed)| Slot::new(dialed.link, Role::Publisher(i))),
        )
        .collect();
    if options.away {
        let links = slots[..plan.subscribers.len()].iter_mut().filter_map(|slot| slot.link.take());
        sessions::goodbye(net, links.collect())?;
    }
    let mut steady = Steady {
        load: Load::new(plan, options, &windows)?,
        timer: Timer::new(net.poll.registry(), Token(slots.len()))?,
        first_publisher: plan.subscribers.len(),
        dirty: Vec::with_capacity(slots.len()),
        slots,
        base: Instant::now(),
        options,
        net,
        lost_links: 0,
        last_loss: String::new(),
    };
    let (from, to) = steady.run()?;
    let mut report = steady.report(from, to);
    report.rss_before = rss_before;
    report.rss_ready = rss_subscribed;
    Ok(report)
}

/// A link and what it is for.
struct Slot {
    link: Option<Link>,
    role: Role,
    dirty: bool,
}

impl Slot {
    fn new(link: Link, role: Role) -> Self {
        Self { link: Some(link.no_delay()), role, dirty: false }
    }
}

/// Totals at one edge of the measured part.
#[derive(Clone, Copy, Debug)]
struct Edge {
    counts: Counts,
    used: Mark,
}

struct Steady<'a> {
    options: &'a Options,
    net: &'a mut Net,
    load: Load,
    timer: Timer,
    /// Subscribers first, then publishers; a link's token is its place.
    slots: Vec<Slot>,
    first_publisher: usize,
    /// Slots with something to send.
    dirty: Vec<usize>,
    /// Time zero of every stamp.
    base: Instant,
    lost_links: u64,
    last_loss: String,
}

impl Steady<'_> {
    fn run(&mut self) -> Result<(Edge, Edge), String> {
        self.publish_until(|steady| steady.base.elapsed() >= steady.options.warmup)?;
        self.load.measured_ns = self.now_ns()..u64::MAX;
        let from = self.edge()?;
        self.publish_until(|steady| match steady.options.count {
            Some(count) => steady.load.counts.published - from.counts.published >= count,
            None => from.used.at.elapsed() >= steady.options.duration,
        })?;
        let to = self.edge()?;
        self.load.measured_ns.end = self.now_ns();
        self.drain()?;
        Ok((from, to))
    }

    fn publish_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let mut last = (self.load.counts.progress(), Instant::now());
        while !done(self) {
            self.publish()?;
            self.flush();
            let until_done = match self.options.count {
                None => Duration::from_millis(20),
                Some(_) => Duration::from_millis(100),
            };
            self.turn(until_done)?;
            if self.load.publishers.iter().all(|publisher| publisher.gone) {
                return Err(format!("every publisher was disconnected: {}", self.last_loss));
            }
            if self.load.counts.progress() != last.0 {
                last = (self.load.counts.progress(), Instant::now());
            } else if last.1.elapsed() > STALL && self.options.rate.is_none() {
                self.load.give_up();
                last.1 = Instant::now();
            }
        }
        Ok(())
    }

    /// Takes what comes until everything has arrived or nothing more does.
    fn drain(&mut self) -> Result<(), String> {
        let mut last = (self.load.counts.progress(), Instant::now());
        while self.load.outstanding() > 0 || !self.load.all_acked() {
            self.flush();
            self.turn(Duration::from_millis(20))?;
            if self.load.counts.progress() != last.0 {
                last = (self.load.counts.progress(), Instant::now());
            } else if last.1.elapsed() > self.options.drain {
                break;
            }
        }
        for i in 0..self.slots.len() {
            if let Some(link) = self.slots[i].link.as_mut() {
                link.out.extend_from_slice(&DISCONNECT);
                self.mark(i);
            }
        }
        self.flush();
        Ok(())
    }

    /// Waits and reads.
    fn turn(&mut self, timeout: Duration) -> Result<(), String> {
        self.net.wait(Some(timeout))?;
        let events = std::mem::replace(&mut self.net.events, mio::Events::with_capacity(0));
        for event in &events {
            let i = event.token().0;
            if i >= self.slots.len() {
                continue;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(i);
            }
            if event.is_writable() {
                self.mark(i);
                if let Role::Publisher(publisher) = self.slots[i].role {
                    self.load.wake(publisher);
                }
            }
        }
        self.net.events = events;
        Ok(())
    }

    fn read(&mut self, i: usize) {
        let now_ns = self.now_ns();
        let slot = &mut self.slots[i];
        let Some(link) = slot.link.as_mut() else {
            return;
        };
        let (load, role) = (&mut self.load, slot.role);
        let result = link.read(&mut self.net.scratch, |header, body, out| {
            load.on_packet(role, header, body, now_ns, out)
        });
        let pending = link.backlog() > 0;
        if let Err(ended) = result {
            self.lose(i, &ended);
        } else if pending {
            self.mark(i);
        }
    }

    fn publish(&mut self) -> Result<(), String> {
        match self.options.rate {
            None => self.fill_windows(),
            Some(rate) => self.send_due(rate)?,
        }
        Ok(())
    }

    fn fill_windows(&mut self) {
        let due_ns = self.now_ns();
        let mut woken = std::mem::take(&mut self.load.woken);
        for i in woken.drain(..) {
            let count = self.load.allowance(i);
            let Some(link) = self.publisher_link(i) else {
                continue;
            };
            if count == 0 || link.backlog() > BACKLOG_LIMIT {
                // Woken again by an answer, or when the socket takes more.
                continue;
            }
            let mut out = std::mem::take(&mut link.out);
            for _ in 0..count {
                self.load.send(i, due_ns, &mut out);
            }
            if let Some(link) = self.publisher_link(i) {
                link.out = out;
            }
            self.mark(self.first_publisher + i);
        }
        // What was woken meanwhile waits for the next turn; keep the larger buffer.
        woken.append(&mut self.load.woken);
        self.load.woken = woken;
    }

    /// Sends what is due: message `j` of publisher `i` of `n` is due at `(j * n + i) / rate`.
    fn send_due(&mut self, rate: f64) -> Result<(), String> {
        let now_ns = self.now_ns();
        let n = self.load.publishers.len() as u64;
        let mut next_due = u64::MAX;
        for i in 0..self.load.publishers.len() {
            loop {
                let turn = u64::from(self.load.departed(i)) * n + i as u64;
                let due_ns = (turn as f64 / rate * 1e9) as u64;
                if due_ns > now_ns {
                    next_due = next_due.min(due_ns);
                    break;
                }
                if !self.send_one(i, due_ns) {
                    break;
                }
            }
        }
        let wait = Duration::from_nanos(next_due.saturating_sub(now_ns));
        self.timer.set(wait.clamp(TICK, Duration::from_secs(1)))
    }

    fn send_one(&mut self, i: usize, due_ns: u64) -> bool {
        let may_send = self.load.may_send(i);
        let slot = self.first_publisher + i;
        let Some(link) = self.slots[slot].link.as_mut() else {
            return false;
        };
        if !may_send || link.backlog() > BACKLOG_LIMIT {
            return false;
        }
        self.load.send(i, due_ns, &mut link.out);
        self.mark(slot);
        true
    }

    fn publisher_link(&mut self, i: usize) -> Option<&mut Link> {
        self.slots[self.first_publisher + i].link.as_mut()
    }

    fn mark(&mut self, i: usize) {
        let slot = &mut self.slots[i];
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(i);
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for i in dirty.drain(..) {
            let slot = &mut self.slots[i];
            slot.dirty = false;
            let result = slot.link.as_mut().map(Link::flush);
            if let Some(Err(ended)) = result {
                self.lose(i, &ended);
            }
        }
        self.dirty = dirty;
    }

    fn lose(&mut self, i: usize, ended: &super::link::Ended) {
        self.slots[i].link = None;
        self.lost_links += 1;
        self.last_loss = ended.to_string();
        if let Role::Publisher(publisher) = self.slots[i].role {
            self.load.publishers[publisher].gone = true;
        }
    }

    fn edge(&self) -> Result<Edge, String> {
        Ok(Edge { counts: self.load.counts, used: Mark::now(self.options)? })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn report(&self, from: Edge, to: Edge) -> Report {
        let tally = self.load.tally();
        let mut report = Report::new(self.options, self.options.mode.name());
        let published = to.counts.published - from.counts.published;
        let delivered = to.counts.delivered - from.counts.delivered;
        report.measured = to.used.since(from.used, (published, delivered));
        report.set_latency(&self.load.latency);
        report.lost = self.load.outstanding();
        report.duplicated = tally.duplicated;
        report.reordered = tally.reordered;
        report.foreign = self.load.counts.foreign;
        report.refused = self.load.counts.refused;
        report.given_up = self.load.counts.given_up;
        report.disconnected = self.lost_links;
        report.disconnect_reason = Some(self.last_loss.clone()).filter(|why| !why.is_empty());
        report.rss = to.used.broker.map(|usage| usage.rss_bytes);
        report
    }
}
