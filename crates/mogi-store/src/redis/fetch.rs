//! Reads messages of a queue by their numbers: mostly neighbours, so in few ranges.

use super::directory::{Directory, Home};
use super::encode::Found;
use super::keys::{Of, entries_up_to, entry_id, entry_of};
use super::wire::{Commands, Value};
use crate::ops::{EntryNo, StoredDelivery};

/// Entries of others that a range may hold besides the wanted ones.
const SPARE: usize = 64;

/// Entries one command reads at most.
const PAGE: usize = 1000;

/// A search for entries of one session, step by step: commands out, replies in.
#[derive(Debug)]
pub(super) struct Search {
    home: Home,
    /// What is still wanted, by rising number.
    wanted: Vec<EntryNo>,
    found: Vec<(EntryNo, StoredDelivery)>,
    step: Step,
    /// Entries that are there and cannot be read.
    pub(super) damaged: u64,
}

#[derive(Debug)]
enum Step {
    /// A range of the queue; those from this index on may be in it.
    Range {
        from: usize,
    },
    /// Single ones of the queue.
    Single {
        from: usize,
    },
    /// Whether those are in flight, or came late.
    Elsewhere,
    /// The places where they are then.
    Places {
        flights: Vec<(EntryNo, Vec<u8>)>,
        late: Vec<(EntryNo, Vec<u8>)>,
    },
    Done,
}

impl Search {
    pub(super) fn new(home: &Home, entries: &[EntryNo]) -> Self {
        let mut wanted = entries.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let step = if wanted.is_empty() { Step::Done } else { Step::Range { from: 0 } };
        Self { home: home.clone(), wanted, found: Vec::new(), step, damaged: 0 }
    }

    pub(super) const fn slot(&self) -> u16 {
        self.home.tag.slot
    }

    /// What to ask next; `None`: that is all.
    pub(super) fn commands(&self, directory: &Directory) -> Option<Commands> {
        let queue = directory.key(&self.home, Of::Queue);
        let range = |commands: &mut Commands, first: &[u8], last: &[u8], count: usize| {
            commands.begin(6).word(b"XRANGE").word(queue.as_bytes()).word(first).word(last);
            commands.word(b"COUNT").number(count as u64);
        };
        let mut commands = Commands::new();
        match &self.step {
            Step::Range { from } => {
                let some = self.wanted.get(*from..)?;
                let some = &some[..some.len().min(PAGE)];
                let (first, last) = (entry_id(*some.first()?), entry_id(*some.last()?));
                range(&mut commands, first.as_bytes(), last.as_bytes(), some.len() + SPARE);
            }
            Step::Single { from } => {
                let some = self.wanted.get(*from..)?;
                for entry in some.iter().take(PAGE) {
                    let id = entry_id(*entry);
                    range(&mut commands, id.as_bytes(), id.as_bytes(), 1);
                }
            }
            Step::Elsewhere => {
                for what in [Of::Inflight, Of::Late] {
                    let key = directory.key(&self.home, what);
                    commands.begin(2 + self.wanted.len()).word(b"HMGET").word(key.as_bytes());
                    for entry in &self.wanted {
                        commands.word(entry_id(*entry).as_bytes());
                    }
                }
            }
            Step::Places { flights, late } => {
                let prefix = directory.keys.flights(&self.home.tag).into_bytes();
                for (_, packet_id) in flights {
                    commands.push(&[b"HGETALL", &[&prefix[..], packet_id].concat()]);
                }
                for (_, id) in late {
                    range(&mut commands, id, id, 1);
                }
            }
            Step::Done => return None,
        }
        Some(commands)
    }

