//! Changes of one slot to commands.
//!
//! ```text
//!  Enqueued, QoS 0 and 1    XADD queue:{C} NOMKSTREAM <number> …      if it is the only one
//!                           FCALL add                                 all of a session in one
//!  Enqueued, QoS 2          FCALL add, marked so that it counts once  all of a session in one
//!  what its owner changes   FCALL own, refused under an old epoch     all of a session in one
//!  Retained, wills          FCALL retain, will
//! ```
//! Everything may be sent twice in a row. `XADD` of a number that is not the greatest any more is
//! refused by Redis; those come once more with `add`, which looks whether they are there.

use super::directory::{Directory, Home, session_of};
use super::encode;
use super::functions::Function;
use super::journal;
use super::keys::{Of, Per, Tag, entry_id, entry_of, field_of};
use super::wire::{Commands, Value, slot_of};
use crate::ops::{Cause, EntryNo, SessionNo, StoreOp, StoredDelivery};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use mogi_codec::QoS;
use std::borrow::Cow;
use std::sync::Arc;

/// Changes and entries one call takes at most, so that none keeps Redis busy for long.
const CALL_OPS: usize = 500;

/// Bytes of messages one call takes at most, but for a single larger one.
const CALL_BYTES: usize = 1 << 20;

/// Commands for one slot, and what each is for.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) commands: Commands,
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The entry of the change with this index, by itself.
    Entry(usize),
    Entries,
    /// Changes only the owner may make, under the claim of this epoch.
    Own(SessionNo, u64),
    Retained,
    /// The change with this index is of a will, under the claim of this epoch.
    Will(usize, u64),
    /// What became of a will is in all queues.
    WillDone,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Indices of entries that are to be added with [`Planner::late`].
    pub(super) late: Vec<usize>,
    /// Sessions that belong to another node by now, and the epochs they were changed under.
    pub(super) fenced: Vec<(SessionNo, u64)>,
    /// Indices of changes of wills of such clients.
    pub(super) fenced_wills: Vec<(usize, u64)>,
    /// Entries that were to be handed over and were not there.
    pub(super) gone: Vec<(SessionNo, EntryNo)>,
    /// Indices of changes that were to take a will that was not there.
    pub(super) gone_wills: Vec<usize>,
    /// By how many there are more sessions, flights and retained messages.
    pub(super) sessions: i64,
    pub(super) flights: i64,
    pub(super) retained: i64,
    /// What Redis does not do, and never will.
    pub(super) error: Option<String>,
}

/// What else is to stand in Redis with changes, by session and cause.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// What follows from a change until it is in all queues.
    pub(super) parts: HashMap<(SessionNo, Cause), Vec<u8>, RandomState>,
    /// Changes for which it is.
    pub(super) settled: Vec<(SessionNo, Cause)>,
}

/// Makes plans.
pub(super) struct Planner<'a> {
    pub(super) directory: &'a Directory,
    pub(super) now_ms: u64,
}

/// What is gathered for one session.
#[derive(Default)]
struct Gathered<'a> {
    /// Entries, by index.
    adds: Vec<(EntryNo, usize, &'a StoredDelivery)>,
    own: Vec<&'a StoreOp>,
    /// Entries that `own` is about.
    named: HashSet<EntryNo, RandomState>,
    /// The session begins or ends in `own`.
    turns: bool,
    /// Some of its entries stand in the plan already.
    begun: bool,
}

/// Which of a session's entries a part of the plan has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// More may come behind them.
    Some,
    /// The last of them.
    Rest,
}

