//! What a client has subscribed to, in as few bytes as may be: most sessions of a large broker have
//! a few filters, and nobody looks at them while the client is away.
//!
//! ```text
//!  few:  | length | options, replay, id? | id | filter | length | ...     one allocation
//!  many: a table by filter                                                once they are many
//! ```
//! Routing does not come here; it has tables of its own.

use mogi_codec::{SubscribeOptions, Version};
use std::collections::BTreeMap;

/// A subscription as its client asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) options: SubscribeOptions,
    /// 0: none.
    pub(crate) id: u32,
    /// Whether its retained messages are asked for, and not fetched yet.
    pub(crate) replay: bool,
}

/// The subscriptions of a session, by filter.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Records one after the other, in the order they came.
    few: Box<[u8]>,
    /// All of them, once they were too many to be looked through.
    #[expect(clippy::box_collection, reason = "nearly all have none: 8 bytes, not 24")]
    many: Option<Box<BTreeMap<Box<str>, Subscription>>>,
}

/// The most that stand in records: looking one up reads all before it, changing one moves those
/// behind it.
const FEW: usize = 16;
const FEW_BYTES: usize = 1024;

/// Bits of a record beside the options, which have the lower six ([MQTT-3.8.3-5]).
const REPLAY: u8 = 0x40;
const WITH_ID: u8 = 0x80;

/// Where the bits of a record stand; before them, in two bytes, the length of its filter.
const BITS: usize = 2;
const HEAD: usize = 3;
const ID: usize = 4;

impl Subscriptions {
    /// The subscription of this filter.
    pub(crate) fn get(&self, filter: &str) -> Option<Subscription> {
        match &self.many {
            Some(many) => many.get(filter).copied(),
            None => self.record(filter).map(|(_, record)| record.subscription()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.many.as_ref().map_or_else(|| self.records().count(), |many| many.len())
    }

    /// All of them, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Subscription)> {
        let many = self.many.iter().flat_map(|many| many.iter());
        let many = many.map(|(filter, subscription)| (&**filter, *subscription));
        self.records().map(|(_, record)| (record.filter(), record.subscription())).chain(many)
    }

    /// A copy of all of them, for whoever changes the session meanwhile.
    pub(crate) fn to_vec(&self) -> Vec<(Box<str>, Subscription)> {
        self.iter().map(|(filter, subscription)| (filter.into(), subscription)).collect()
    }

    /// Adds a subscription, or changes it ([MQTT-3.8.4-3]); whether it is new.
    pub(crate) fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(filter.into(), subscription).is_none();
        }
        let old = self.take(filter);
        let len = self.few.len() + HEAD + ID + filter.len();
        if len > FEW_BYTES || self.records().count() >= FEW {
            let mut many: BTreeMap<_, _> = self.to_vec().into_iter().collect();
            many.insert(filter.into(), subscription);
            *self = Self { few: Box::default(), many: Some(Box::new(many)) };
            return !old;
        }
        let mut few = std::mem::take(&mut self.few).into_vec();
        let id = (subscription.id != 0).then(|| subscription.id.to_le_bytes());
        few.reserve_exact(HEAD + id.map_or(0, |id| id.len()) + filter.len());
        // It fits, or it would not be among the few.
        few.extend_from_slice(&(filter.len() as u16).to_le_bytes());
        let replay = if subscription.replay { REPLAY } else { 0 };
        let with_id = if id.is_some() { WITH_ID } else { 0 };
        few.push(subscription.options.encode() | replay | with_id);
        few.extend_from_slice(id.as_ref().map_or(&[], |id| id));
        few.extend_from_slice(filter.as_bytes());
        self.few = few.into_boxed_slice();
        !old
    }

    /// Removes a subscription; whether there was one.
    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        let Some(many) = &mut self.many else {
            return self.take(filter);
        };
        let removed = many.remove(filter).is_some();
        if many.is_empty() {
            self.many = None;
        }
        removed
    }

    /// Says whether the retained messages of a filter are to be fetched; what was said before, if
    /// there is such a subscription.
    pub(crate) fn set_replay(&mut self, filter: &str, replay: bool) -> Option<bool> {
        if let Some(many) = &mut self.many {
            let subscription = many.get_mut(filter)?;
            return Some(std::mem::replace(&mut subscription.replay, replay));
        }
        let (at, record) = self.record(filter)?;
        let before = record.subscription().replay;
        if let Some(bits) = self.few.get_mut(at + BITS) {
            *bits = *bits & !REPLAY | if replay { REPLAY } else { 0 };
        }
        Some(before)
    }

    /// Removes a record; whether it was there.
    fn take(&mut self, filter: &str) -> bool {
        let Some((at, record)) = self.record(filter) else {
            return false;
        };
        let end = at + record.bytes.len();
        let mut few = std::mem::take(&mut self.few).into_vec();
        few.drain(at..end);
        self.few = few.into_boxed_slice();
        true
    }

    fn record(&self, filter: &str) -> Option<(usize, Record<'_>)> {
        self.records().find(|(_, record)| record.text() == filter.as_bytes())
    }

    /// The records, and where they begin.
    fn records(&self) -> impl Iterator<Item = (usize, Record<'_>)> {
        let mut rest = &*self.few;
        std::iter::from_fn(move || {
            let at = self.few.len() - rest.len();
            let (record, behind) = Record::split_off(rest)?;
            rest = behind;
            Some((at, record))
        })
    }
}

