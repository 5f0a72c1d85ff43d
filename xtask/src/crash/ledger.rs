//! What was promised, what came, and what does not fit.
//!
//! Everything is in the order in which this one thread saw it (`tick`), so "acknowledged before"
//! and "sent after" are facts.

use super::wills::Will;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// Cases that are told in full, and those of one kind.
const CASES: usize = 12;
const SAME: usize = 3;

/// Everything the harness knows.
#[derive(Default)]
pub(super) struct Ledger {
    /// Rises with everything that is noted.
    pub(super) tick: u64,
    pub(super) now_ms: u64,
    /// When the last of the acknowledged messages was sent: all the broker did before it sent its
    /// acknowledgement, and what it knew when the message came, is on its disk.
    durable: u64,
    pub(super) round: u64,
    pub(super) streams: Vec<Stream>,
    pub(super) receivers: Vec<Receiver>,
    pub(super) wills: Vec<Will>,
    /// The broker promises nothing by closing a connection after DISCONNECT.
    pub(super) silent: bool,
    pub(super) tally: Tally,
    /// The first broken promises, with their history.
    pub(super) cases: Vec<String>,
    /// What happened to the broker and to the clients, with the time.
    pub(super) chronicle: Vec<(u64, String)>,
}

/// Counts for the report.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) repeated_qos1: u64,
    pub(super) repeated_qos2: u64,
    pub(super) misordered: u64,
    pub(super) stray: u64,
    pub(super) missing_retained: u64,
    pub(super) missing_sessions: u64,
    pub(super) wills_missing: u64,
    pub(super) wills_repeated: u64,
    pub(super) wills_wrong: u64,
    pub(super) stuck: u64,
    pub(super) odd: u64,
}

impl Tally {
    /// Promises that were broken. A QoS 1 message that comes again is none.
    pub(super) const fn broken(&self) -> u64 {
        let messages = self.lost + self.repeated_qos2 + self.misordered + self.stray + self.stuck;
        let wills = self.wills_missing + self.wills_repeated + self.wills_wrong;
        messages + wills + self.missing_retained + self.missing_sessions + self.odd
    }
}

/// Messages of one publisher with one topic and QoS; they are numbered from 0.
pub(super) struct Stream {
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) sent: Vec<Sent>,
    /// Up to here nothing was missing, or it was told.
    checked: usize,
}

/// A message that was sent.
pub(super) struct Sent {
    at: u64,
    at_ms: u64,
    resent: u16,
    acked: Option<u64>,
    acked_ms: u64,
    /// An empty retained message, which removes the one before.
    pub(super) clears: bool,
}

/// A session, or all members of a shared group.
pub(super) struct Receiver {
    name: String,
    /// Whether order is promised: not among the members of a group.
    ordered: bool,
    windows: Vec<Window>,
    got: HashMap<(usize, usize), Vec<Got>>,
    highest: HashMap<usize, usize>,
}

/// The time of a subscription.
struct Window {
    qos: u8,
    /// Which streams its filter matches.
    matches: Vec<bool>,
    asked: u64,
    granted: Option<u64>,
    /// When UNSUBSCRIBE was sent, and answered.
    leaving: Option<u64>,
    left: Option<u64>,
}

/// An arrival.
struct Got {
    at_ms: u64,
    by: String,
    id: u16,
    dup: bool,
    qos: u8,
}

impl Ledger {
    // --- setting up

    pub(super) fn stream(&mut self, topic: String, qos: u8, retain: bool) -> usize {
        self.streams.push(Stream { topic, qos, retain, sent: Vec::new(), checked: 0 });
        self.streams.len() - 1
    }

    pub(super) fn receiver(&mut self, name: &str, ordered: bool) -> usize {
        self.receivers.push(Receiver {
            name: name.to_owned(),
            ordered,
            windows: Vec::new(),
            got: HashMap::new(),
            highest: HashMap::new(),
        });
        self.receivers.len() - 1
    }

    // --- what happens

    pub(super) fn note(&mut self, what: String) {
        self.chronicle.push((self.now_ms, what));
    }

    /// A promise was broken: told in full if it is one of the first.
    pub(super) fn case(&mut self, what: &str, history: impl FnOnce(&Self) -> String) {
        let same = self.cases.iter().filter(|case| case.contains(&format!("] {what}\n"))).count();
        if self.cases.len() < CASES && same < SAME {
            let text =
                format!("[{} ms, round {}] {what}\n{}", self.now_ms, self.round, { history(self) });
            self.cases.push(text);
        }
    }

    /// A message is sent for the first time: its number.
    pub(super) fn sent(&mut self, stream: usize, clears: bool) -> usize {
        let (at, at_ms) = (self.next_tick(), self.now_ms);
        self.tally.published += 1;
        let sent = &mut self.streams[stream].sent;
        sent.push(Sent { at, at_ms, resent: 0, acked: None, acked_ms: 0, clears });
        sent.len() - 1
    }