impl Planner<'_> {
    /// The commands for changes of one slot.
    pub(super) fn plan(&self, ops: &[StoreOp], extra: &Extra) -> Plan {
        let mut plan = Plan::default();
        let mut sessions: HashMap<SessionNo, Gathered<'_>, RandomState> = HashMap::default();
        // By client, the session the last change was of: two of one client do not overtake.
        let mut order: Vec<SessionNo> = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            let Some(session) = session_of(op) else {
                self.other(&mut plan, index, op, extra);
                continue;
            };
            if matches!(op, StoreOp::SessionSet { .. }) && !sessions.contains_key(&session) {
                // A session that begins comes behind the end of one before.
                for before in &order {
                    if let Some(gathered) = sessions.get_mut(before).filter(|it| it.turns) {
                        self.flush(&mut plan, *before, gathered, extra, Part::Some);
                    }
                }
            }
            let gathered = sessions.entry(session).or_insert_with(|| {
                order.push(session);
                Gathered::default()
            });
            match op {
                StoreOp::Enqueued { entry, delivery, .. } => {
                    if *entry == EntryNo::NONE {
                        continue;
                    }
                    if gathered.turns || gathered.named.contains(entry) {
                        self.flush(&mut plan, session, gathered, extra, Part::Some);
                    }
                    gathered.adds.push((*entry, index, delivery));
                }
                own => {
                    gathered.turns |=
                        matches!(own, StoreOp::SessionSet { .. } | StoreOp::SessionEnd { .. });
                    gathered.named.extend(entry_named(own));
                    gathered.own.push(own);
                }
            }
        }
        for session in order {
            if let Some(gathered) = sessions.get_mut(&session) {
                self.flush(&mut plan, session, gathered, extra, Part::Rest);
            }
        }
        for (session, cause) in &extra.settled {
            let what: &[u8] = match cause {
                Cause::PacketId(_) => b"c",
                Cause::Entry(_) => b"q",
                Cause::Will(client) => {
                    self.will(
                        &mut plan,
                        Kind::WillDone,
                        Function::Unwill,
                        client,
                        &[text("done".to_owned())],
                    );
                    continue;
                }
            };
            if let Some(home) = self.directory.home(*session) {
                let words = vec![Cow::Borrowed(what), text(field_of(cause))];
                self.call_own(&mut plan, home, *session, words, false);
            }
        }
        plan
    }

    /// Adds entries that were refused because there were greater ones.
    pub(super) fn late(&self, ops: &[StoreOp], late: &[usize]) -> Plan {
        let mut plan = Plan::default();
        for op in late.iter().filter_map(|index| ops.get(*index)) {
            if let StoreOp::Enqueued { session, entry, delivery } = op
                && let Some(home) = self.directory.home(*session)
            {
                self.call_add(&mut plan, home, *session, &[(*entry, 0, delivery)], false);
            }
        }
        plan
    }

    fn flush(
        &self,
        plan: &mut Plan,
        session: SessionNo,
        gathered: &mut Gathered<'_>,
        extra: &Extra,
        part: Part,
    ) {
        let Gathered { mut adds, own, named, begun, .. } = std::mem::take(gathered);
        gathered.begun = begun || !adds.is_empty();
        let Some(home) = self.directory.home(session) else { return };
        adds.sort_unstable_by_key(|(entry, ..)| *entry);
        adds.dedup_by_key(|(entry, ..)| *entry);
        // What `own` is about has to be there by then, also if it comes late.
        let once = |entry: &EntryNo, delivery: &StoredDelivery| {
            delivery.qos == QoS::ExactlyOnce || named.contains(entry)
        };
        // Of several plain ones the first may be refused, because another node has added one with
        // a greater number, and the next be taken: who reads the queue before the first is added
        // late would find a gap, and have the next overtake it ([MQTT-4.6.0-5]).
        let alone = part == Part::Rest && !begun && adds.len() == 1;
        // In the order of their numbers, so that few come late.
        for run in adds.chunk_by(|a, b| once(&a.0, a.2) == once(&b.0, b.2)) {
            let once = run.first().is_some_and(|(entry, _, delivery)| once(entry, delivery));
            match run {
                [only] if alone && !once => self.put_plain(plan, home, only),
                _ => pieces(run).for_each(|some| self.call_add(plan, home, session, some, once)),
            }
        }
        for some in own.chunks(CALL_OPS) {
            let mut words = Vec::with_capacity(some.len() * 2);
            let mut large = false;
            let mut ops = some.iter().peekable();
            while let Some(op) = ops.next() {
                if let StoreOp::Delivered { entry, .. } = op {
                    let mut ids = vec![*entry];
                    while let Some(StoreOp::Delivered { entry, .. }) = ops.peek() {
                        ids.push(*entry);
                        ops.next();
                    }
                    words.push(Cow::Borrowed(&b"D"[..]));
                    words.push(number(ids.len() as u64));
                    words.extend(ids.into_iter().map(|id| text(entry_id(id))));
                } else {
                    large |= put_own(op, extra, self.now_ms, &mut words);
                }
            }
            self.call_own(plan, home, session, words, large);
        }
    }

    /// An entry as a plain command, which costs Redis less than a call.
    fn put_plain(
        &self,
        plan: &mut Plan,
        home: &Home,
        (entry, index, delivery): &(EntryNo, usize, &StoredDelivery),
    ) {
        let queue = self.directory.key(home, Of::Queue);
        let id = entry_id(*entry);
        let fields = encode::delivery(delivery);
        plan.commands.begin(4 + fields.len());
        for word in [b"XADD", queue.as_bytes(), b"NOMKSTREAM", id.as_bytes()] {
            plan.commands.word(word);
        }
        for word in &fields {
            plan.commands.word(word);
        }
        plan.kinds.push(Kind::Entry(*index));
    }

    fn call_own(
        &self,
        plan: &mut Plan,
        home: &Home,
        session: SessionNo,
        words: Vec<Cow<'_, [u8]>>,
        large: bool,
    ) {
        let keys = &self.directory.keys;
        let all = [Of::Session, Of::Subs, Of::Queue, Of::Inflight, Of::Recv, Of::Late];
        let function = if large { Function::Take } else { Function::Own };
        plan.commands.begin(14 + words.len());
        plan.commands.word(b"FCALL").word(function.name()).number(7);
        for what in all {
            plan.commands.word(keys.of(&home.tag, what).as_bytes());
        }
        plan.commands.word(keys.per(home.tag.slot, Per::Sessions).as_bytes());
        plan.commands.number(home.epoch).number(session.0);
        plan.commands.word(keys.flights(&home.tag).as_bytes()).word(home.client.as_bytes());
        for word in words.iter() {
            plan.commands.word(word);
        }
        plan.kinds.push(Kind::Own(session, home.epoch));
    }

    fn call_add(
        &self,
        plan: &mut Plan,
        home: &Home,
        session: SessionNo,
        entries: &[(EntryNo, usize, &StoredDelivery)],
        once: bool,
    ) {
        let fields: Vec<_> = entries.iter().map(|(.., it)| encode::delivery(it)).collect();
        let words: usize = fields.iter().map(|fields| fields.len() + 2).sum();
        let commands = &mut plan.commands;
        commands.begin(11 + words).word(b"FCALL").word(Function::Add.name()).number(6);
        for what in [Of::Session, Of::Queue, Of::Inflight, Of::Late] {
            commands.word(self.directory.key(home, what).as_bytes());
        }
        for key in self.directory.keys.once(home.tag.slot, self.now_ms) {
            commands.word(key.as_bytes());
        }
        commands.number(session.0).word(if once { b"1" } else { b"0" });
        for ((entry, ..), fields) in entries.iter().zip(&fields) {
            commands.word(entry_id(*entry).as_bytes()).number(fields.len() as u64);
            for word in fields.iter() {
                commands.word(word);
            }
        }
        plan.kinds.push(Kind::Entries);
    }

    /// A change that is of no session.
    fn other(&self, plan: &mut Plan, index: usize, op: &StoreOp, extra: &Extra) {
        let keys = &self.directory.keys;
        let retained = |plan: &mut Plan, topic: &str, version: u64, message: Option<&[&[u8]]>| {
            let key = keys.retained(topic);
            let slot = slot_of(key.as_bytes());
            let message = message.unwrap_or_default();
            let function = if message.is_empty() { Function::Unretain } else { Function::Retain };
            plan.commands.begin(9 + message.len()).word(b"FCALL").word(function.name()).number(4);
            plan.commands.word(key.as_bytes());
            plan.commands.word(keys.per(slot, Per::RetainedMeta).as_bytes());
            for key in keys.gone(slot, self.now_ms) {
                plan.commands.word(key.as_bytes());
            }
            plan.commands.word(topic.as_bytes()).number(version);
            for word in message.iter() {
                plan.commands.word(word);
            }
            plan.kinds.push(Kind::Retained);
        };
        let of_will = |client: &str| Kind::Will(index, self.directory.epoch(client));
        match op {
            StoreOp::Retained { message, version } => {
                let meta = encode::retained(message, *version);
                let words = [message.payload(), &meta[..]];
                retained(plan, message.topic(), *version, Some(&words));
            }
            StoreOp::RetainedEnd { topic, version } => retained(plan, topic, *version, None),
            StoreOp::WillSet { client, will } => {
                let fields = encode::will(client, will);
                self.will(plan, of_will(client), Function::Will, client, &fields);
            }
            StoreOp::WillEnd { client } => {
                self.will(plan, of_will(client), Function::Unwill, client, &[]);
            }
            StoreOp::WillTaken { client, .. } => {
                let cause = Cause::Will(Arc::clone(client));
                let field = text(field_of(&cause));
                let parts = extra.parts.get(&(SessionNo::NONE, cause)).map(|parts| &parts[..]);
                // What it stands for may take memory.
                let function = if parts.is_none() { Function::Unwill } else { Function::Will };
                let parts = parts.unwrap_or(journal::NOTHING.as_bytes());
                self.will(plan, of_will(client), function, client, &[field, Cow::Borrowed(parts)]);
            }
            _ => {}
        }
    }

    fn will(
        &self,
        plan: &mut Plan,
        kind: Kind,
        function: Function,
        client: &str,
        fields: &[Cow<'_, [u8]>],
    ) {
        let (keys, tag) = (&self.directory.keys, Tag::of(client));
        let commands = &mut plan.commands;
        commands.begin(8 + fields.len()).word(b"FCALL").word(function.name()).number(3);
        commands.word(keys.of(&tag, Of::Session).as_bytes());
        commands.word(keys.of(&tag, Of::Will).as_bytes());
        commands.word(keys.per(tag.slot, Per::Wills).as_bytes());
        commands.number(self.directory.epoch(client)).word(client.as_bytes());
        for word in fields.iter() {
            commands.word(word);
        }
        plan.kinds.push(kind);
    }
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// What the replies say.
    pub(super) fn read(&self, values: &[Value]) -> Outcome {
        let mut outcome = Outcome::default();
        for (kind, value) in self.kinds.iter().zip(values) {
            if let Some(error) = value.error() {
                match kind {
                    Kind::Own(session, epoch) if error.code() == "FENCED" => {
                        outcome.fenced.push((*session, *epoch));
                    }
                    // Whoever has the client now does it.
                    Kind::WillDone if error.code() == "FENCED" => {}
                    Kind::Will(index, epoch) if error.code() == "FENCED" => {
                        outcome.fenced_wills.push((*index, *epoch));
                    }
                    Kind::Entry(index) if error.0.contains("equal or smaller") => {
                        outcome.late.push(*index);
                    }
                    _ => outcome.error = Some(error.to_string()),
                }
                continue;
            }
            match kind {
                Kind::Own(session, _) => {
                    let changed = value.array().unwrap_or_default();
                    let gone = changed.iter().skip(2).filter_map(Value::bytes);
                    let gone = gone.filter_map(entry_of);
                    outcome.gone.extend(gone.map(|entry| (*session, entry)));
                    let by = |at: usize| changed.get(at).and_then(Value::int).unwrap_or(0);
                    outcome.sessions += by(0);
                    outcome.flights += by(1);
                }
                Kind::Retained => outcome.retained += value.int().unwrap_or(0),
                Kind::Will(index, _) if value.int() == Some(0) => outcome.gone_wills.push(*index),
                Kind::Entry(_) | Kind::Entries | Kind::Will(..) | Kind::WillDone => {}
            }
        }
        outcome
    }
}

