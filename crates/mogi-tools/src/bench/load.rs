//! The state of a steady load: what every publisher may send next, and what every subscriber got.

use super::dial::unexpected;
use super::flight::Flight;
use super::frames::{Stamp, Template, read_publish};
use super::link::BACKLOG_LIMIT;
use super::options::Options;
use super::plan::Plan;
use super::sequence::{Sequence, Tally, Verdict};
use hdrhistogram::Histogram;
use mogi_codec::{Ack, Disconnect, Header, PacketKind, QoS, Version};

/// Which client a link belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Publisher(usize),
    Subscriber(usize),
}

/// Running totals of a load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) delivered: u64,
    /// Messages of which the handshake is complete.
    pub(super) settled: u64,
    /// Acknowledgements that said no.
    pub(super) refused: u64,
    /// Deliveries that carry no stamp of this run, or not the payload that was sent.
    pub(super) foreign: u64,
    /// Messages that never arrived and blocked their publisher's window for seconds.
    pub(super) given_up: u64,
}

impl Counts {
    /// Changes whenever the broker has done something.
    pub(super) fn progress(&self) -> u64 {
        self.delivered + self.settled
    }
}

/// Everything a load knows.
pub(super) struct Load {
    version: Version,
    size: usize,
    pub(super) publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    /// Of a shared group as a whole: one sequence per publisher.
    group: Option<Vec<Sequence>>,
    in_flight: u32,
    pub(super) counts: Counts,
    /// Nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Due times whose latency counts.
    pub(super) measured_ns: std::ops::Range<u64>,
    /// Publishers that may be able to send again.
    pub(super) woken: Vec<usize>,
}

/// One publisher.
pub(super) struct Publisher {
    template: Template,
    flight: Flight,
    deliveries: u32,
    unacked: u32,
    window: u32,
    last_id: u16,
    woken: bool,
    pub(super) gone: bool,
    /// When those without deliveries were due, in a ring by packet identifier: what is measured
    /// then is the time until the acknowledgement.
    due_ns: Box<[u64]>,
}

/// One subscriber.
struct Subscriber {
    first_publisher: u32,
    heard: Heard,
}

/// What a subscriber remembers of each publisher it hears.
enum Heard {
    /// All of its messages come here.
    All(Vec<Sequence>),
    /// Some of them do: the number of the last, to see whether they are in order.
    Some(Vec<Option<u32>>, Tally),
}

impl Load {
    /// The load of `plan`; publisher `i` may have `windows[i]` unacknowledged messages.
    pub(super) fn new(plan: &Plan, options: &Options, windows: &[u16]) -> Result<Self, String> {
        const A_MINUTE_NS: u64 = 60_000_000_000;
        let latency = Histogram::new_with_bounds(1000, A_MINUTE_NS, 3)
            .map_err(|err| format!("cannot make a histogram: {err}"))?;
        let publisher = |(i, publisher): (usize, &super::plan::PublisherPlan)| Publisher {
            template: Template::new(
                options.version,
                i as u32,
                &publisher.topics,
                options.qos,
                false,
                options.size,
            ),
            flight: Flight::new(plan.in_flight),
            deliveries: publisher.deliveries,
            unacked: 0,
            window: windows.get(i).map_or(1, |&max| options.window.min(u32::from(max))),
            last_id: 0,
            woken: true,
            gone: false,
            due_ns: ring(options.window, publisher.deliveries),
        };
        let subscriber = |subscriber: &super::plan::SubscriberPlan| {
            let publishers = subscriber.publishers.len();
            Subscriber {
                first_publisher: subscriber.publishers.start,
                heard: if plan.shared {
                    Heard::Some(vec![None; publishers], Tally::default())
                } else {
                    Heard::All(vec![Sequence::default(); publishers])
                },
            }
        };
        let publishers: Vec<_> = plan.publishers.iter().enumerate().map(publisher).collect();
        Ok(Self {
            version: options.version,
            size: options.size,
            subscribers: plan.subscribers.iter().map(subscriber).collect(),
            group: plan.shared.then(|| vec![Sequence::default(); publishers.len()]),
            in_flight: plan.in_flight,
            counts: Counts::default(),
            latency,
            measured_ns: 0..0,
            woken: (0..publishers.len()).collect(),
            publishers,
        })
    }