    pub(super) fn resent(&mut self, stream: usize, seq: usize) {
        self.streams[stream].sent[seq].resent += 1;
    }

    /// Its PUBACK or PUBREC came.
    pub(super) fn acked(&mut self, stream: usize, seq: usize) {
        let (at, at_ms) = (self.next_tick(), self.now_ms);
        let sent = &mut self.streams[stream].sent[seq];
        self.durable = self.durable.max(sent.at);
        if sent.acked.is_none() {
            (sent.acked, sent.acked_ms) = (Some(at), at_ms);
            self.tally.acknowledged += 1;
        }
    }

    /// SUBSCRIBE is sent; the number of the subscription.
    pub(super) fn asked(&mut self, receiver: usize, filter: &str, qos: u8) -> usize {
        let asked = self.next_tick();
        let plain = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
        let plain = plain.map_or(filter, |(_, rest)| rest);
        let matches = self.streams.iter().map(|stream| matches(plain, &stream.topic)).collect();
        let windows = &mut self.receivers[receiver].windows;
        windows.push(Window { qos, matches, asked, granted: None, leaving: None, left: None });
        windows.len() - 1
    }

    pub(super) fn granted(&mut self, receiver: usize, window: usize) {
        let tick = self.next_tick();
        self.receivers[receiver].windows[window].granted.get_or_insert(tick);
    }

    pub(super) fn leaving(&mut self, receiver: usize, window: usize) {
        let tick = self.next_tick();
        self.receivers[receiver].windows[window].leaving.get_or_insert(tick);
    }

    pub(super) fn left(&mut self, receiver: usize, window: usize) {
        let tick = self.next_tick();
        self.receivers[receiver].windows[window].left.get_or_insert(tick);
    }

    /// A message came to a receiver that had not taken it yet under this packet id.
    pub(super) fn arrived(
        &mut self,
        receiver: usize,
        (stream, seq): (usize, usize),
        (by, id, dup, qos): (&str, u16, bool, u8),
    ) {
        self.tally.delivered += 1;
        let at_ms = self.now_ms;
        let this = &mut self.receivers[receiver];
        let times = this.got.entry((stream, seq)).or_default();
        times.push(Got { at_ms, by: by.to_owned(), id, dup, qos });
        let (first, twice) = (times.len() == 1, qos == 2 && times.len() > 1);
        // One that was sent before SUBACK may come when its publisher repeats it after a crash.
        let sent = &self.streams[stream].sent[seq];
        let expected = |window: &Window| {
            let stays = |leaving| sent.acked.is_some_and(|acked| acked < leaving);
            window.matches[stream]
                && window.granted.is_some_and(|granted| granted < sent.at)
                && window.leaving.is_none_or(stays)
        };
        let ordered = this.ordered && this.windows.iter().any(expected);
        let highest = this.highest.entry(stream).or_insert(seq);
        let late = first && ordered && *highest > seq;
        *highest = (*highest).max(seq);
        let wrong = self.is_wrong(receiver, stream, seq, qos);
        let tally = &mut self.tally;
        tally.repeated_qos1 += u64::from(!first && qos == 1);
        tally.repeated_qos2 += u64::from(twice);
        tally.misordered += u64::from(late);
        tally.stray += u64::from(wrong);
        let found = [(twice, "QoS 2 twice"), (late, "out of order"), (wrong, "not subscribed")];
        for (_, what) in found.iter().filter(|(found, _)| *found) {
            self.case(what, |this| this.history(receiver, stream, seq));
        }
    }

    /// The broker is killed, or stopped by itself.
    pub(super) fn broker_ends(&mut self, killed: bool) {
        let durable = if killed { self.durable } else { u64::MAX };
        self.settle_wills(durable);
    }

    // --- what is to hold

    /// Messages that were acknowledged and have not come to somebody who is to get them.
    pub(super) fn missing(&self) -> u64 {
        let mut missing = 0;
        self.each_missing(|_, _, _| missing += 1);
        missing
    }

    /// Everybody was there long enough: whatever is missing now is lost. Of each receiver and
    /// stream that lost something: the receiver's name, and how the payload of the first begins.
    pub(super) fn reckon(&mut self) -> Vec<(String, String)> {
        let mut lost: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        self.each_missing(|receiver, stream, seq| {
            lost.entry((receiver, stream)).or_default().push(seq);
        });
        let mut firsts = Vec::new();
        for (&(receiver, stream), all) in &lost {
            self.tally.lost += all.len() as u64;
            let (first, last) = (all[0], all[all.len() - 1]);
            let name = self.receivers[receiver].name.clone();
            let what = format!("{} lost by {name}: no. {first} to {last}", all.len());
            self.case(&what, |this| this.history(receiver, stream, first));
            firsts.push((name, format!("{stream} {first} ")));
        }
        for stream in &mut self.streams {
            stream.checked = stream.sent.len();
        }
        firsts
    }