    /// What was answered.
    pub(super) fn take(&mut self, values: &[Value]) {
        self.step = match std::mem::replace(&mut self.step, Step::Done) {
            Step::Range { from } => self.take_range(from, values),
            Step::Single { from } => {
                let asked = (self.wanted.len() - from).min(PAGE);
                let mut missing = Vec::new();
                let some = self.wanted[from..from + asked].to_vec();
                for (entry, value) in some.into_iter().zip(values) {
                    match first(value) {
                        Some((_, found)) => self.keep(entry, found),
                        None => missing.push(entry),
                    }
                }
                let kept = missing.len();
                self.wanted.splice(from..from + asked, missing);
                self.range_or_elsewhere(from + kept, true)
            }
            Step::Elsewhere => {
                let places = |value: Option<&Value>| -> Vec<(EntryNo, Vec<u8>)> {
                    let list = value.and_then(Value::array).unwrap_or_default();
                    let places = self.wanted.iter().zip(list);
                    places.filter_map(|(entry, it)| Some((*entry, it.bytes()?.to_vec()))).collect()
                };
                let (flights, late) = (places(values.first()), places(values.get(1)));
                if flights.is_empty() && late.is_empty() {
                    Step::Done
                } else {
                    Step::Places { flights, late }
                }
            }
            Step::Places { flights, late } => {
                let (of_flights, of_late) = values.split_at(flights.len().min(values.len()));
                for ((entry, _), value) in flights.into_iter().zip(of_flights) {
                    let found = Found::of(value);
                    // What the client has is no message any more.
                    if found.text("state") == Some("sent") {
                        self.keep(entry, found);
                    }
                }
                for ((entry, _), value) in late.into_iter().zip(of_late) {
                    if let Some((_, found)) = first(value) {
                        self.keep(entry, found);
                    }
                }
                Step::Done
            }
            Step::Done => Step::Done,
        };
    }

    /// All that was found, by rising number.
    pub(super) fn finish(mut self) -> Vec<(EntryNo, StoredDelivery)> {
        self.found.sort_unstable_by_key(|(entry, _)| *entry);
        self.found
    }

    fn take_range(&mut self, from: usize, values: &[Value]) -> Step {
        let asked = (self.wanted.len() - from).min(PAGE);
        let rows = values.first().and_then(Value::array).unwrap_or_default();
        let cut = rows.len() >= asked + SPARE;
        let mut last = None;
        let mut there = Vec::new();
        for row in rows {
            let Some((id, found)) = entry(row) else { continue };
            // The answer may end with late ones, or be of nothing else.
            last = entries_up_to(id).or(last);
            // They have ids no number has.
            let Some(number) = entry_of(id) else { continue };
            if self.wanted[from..from + asked].binary_search(&number).is_ok() {
                there.push(number);
                self.keep(number, found);
            }
        }
        // Everything up to here was looked at.
        let seen = match last {
            Some(last) if cut => self.wanted[from..].partition_point(|entry| *entry <= last),
            _ => asked,
        };
        let mut missing: Vec<_> = self.wanted[from..from + seen].to_vec();
        missing.retain(|entry| there.binary_search(entry).is_err());
        let dense = there.len() * 4 >= rows.len() && seen > 0;
        let kept = missing.len();
        self.wanted.splice(from..from + seen, missing);
        self.range_or_elsewhere(from + kept, !dense)
    }

    fn range_or_elsewhere(&self, from: usize, single: bool) -> Step {
        match (from < self.wanted.len(), single) {
            (true, false) => Step::Range { from },
            (true, true) => Step::Single { from },
            (false, _) if self.wanted.is_empty() => Step::Done,
            (false, _) => Step::Elsewhere,
        }
    }

    fn keep(&mut self, entry: EntryNo, found: Found<'_>) {
        match found.delivery() {
            Some(delivery) => self.found.push((entry, delivery)),
            None => self.damaged += 1,
        }
    }
}

/// The only entry of a range.
fn first(value: &Value) -> Option<(&[u8], Found<'_>)> {
    entry(value.array()?.first()?)
}

/// An entry: its id and its fields.
fn entry(row: &Value) -> Option<(&[u8], Found<'_>)> {
    let [id, fields] = row.array()? else { return None };
    Some((id.bytes()?, Found::of(fields)))
}