    /// Takes a packet that came on a link of `role`, and answers into `out`.
    #[inline]
    pub(super) fn on_packet(
        &mut self,
        role: Role,
        header: Header,
        body: &[u8],
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match (role, header.kind) {
            (Role::Subscriber(i), PacketKind::Publish) => {
                self.on_publish(i, header, body, now_ns, out)
            }
            (Role::Publisher(i), PacketKind::Puback | PacketKind::Pubcomp) => {
                let ack = self.ack(header, body)?;
                self.counts.refused += u64::from(ack.reason.is_error());
                self.note_ack(i, ack.packet_id, now_ns);
                self.on_settled(i);
                Ok(())
            }
            (Role::Publisher(i), PacketKind::Pubrec) => {
                let ack = self.ack(header, body)?;
                if ack.reason.is_error() {
                    self.counts.refused += 1;
                    self.on_settled(i);
                } else {
                    put_ack(out, PacketKind::Pubrel, ack.packet_id);
                }
                Ok(())
            }
            (Role::Subscriber(_), PacketKind::Pubrel) => {
                put_ack(out, PacketKind::Pubcomp, self.ack(header, body)?.packet_id);
                Ok(())
            }
            (_, PacketKind::Disconnect) => Err(match Disconnect::decode(self.version, body) {
                Ok(packet) => format!("the broker disconnected it: {}", packet.reason.text()),
                Err(err) => format!("bad DISCONNECT: {err}"),
            }),
            _ => Err(unexpected(header)),
        }
    }

    /// Appends the next message of publisher `i`, due at `due_ns`.
    #[inline]
    pub(super) fn send(&mut self, i: usize, due_ns: u64, out: &mut Vec<u8>) {
        let publisher = &mut self.publishers[i];
        let seq = publisher.flight.depart(publisher.deliveries);
        if publisher.template.qos() != QoS::AtMostOnce {
            publisher.unacked += 1;
            publisher.last_id = publisher.last_id.checked_add(1).unwrap_or(1);
        }
        if let Some(due) = publisher.due_of(publisher.last_id) {
            *due = due_ns;
        }
        publisher.template.put(out, seq, due_ns, publisher.last_id);
        self.counts.published += 1;
    }

    /// How many messages publisher `i` should send now, to keep its windows full. It waits until
    /// half a window is free: a client that sends one message per answer is a slower client.
    pub(super) fn allowance(&mut self, i: usize) -> u32 {
        let in_flight = self.in_flight;
        let publisher = &mut self.publishers[i];
        publisher.woken = false;
        let on_their_way = in_flight.saturating_sub(publisher.flight.open());
        let (room, limit) = match publisher.template.qos() {
            QoS::AtMostOnce => (on_their_way, in_flight),
            _ => {
                let acks = publisher.window.saturating_sub(publisher.unacked);
                (on_their_way.min(acks), in_flight.min(publisher.window))
            }
        };
        let by_bytes = (BACKLOG_LIMIT / publisher.template.frame_len()).max(1);
        let limit = limit.min(by_bytes as u32);
        if publisher.gone || room.saturating_mul(2) < limit {
            return 0;
        }
        room.min(by_bytes as u32)
    }

    /// Whether publisher `i` may send a message that is due, whatever is on its way.
    pub(super) fn may_send(&self, i: usize) -> bool {
        let publisher = &self.publishers[i];
        !publisher.gone
            && (publisher.template.qos() == QoS::AtMostOnce || publisher.unacked < publisher.window)
    }

