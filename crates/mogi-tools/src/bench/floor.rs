//! `mogi bench floor`: what takes a broker's place to show what the kernel alone costs.
//!
//! It makes the system calls no broker can do without under the loads of the suite: one read of all
//! there is, one write per connection and turn. It knows no session: a frame goes on as it
//! came, packet id and all, acknowledgements are echoed, and what a subscriber has not acknowledged
//! is only counted. So it is right for this generator and for nothing else, and a limit below
//! which no broker of the same windows can come on one thread.

use super::connect::raise_file_limit;
use super::link::{Ended, Link};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use mogi_codec::{Header, PacketKind, QoS};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

/// What a subscriber has on its way unless the configuration says otherwise, as brokers have it
/// (`max_inflight_messages` of mosquitto.conf(5)).
const WINDOW: u32 = 20;
/// As large as what mogi reads at once.
const READ_BYTES: usize = 128 * 1024;
/// Connections it is ready for.
const FILES: u64 = 20_000;
const LISTENER: Token = Token(usize::MAX);
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// Where it listens, and how much a subscriber may have unacknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Floor {
    port: u16,
    window: u32,
}

impl Floor {
    /// Reads what follows `floor`: `-c FILE`, a broker's configuration of which only `listener` and
    /// `max_inflight_messages` count.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(args: &[OsString]) -> Result<Self, String> {
        let [option, file] = args else {
            return Err("floor takes -c FILE and nothing else".into());
        };
        if option != "-c" {
            return Err(format!("unknown option {}", option.to_string_lossy()));
        }
        let text = std::fs::read_to_string(file)
            .map_err(|err| format!("{}: {err}", file.to_string_lossy()))?;
        Self::configured(&text)
    }

    fn configured(text: &str) -> Result<Self, String> {
        let value = |name: &str| {
            let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.find(|words| words.first() == Some(&name)).and_then(|words| {
                words.get(1).map(|word| word.parse::<u32>().map_err(|err| format!("{name}: {err}")))
            })
        };
        let port = value("listener").ok_or("the file has no line 'listener PORT'")??;
        let port = u16::try_from(port).map_err(|_| format!("listener: {port} is no port"))?;
        let window = value("max_inflight_messages").transpose()?.unwrap_or(WINDOW);
        Ok(Self { port, window })
    }

    /// Stands in until it is ended.
    ///
    /// # Errors
    /// If the system lets it not listen or wait.
    pub(super) fn run(&self) -> Result<String, String> {
        // A lower limit is enough for most loads.
        let _ = raise_file_limit(FILES);
        let say = |err: std::io::Error| format!("port {}: {err}", self.port);
        let mut poll = Poll::new().map_err(say)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut listener = TcpListener::bind(address).map_err(say)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(say)?;
        let mut events = Events::with_capacity(1024);
        let mut ends = Ends { window: self.window, ..Ends::default() };
        let mut scratch = vec![0; READ_BYTES];
        loop {
            match poll.poll(&mut events, None) {
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                result => result.map_err(say)?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => ends.accept(&listener, &poll)?,
                    // An end whose socket was full is written to once more.
                    Token(at) if event.is_writable() => ends.mark(at),
                    Token(_) => {}
                }
            }
            for event in events.iter().filter(|event| event.is_readable()) {
                ends.read(event.token().0, &mut scratch);
            }
            ends.flush();
        }
    }
}

/// All connections.
#[derive(Default)]
struct Ends {
    window: u32,
    links: Vec<Option<Link>>,
    ends: Vec<End>,
    free: Vec<usize>,
    /// By filter, without `/+` or `/#` at its end.
    wants: HashMap<Vec<u8>, Vec<usize>>,
    /// Of filters that are shared: whose turn it is.
    turns: HashMap<Vec<u8>, usize>,
    dirty: Vec<usize>,
}

/// What is known of a connection.
#[derive(Default)]
struct End {
    dirty: bool,
    subscribes: bool,
    /// Unacknowledged by a subscriber.
    in_flight: u32,
    /// Frames that wait for it to acknowledge, from `from` on, with their lengths. The generator
    /// bounds them: it has a fixed number of messages on their way.
    queue: Vec<u8>,
    from: usize,
    lengths: std::collections::VecDeque<u32>,
    /// The topic it published to last, and who wants that.
    topic: Vec<u8>,
    to: Vec<usize>,
}