/// One subscription among few.
#[derive(Clone, Copy)]
struct Record<'a> {
    bytes: &'a [u8],
    bits: u8,
}

impl<'a> Record<'a> {
    /// The first record, and what is behind it.
    fn split_off(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let &[a, b, bits, ..] = bytes else { return None };
        let id = if bits & WITH_ID == 0 { 0 } else { ID };
        let end = HEAD + id + usize::from(u16::from_le_bytes([a, b]));
        let (bytes, behind) = bytes.split_at_checked(end)?;
        Some((Self { bytes, bits }, behind))
    }

    fn text(self) -> &'a [u8] {
        let id = if self.bits & WITH_ID == 0 { 0 } else { ID };
        self.bytes.get(HEAD + id..).unwrap_or_default()
    }

    fn filter(self) -> &'a str {
        // It was one when it was put there.
        std::str::from_utf8(self.text()).unwrap_or_default()
    }

    fn subscription(self) -> Subscription {
        let id = match self.bytes.get(HEAD..HEAD + ID) {
            Some(&[a, b, c, d]) if self.bits & WITH_ID != 0 => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        };
        let options = SubscribeOptions::decode(Version::V5, self.bits & !(REPLAY | WITH_ID));
        // They were encoded by us.
        let options = options.unwrap_or_default();
        Subscription { options, id, replay: self.bits & REPLAY != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mogi_codec::{QoS, RetainHandling};

    fn subscription(number: u32) -> Subscription {
        let options = SubscribeOptions {
            qos: [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number as usize % 3],
            no_local: number & 1 != 0,
            retain_as_published: number & 2 != 0,
            retain_handling: [
                RetainHandling::Send,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ][number as usize / 3 % 3],
        };
        Subscription { options, id: number / 5 % 3 * 70_000, replay: number & 4 != 0 }
    }

    /// Few and many alike behave like a table.
    #[test]
    fn any_order_of_changes_is_like_a_table() {
        for filters in [5, 40] {
            let (mut ours, mut table) = (Subscriptions::default(), BTreeMap::new());
            let mut state = 7u32;
            for _ in 0..20_000 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let number = state >> 12;
                let filter = format!("a/{}/+", state % filters).repeat(state as usize % 2 + 1);
                match number % 4 {
                    0 => assert_eq!(ours.remove(&filter), table.remove(&filter).is_some()),
                    1 => {
                        let replay = number & 8 != 0;
                        let before = table
                            .get_mut(&filter)
                            .map(|it: &mut Subscription| std::mem::replace(&mut it.replay, replay));
                        assert_eq!(ours.set_replay(&filter, replay), before);
                    }
                    _ => {
                        let new = table.insert(filter.clone(), subscription(number)).is_none();
                        assert_eq!(ours.insert(&filter, subscription(number)), new);
                    }
                }
                assert_eq!(ours.get(&filter), table.get(&filter).copied());
                assert_eq!(ours.len(), table.len());
                let all: BTreeMap<String, _> =
                    ours.iter().map(|(filter, it)| (filter.to_owned(), it)).collect();
                assert_eq!(all, table);
            }
        }
    }

    #[test]
    fn few_take_their_filters_and_three_bytes_each() {
        let mut ours = Subscriptions::default();
        for filter in ["a/+", "b/#", "c"] {
            assert!(ours.insert(filter, Subscription { id: 0, ..subscription(0) }));
        }
        assert_eq!((ours.few.len(), size_of::<Subscriptions>()), (7 + 9, 24));
    }

    #[test]
    fn a_long_filter_has_its_place_as_well() {
        let mut ours = Subscriptions::default();
        let long = "a".repeat(usize::from(u16::MAX));
        assert!(ours.insert("b", subscription(1)) && ours.insert(&long, subscription(2)));
        assert_eq!(ours.get(&long), Some(subscription(2)));
        assert!(ours.remove(&long) && ours.remove("b") && ours.len() == 0);
        assert!(ours.many.is_none());
    }
}