    /// Messages publisher `i` has sent.
    pub(super) fn departed(&self, i: usize) -> u32 {
        self.publishers[i].flight.departed()
    }

    /// Publisher `i` should be looked at again.
    pub(super) fn wake(&mut self, i: usize) {
        let publisher = &mut self.publishers[i];
        if !publisher.woken {
            publisher.woken = true;
            self.woken.push(i);
        }
    }

    /// Gives up what is on its way and opens every window again.
    pub(super) fn give_up(&mut self) {
        for i in 0..self.publishers.len() {
            let publisher = &mut self.publishers[i];
            let open = publisher.flight.give_up().max(publisher.unacked);
            publisher.unacked = 0;
            self.counts.given_up += u64::from(open);
            self.wake(i);
        }
    }

    /// What the subscribers saw, altogether.
    pub(super) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for subscriber in &self.subscribers {
            match &subscriber.heard {
                Heard::All(streams) => streams.iter().for_each(|stream| sum += stream.tally()),
                Heard::Some(_, tally) => sum += *tally,
            }
        }
        for stream in self.group.iter().flatten() {
            // That members overtake each other is no reordering.
            let reordered = 0;
            sum += Tally { reordered, ..stream.tally() };
        }
        sum
    }

    /// Deliveries that should have come and have not.
    pub(super) fn outstanding(&self) -> u64 {
        let due = |publisher: &Publisher| {
            u64::from(publisher.flight.departed()) * u64::from(publisher.deliveries)
        };
        let expected: u64 = self.publishers.iter().map(due).sum();
        expected.saturating_sub(self.tally().distinct)
    }

    /// Whether every handshake of every publisher that is still there is complete.
    pub(super) fn all_acked(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.gone || publisher.unacked == 0)
    }

    fn ack<'a>(&self, header: Header, body: &'a [u8]) -> Result<Ack<'a>, String> {
        Ack::decode(self.version, header.kind, body)
            .map_err(|err| format!("the broker sent a bad {}: {err}", header.kind.name()))
    }

    /// Counts the time until an acknowledgement, where nobody is there to get the message.
    fn note_ack(&mut self, i: usize, packet_id: u16, now_ns: u64) {
        let due_ns = self.publishers[i].due_of(packet_id).map(|due| *due);
        if let Some(due_ns) = due_ns.filter(|due_ns| self.measured_ns.contains(due_ns)) {
            self.latency.saturating_record(now_ns.saturating_sub(due_ns));
        }
    }

    fn on_settled(&mut self, i: usize) {
        let publisher = &mut self.publishers[i];
        publisher.unacked = publisher.unacked.saturating_sub(1);
        self.counts.settled += 1;
        self.wake(i);
    }

    #[inline]
    fn on_publish(
        &mut self,
        i: usize,
        header: Header,
        body: &[u8],
        now_ns: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let publish = read_publish(self.version, header, body)?;
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => put_ack(out, PacketKind::Puback, publish.packet_id),
            QoS::ExactlyOnce => put_ack(out, PacketKind::Pubrec, publish.packet_id),
        }
        self.counts.delivered += 1;
        let right_size = publish.payload.len() == self.size;
        let stamp = Stamp::read(publish.payload).filter(|_| right_size);
        match stamp.and_then(|stamp| Some((stamp, self.note(i, stamp)?))) {
            None => self.counts.foreign += 1,
            Some((stamp, fresh)) => {
                if fresh && self.measured_ns.contains(&stamp.due_ns) {
                    self.latency.saturating_record(now_ns.saturating_sub(stamp.due_ns));
                }
            }
        }
        Ok(())
    }

    /// Counts a delivery to subscriber `i`, and says whether it is the first of its message;
    /// nothing where the subscriber should not have got it.
    #[inline]
    fn note(&mut self, i: usize, stamp: Stamp) -> Option<bool> {
        let subscriber = &mut self.subscribers[i];
        let at = stamp.publisher.wrapping_sub(subscriber.first_publisher) as usize;
        let sender = stamp.publisher as usize;
        let departed = self.publishers.get(sender)?.flight.departed();
        if stamp.seq >= departed {
            return None;
        }
        let arrived = match &mut subscriber.heard {
            Heard::All(streams) => match streams.get_mut(at)?.observe(stamp.seq) {
                Verdict::Forward { from } => from..stamp.seq + 1,
                Verdict::Late => 0..0,
                Verdict::Duplicate => return Some(false),
            },
            Heard::Some(last, tally) => {
                let last = last.get_mut(at)?;
                let verdict = self.group.as_mut()?.get_mut(sender)?.observe(stamp.seq);
                if verdict == Verdict::Duplicate {
                    return Some(false);
                }
                tally.reordered += u64::from(last.is_some_and(|last| last > stamp.seq));
                *last = Some(stamp.seq);
                stamp.seq..stamp.seq + 1
            }
        };
        let flight = &mut self.publishers[sender].flight;
        for seq in arrived {
            flight.arrive(seq);
        }
        self.wake(sender);
        Some(true)
    }
}