impl Ends {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> Result<(), String> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(err) => return Err(format!("cannot accept: {err}")),
            };
            let at = self.free.pop().unwrap_or(self.links.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(at), interest)
                .map_err(|err| format!("cannot wait for a connection: {err}"))?;
            if at == self.links.len() {
                self.links.push(None);
                self.ends.push(End::default());
            }
            self.links[at] = Some(Link::new(stream).no_delay());
            self.ends[at] = End::default();
        }
    }

    fn read(&mut self, at: usize, scratch: &mut [u8]) {
        let Some(mut link) = self.links.get_mut(at).and_then(Option::take) else { return };
        let result = link.read(scratch, |header, body, out| self.packet(at, header, body, out));
        if link.backlog() > 0 {
            self.mark(at);
        }
        match result {
            Ok(()) => self.links[at] = Some(link),
            Err(ended) => self.forget(at, &ended),
        }
    }

    fn forget(&mut self, at: usize, why: &Ended) {
        if let Ended::Refused(what) = why
            && !what.is_empty()
        {
            eprintln!("mogi bench floor: {what}");
        }
        if self.ends[at].subscribes {
            self.wants.retain(|_, ends| {
                ends.retain(|end| *end != at);
                !ends.is_empty()
            });
            let Self { wants, turns, .. } = self;
            turns.retain(|filter, _| wants.contains_key(filter));
        }
        self.free.push(at);
    }

    fn packet(
        &mut self,
        at: usize,
        header: Header,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let answer = match header.kind {
            PacketKind::Connect => {
                out.extend_from_slice(&CONNACK);
                return Ok(());
            }
            PacketKind::Publish => return self.publish(at, header, body, out),
            PacketKind::Subscribe => return self.subscribe(at, body, out),
            PacketKind::Puback | PacketKind::Pubcomp => {
                self.acknowledged(at, out);
                return Ok(());
            }
            PacketKind::Pubrec => 0x62,
            PacketKind::Pubrel => 0x70,
            // Nothing to say: it hangs up.
            PacketKind::Disconnect => return Err(String::new()),
            other => return Err(format!("{} is not for this stand-in", other.name())),
        };
        let id = body.first_chunk::<2>().ok_or("an acknowledgement is cut off")?;
        out.extend_from_slice(&[answer, 2, id[0], id[1]]);
        Ok(())
    }

    fn subscribe(&mut self, at: usize, body: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let (id, mut rest) = body.split_at_checked(2).ok_or("a SUBSCRIBE is cut off")?;
        let mut granted = Vec::new();
        while let Some((filter, after)) = text(rest) {
            let (qos, after) = after.split_first().ok_or("a SUBSCRIBE is cut off")?;
            rest = after;
            granted.push(*qos);
            let (shared, filter) = plain(filter);
            if shared {
                self.turns.entry(filter.to_vec()).or_default();
            }
            self.wants.entry(filter.to_vec()).or_default().push(at);
        }
        self.ends[at].subscribes = true;
        out.push(0x90);
        put_length(out, 2 + granted.len());
        out.extend_from_slice(id);
        out.extend_from_slice(&granted);
        Ok(())
    }

    fn publish(
        &mut self,
        at: usize,
        header: Header,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let (topic, rest) = text(body).ok_or("a PUBLISH is cut off")?;
        let qos = QoS::from_u8(header.flags >> 1 & 3).ok_or("a PUBLISH of QoS 3")?;
        if qos != QoS::AtMostOnce {
            let id = rest.first_chunk::<2>().ok_or("a PUBLISH is cut off")?;
            let answer = if qos == QoS::AtLeastOnce { 0x40 } else { 0x50 };
            out.extend_from_slice(&[answer, 2, id[0], id[1]]);
        }
        let mut to = std::mem::take(&mut self.ends[at].to);
        if self.ends[at].topic != topic {
            self.ends[at].topic = topic.to_vec();
            to = self.wanted(topic);
        }
        let shared = !self.turns.is_empty();
        if shared && let Some(turn) = parent(topic).and_then(|it| self.turns.get_mut(it)) {
            *turn += 1;
            let one = *turn % to.len().max(1);
            to.get(one).into_iter().for_each(|end| self.deliver(*end, qos, header, body));
        } else {
            to.iter().for_each(|end| self.deliver(*end, qos, header, body));
        }
        self.ends[at].to = to;
        Ok(())
    }

    fn wanted(&self, topic: &[u8]) -> Vec<usize> {
        let of = |filter: &[u8]| self.wants.get(filter).cloned().unwrap_or_default();
        let mut all = of(topic);
        all.extend(parent(topic).map(of).unwrap_or_default());
        all
    }

    fn deliver(&mut self, at: usize, qos: QoS, header: Header, body: &[u8]) {
        let Some(link) = self.links[at].as_mut() else { return };
        let end = &mut self.ends[at];
        if qos == QoS::AtMostOnce || end.in_flight < self.window {
            end.in_flight += u32::from(qos != QoS::AtMostOnce);
            put_frame(&mut link.out, header, body);
            self.mark(at);
        } else {
            let before = end.queue.len();
            put_frame(&mut end.queue, header, body);
            end.lengths.push_back((end.queue.len() - before) as u32);
        }
    }

    /// A subscriber has one message less on its way: the next one goes.
    fn acknowledged(&mut self, at: usize, out: &mut Vec<u8>) {
        let end = &mut self.ends[at];
        let Some(length) = end.lengths.pop_front() else {
            end.in_flight = end.in_flight.saturating_sub(1);
            return;
        };
        let until = end.from + length as usize;
        out.extend_from_slice(&end.queue[end.from..until]);
        end.from = until;
        if end.lengths.is_empty() {
            end.queue.clear();
            end.from = 0;
        } else if end.from > READ_BYTES {
            end.queue.drain(..end.from);
            end.from = 0;
        }
    }

    fn mark(&mut self, at: usize) {
        if let Some(end) = self.ends.get_mut(at)
            && !end.dirty
        {
            end.dirty = true;
            self.dirty.push(at);
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for at in dirty.drain(..) {
            self.ends[at].dirty = false;
            let result = self.links[at].as_mut().map(Link::flush);
            if let Some(Err(ended)) = result {
                self.links[at] = None;
                self.forget(at, &ended);
            }
        }
        self.dirty = dirty;
    }
}