    /// Compares a topic's retained message (its number) with what it may be: the last acknowledged
    /// one, or one that was sent later.
    pub(super) fn check_retained(&mut self, stream: usize, found: Option<usize>) {
        let sent = &self.streams[stream].sent;
        let acked = sent.iter().rposition(|sent| sent.acked.is_some());
        let from = acked.unwrap_or(0);
        let fits = match found {
            Some(seq) => seq >= from && seq < sent.len() && !sent[seq].clears,
            None => acked.is_none() || sent[from..].iter().any(|sent| sent.clears),
        };
        if !fits {
            self.tally.missing_retained += 1;
            let what = format!("retained: found {found:?}, last acknowledged {acked:?}");
            self.case(&what, |this| this.history_of(stream, from));
        }
    }

    /// Whether nobody had asked for it, or it came with another QoS than was granted.
    fn is_wrong(&self, receiver: usize, stream: usize, seq: usize, qos: u8) -> bool {
        let sent = &self.streams[stream].sent[seq];
        let windows = self.receivers[receiver].windows.iter();
        let open = windows.filter(|window| {
            window.matches[stream]
                && window.asked < sent.acked.unwrap_or(u64::MAX)
                && window.left.is_none_or(|left| left > sent.at)
        });
        let granted = open.map(|window| window.qos).max();
        granted.is_none_or(|granted| granted.min(self.streams[stream].qos) != qos)
    }

    fn each_missing(&self, mut found: impl FnMut(usize, usize, usize)) {
        for (at, stream) in self.streams.iter().enumerate() {
            for (receiver, this) in self.receivers.iter().enumerate() {
                let windows: Vec<&Window> =
                    this.windows.iter().filter(|window| window.matches[at]).collect();
                for (seq, sent) in stream.sent.iter().enumerate().skip(stream.checked) {
                    let due = windows.iter().any(|window| window.promises(sent));
                    if due && !this.got.contains_key(&(at, seq)) {
                        found(receiver, at, seq);
                    }
                }
            }
        }
    }

    pub(super) const fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    // --- for people

    /// All that is known of a message and its receiver.
    fn history(&self, receiver: usize, stream: usize, seq: usize) -> String {
        let this = &self.receivers[receiver];
        let mut text = format!("  receiver {}\n{}", this.name, self.history_of(stream, seq));
        for got in this.got.get(&(stream, seq)).into_iter().flatten() {
            let Got { at_ms, by, id, dup, qos } = got;
            let _ = writeln!(text, "  {at_ms} ms: came to {by}, id {id}, dup {dup}, qos {qos}");
        }
        let sent = &self.streams[stream].sent[seq];
        let publisher = self.streams[stream].topic.split('/').nth(1).unwrap_or("");
        let publisher = publisher.replacen('p', "pub", 1);
        let about = |name: &str| {
            name == "broker:" || name == publisher || this.name.split(' ').any(|it| it == name)
        };
        let near = self.chronicle.iter().filter(|(at_ms, what)| {
            *at_ms + 2_000 >= sent.at_ms && about(what.split(' ').next().unwrap_or(""))
        });
        for (at_ms, what) in near.take(40) {
            let _ = writeln!(text, "  {at_ms} ms: {what}");
        }
        text
    }

    fn history_of(&self, stream: usize, seq: usize) -> String {
        let Stream { topic, qos, sent, .. } = &self.streams[stream];
        let Some(sent) = sent.get(seq) else {
            return format!("  topic {topic}\n");
        };
        let acked = match sent.acked {
            Some(_) => format!("acknowledged at {} ms", sent.acked_ms),
            None => "not acknowledged".to_owned(),
        };
        let Sent { at_ms, resent, .. } = sent;
        format!("  topic {topic} qos {qos} no. {seq}: {at_ms} ms, resent {resent} x, {acked}\n")
    }
}

impl Window {
    /// Whether the message is for it: it was sent after SUBACK had come, and acknowledged before
    /// UNSUBSCRIBE left.
    fn promises(&self, sent: &Sent) -> bool {
        self.granted.is_some_and(|granted| granted < sent.at)
            && sent.acked.is_some_and(|acked| self.leaving.is_none_or(|leaving| acked < leaving))
    }
}

/// Whether a filter matches a topic; written down once more, so that nothing of the broker's own
/// judges it.
fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for part in filter.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (part, Some(level)) if part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}