impl Publisher {
    #[inline]
    fn due_of(&mut self, packet_id: u16) -> Option<&mut u64> {
        // Of a ring of no places the remainder is not defined.
        let at = usize::from(packet_id).checked_rem(self.due_ns.len())?;
        self.due_ns.get_mut(at)
    }
}

/// Places for the due times of a window; none where deliveries tell the latency.
fn ring(window: u32, deliveries: u32) -> Box<[u64]> {
    let places = if deliveries == 0 { 2 * window as usize } else { 0 };
    vec![0; places].into_boxed_slice()
}

/// Appends a plain acknowledgement, which every version writes alike.
#[inline]
fn put_ack(out: &mut Vec<u8>, kind: PacketKind, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[(kind as u8) << 4 | kind.reserved_flags(), 2, high, low]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Load {
        let options = Options::parse(args.iter().copied()).expect("good options");
        let plan = Plan::new(&options, "t");
        let windows = vec![u16::MAX; plan.publishers.len()];
        Load::new(&plan, &options, &windows).expect("a load")
    }

    /// Sends one message of publisher `i` and gives back the frame a broker would forward.
    fn send(load: &mut Load, i: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        load.send(i, 0, &mut frame);
        frame
    }

    fn deliver(load: &mut Load, to: usize, frame: &[u8]) -> Vec<u8> {
        let header = Header::parse(frame).expect("header").expect("whole");
        let mut answer = Vec::new();
        let body = &frame[header.header_len..];
        load.on_packet(Role::Subscriber(to), header, body, 5, &mut answer).expect("taken");
        answer
    }

    fn answer(load: &mut Load, to: usize, packet: &[u8]) -> Vec<u8> {
        let header = Header::parse(packet).expect("header").expect("whole");
        let mut out = Vec::new();
        load.on_packet(Role::Publisher(to), header, &packet[2..], 5, &mut out).expect("taken");
        out
    }

    #[test]
    fn counts_what_is_lost_twice_late_and_foreign() {
        let mut load = load(&["pairs", "-n", "2"]);
        let frames: Vec<_> = (0..5).map(|_| send(&mut load, 0)).collect();
        for i in [0, 2, 1, 1, 4] {
            deliver(&mut load, 0, &frames[i]);
        }
        deliver(&mut load, 1, &frames[3]);
        let tally = load.tally();
        assert_eq!((tally.distinct, tally.duplicated, tally.reordered), (4, 1, 1));
        assert_eq!((load.outstanding(), load.counts.foreign), (1, 1));
        assert_eq!((load.counts.published, load.counts.delivered), (5, 6));
    }

    #[test]
    fn a_sequence_number_never_sent_is_foreign() {
        let mut load = load(&["pairs", "-n", "1"]);
        let mut frame = send(&mut load, 0);
        let seq_at = frame.len() - 64 + 4;
        frame[seq_at..][..4].copy_from_slice(&9u32.to_be_bytes());
        deliver(&mut load, 0, &frame);
        assert_eq!((load.counts.foreign, load.outstanding()), (1, 1));
    }

    #[test]
    fn a_fan_out_is_complete_when_everyone_has_it() {
        let mut load = load(&["fan-out", "-n", "3", "--in-flight", "1"]);
        assert_eq!(load.allowance(0), 1);
        let frame = send(&mut load, 0);
        deliver(&mut load, 0, &frame);
        deliver(&mut load, 2, &frame);
        assert_eq!((load.allowance(0), load.outstanding()), (0, 1));
        deliver(&mut load, 1, &frame);
        assert_eq!((load.allowance(0), load.outstanding()), (1, 0));
    }

    #[test]
    fn a_group_gets_each_message_once_in_any_order() {
        let mut load = load(&["shared", "-n", "1", "--members", "2"]);
        let frames: Vec<_> = (0..4).map(|_| send(&mut load, 0)).collect();
        deliver(&mut load, 1, &frames[1]);
        deliver(&mut load, 0, &frames[0]);
        deliver(&mut load, 0, &frames[3]);
        let tally = load.tally();
        assert_eq!((tally.distinct, tally.duplicated, tally.reordered), (3, 0, 0));
        deliver(&mut load, 0, &frames[2]);
        deliver(&mut load, 1, &frames[2]);
        let tally = load.tally();
        assert_eq!((tally.distinct, tally.duplicated, tally.reordered), (4, 1, 1));
        assert_eq!(load.outstanding(), 0);
    }

    #[test]
    fn the_window_opens_with_the_acknowledgements() {
        let mut load = load(&["pairs", "-n", "1", "-q", "1", "--window", "2"]);
        let frames = [send(&mut load, 0), send(&mut load, 0)];
        assert_eq!(load.allowance(0), 0);
        assert!(!load.may_send(0) && !load.all_acked());
        assert_eq!(deliver(&mut load, 0, &frames[0]), [0x40, 2, 0, 1]);
        answer(&mut load, 0, &[0x40, 2, 0, 1]);
        assert_eq!(load.allowance(0), 1);
        answer(&mut load, 0, &[0x40, 2, 0, 2]);
        assert_eq!(load.allowance(0), 2);
        assert!(load.all_acked());
    }

    #[test]
    fn where_nobody_is_there_the_acknowledgement_tells_the_latency() {
        let mut load = load(&["pairs", "-n", "1", "-q", "1", "--persistent", "--away"]);
        load.measured_ns = 0..u64::MAX;
        send(&mut load, 0);
        answer(&mut load, 0, &[0x40, 2, 0, 1]);
        assert_eq!(load.latency.len(), 1);
        assert_eq!((load.counts.progress(), load.outstanding()), (1, 0));
    }

    #[test]
    fn qos_2_is_settled_by_pubcomp_only() {
        let mut load = load(&["pairs", "-n", "1", "-q", "2"]);
        let frame = send(&mut load, 0);
        assert_eq!(answer(&mut load, 0, &[0x50, 2, 0, 1]), [0x62, 2, 0, 1]);
        assert!(!load.all_acked());
        answer(&mut load, 0, &[0x70, 2, 0, 1]);
        assert!(load.all_acked());
        assert_eq!(deliver(&mut load, 0, &frame), [0x50, 2, 0, 1]);
    }

    #[test]
    fn what_is_given_up_opens_the_windows() {
        let mut load = load(&["pairs", "-n", "1", "--in-flight", "3"]);
        for _ in 0..3 {
            send(&mut load, 0);
        }
        assert_eq!(load.allowance(0), 0);
        load.give_up();
        assert_eq!((load.allowance(0), load.counts.given_up), (3, 3));
        assert_eq!(load.outstanding(), 3);
    }
}