/// Puts a change of the owner's into words; whether it may take much memory.
fn put_own<'a>(
    op: &'a StoreOp,
    extra: &'a Extra,
    now_ms: u64,
    words: &mut Vec<Cow<'a, [u8]>>,
) -> bool {
    let letter = |letter: &'static str| Cow::Borrowed(letter.as_bytes());
    match op {
        StoreOp::SessionSet { record, .. } => {
            let (set, unset) = encode::session(record);
            words.extend([letter("S"), number(now_ms), number(set.len() as u64)]);
            words.push(number(unset.len() as u64));
            words.extend(set);
            words.extend(unset.into_iter().map(letter));
        }
        StoreOp::SessionEnd { .. } => words.push(letter("E")),
        StoreOp::SubscriptionSet { subscription, .. } => {
            words.extend([letter("+"), Cow::Borrowed(subscription.filter.as_bytes())]);
            words.push(text(encode::subscription(subscription)));
        }
        StoreOp::SubscriptionEnd { filter, .. } => {
            words.extend([letter("-"), Cow::Borrowed(filter.as_bytes())]);
        }
        StoreOp::Assigned { entry, packet_id, .. } => {
            words.extend([letter("A"), text(entry_id(*entry)), number((*packet_id).into())]);
        }
        StoreOp::Released { entry, .. } => words.extend([letter("R"), text(entry_id(*entry))]),
        StoreOp::Received { session, packet_id, .. } => {
            let parts = extra.parts.get(&(*session, Cause::PacketId(*packet_id)));
            words.extend([letter("r"), number((*packet_id).into())]);
            words.push(parts.map_or_else(|| letter("received"), |it| Cow::Borrowed(&it[..])));
            return parts.is_some();
        }
        StoreOp::HandedOver { session, entry, .. } => {
            let cause = Cause::Entry(*entry);
            words.extend([letter("m"), text(entry_id(*entry)), text(field_of(&cause))]);
            let parts = extra.parts.get(&(*session, cause));
            words.push(parts.map_or_else(|| letter(journal::NOTHING), |it| Cow::Borrowed(&it[..])));
            return parts.is_some();
        }
        StoreOp::ReceivedEnd { packet_id, .. } => {
            words.extend([letter("q"), number((*packet_id).into())]);
        }
        _ => {}
    }
    false
}

const fn entry_named(op: &StoreOp) -> Option<EntryNo> {
    match op {
        StoreOp::Assigned { entry, .. }
        | StoreOp::Released { entry, .. }
        | StoreOp::Delivered { entry, .. }
        | StoreOp::HandedOver { entry, .. } => Some(*entry),
        _ => None,
    }
}

/// Runs of entries that one call takes.
fn pieces<'a, 'b>(
    mut entries: &'a [(EntryNo, usize, &'b StoredDelivery)],
) -> impl Iterator<Item = &'a [(EntryNo, usize, &'b StoredDelivery)]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(.., delivery): &&(EntryNo, usize, &StoredDelivery)| {
            bytes += delivery.message.weight();
            bytes <= CALL_BYTES
        };
        let count = entries.iter().take(CALL_OPS).take_while(fits).count().max(1);
        let (first, rest) = entries.split_at_checked(count)?;
        entries = rest;
        Some(first)
    })
}

fn number(number: u64) -> Cow<'static, [u8]> {
    Cow::Owned(number.to_string().into_bytes())
}

fn text(text: String) -> Cow<'static, [u8]> {
    Cow::Owned(text.into_bytes())
}