/// A text with its length before it, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A filter without `$share/GROUP/`, if it had that, and without a wildcard at its end.
fn plain(filter: &[u8]) -> (bool, &[u8]) {
    let shared = filter.strip_prefix(b"$share/").and_then(|rest| {
        let at = rest.iter().position(|byte| *byte == b'/')?;
        Some(&rest[at + 1..])
    });
    let filter = shared.unwrap_or(filter);
    let wild = filter.strip_suffix(b"/+").or_else(|| filter.strip_suffix(b"/#"));
    (shared.is_some(), wild.unwrap_or(filter))
}

fn parent(topic: &[u8]) -> Option<&[u8]> {
    Some(&topic[..topic.iter().rposition(|byte| *byte == b'/')?])
}

fn put_frame(out: &mut Vec<u8>, header: Header, body: &[u8]) {
    out.push((header.kind as u8) << 4 | header.flags);
    put_length(out, body.len());
    out.extend_from_slice(body);
}

/// Appends a remaining length (section 2.2.3 of MQTT 3.1.1).
fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 128 {
        out.push(length as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_a_broker_says_where_and_how_much() {
        let text = "# x\nlistener 1234 127.0.0.1\nallow_anonymous true\n";
        assert_eq!(Floor::configured(text), Ok(Floor { port: 1234, window: WINDOW }));
        let wide = format!("{text}max_inflight_messages 100\n");
        assert_eq!(Floor::configured(&wide), Ok(Floor { port: 1234, window: 100 }));
        assert!(Floor::configured("allow_anonymous true").is_err());
        assert!(Floor::configured("listener 70000").is_err());
    }

    #[test]
    fn filters_are_known_by_what_is_before_the_wildcard() {
        assert_eq!(plain(b"a/b"), (false, &b"a/b"[..]));
        assert_eq!(plain(b"a/+"), (false, &b"a"[..]));
        assert_eq!(plain(b"$share/g/a/#"), (true, &b"a"[..]));
        assert_eq!(parent(b"a/b/c"), Some(&b"a/b"[..]));
    }

    #[test]
    fn what_is_above_the_window_waits_for_acknowledgements() {
        let mut ends = Ends { window: 1, ..Ends::default() };
        ends.links.push(None);
        ends.ends.push(End::default());
        let header = |bytes: &[u8]| Header::parse(bytes).expect("good").expect("whole");
        let frame = [0x32, 6, 0, 1, b'a', 0, 7, b'x'];
        let mut put = Vec::new();
        put_frame(&mut put, header(&frame), &frame[2..]);
        assert_eq!(put, frame);
        let end = &mut ends.ends[0];
        (end.in_flight, end.queue) = (1, put);
        end.lengths.push_back(8);
        let mut out = Vec::new();
        ends.acknowledged(0, &mut out);
        assert_eq!((out.as_slice(), ends.ends[0].in_flight), (&frame[..], 1));
        ends.acknowledged(0, &mut out);
        assert_eq!((out.len(), ends.ends[0].in_flight), (8, 0));
    }

    #[test]
    fn a_subscription_is_granted_and_a_publish_acknowledged() {
        let mut ends = Ends { window: 1, ..Ends::default() };
        ends.links.push(None);
        ends.ends.push(End::default());
        let mut out = Vec::new();
        let body = [0, 9, 0, 3, b'a', b'/', b'+', 1];
        ends.subscribe(0, &body, &mut out).expect("good");
        assert_eq!(out, [0x90, 3, 0, 9, 1]);
        assert_eq!(ends.wanted(b"a/b"), [0]);
        out.clear();
        let frame = [0x32, 7, 0, 3, b'a', b'/', b'b', 0, 7];
        let header = Header::parse(&frame).expect("good").expect("whole");
        ends.publish(0, header, &frame[2..], &mut out).expect("good");
        assert_eq!(out, [0x40, 2, 0, 7]);
    }
}
