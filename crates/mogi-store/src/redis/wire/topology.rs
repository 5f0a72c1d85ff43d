//! Who has which slots, and how a node says it.

use super::options::Address;
use super::slot::SLOTS;
use super::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What one node says about the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Grows with each election and each move of slots; 0 for a single server.
    pub(super) epoch: u64,
    /// Slots from, to (inclusive), and whose.
    pub(super) ranges: Vec<(u16, u16, Address)>,
    pub(super) replicas: BTreeSet<Address>,
}

/// Whose each slot is.
pub(super) struct Topology {
    owners: Box<[Option<Arc<Address>>]>,
    epoch: u64,
    /// All nodes of the last view, to ask them.
    known: BTreeSet<Address>,
    replicas: usize,
    ready: bool,
}

impl View {
    /// A server that has all slots.
    pub(super) fn single(node: Address) -> Self {
        Self { epoch: 0, ranges: vec![(0, SLOTS - 1, node)], replicas: BTreeSet::new() }
    }

    /// From the reply to `CLUSTER SLOTS` of `asked`; `None` if that makes no sense.
    pub(super) fn of_cluster(slots: &Value, epoch: u64, asked: &Address) -> Option<Self> {
        let mut view = Self { epoch, ranges: Vec::new(), replicas: BTreeSet::new() };
        for range in slots.array()? {
            let [from, to, master, replicas @ ..] = range.array()? else { return None };
            let slot = |value: &Value| u16::try_from(value.int()?).ok().filter(|&it| it < SLOTS);
            view.ranges.push((slot(from)?, slot(to)?, address(master, asked)?));
            view.replicas.extend(replicas.iter().filter_map(|it| address(it, asked)));
        }
        Some(view)
    }
}

impl Topology {
    pub(super) fn new() -> Self {
        Self {
            owners: vec![None; usize::from(SLOTS)].into(),
            epoch: 0,
            known: BTreeSet::new(),
            replicas: 0,
            ready: false,
        }
    }

    /// Whose the slot is, as far as known.
    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        self.owners.get(usize::from(slot))?.as_deref()
    }

    /// Takes over what a node says; the slots that have another owner now.
    pub(super) fn apply(&mut self, view: &View) -> Vec<u16> {
        let mut owners = vec![None; usize::from(SLOTS)];
        for (from, to, node) in &view.ranges {
            owners[usize::from(*from)..=usize::from(*to).max(usize::from(*from))]
                .fill(Some(Arc::new(node.clone())));
        }
        let pairs = self.owners.iter().zip(&owners).enumerate();
        let changed = pairs.filter(|(_, (old, new))| old != new).map(|(slot, _)| slot as u16);
        let changed = changed.collect();
        self.owners = owners.into();
        self.epoch = view.epoch;
        self.known =
            view.replicas.iter().chain(view.ranges.iter().map(|it| &it.2)).cloned().collect();
        self.replicas = view.replicas.len();
        self.ready = true;
        changed
    }

    /// A `MOVED` says that this slot is that node's.
    pub(super) fn moved(&mut self, slot: u16, node: Address) {
        if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
            *owner = Some(Arc::new(node));
        }
    }

    /// Whether any view has been taken over.
    pub(super) const fn ready(&self) -> bool {
        self.ready
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) const fn known(&self) -> &BTreeSet<Address> {
        &self.known
    }

    pub(super) const fn replicas(&self) -> usize {
        self.replicas
    }

    /// Masters, and how many slots each has.
    pub(super) fn masters(&self) -> BTreeMap<Address, u16> {
        let mut masters = BTreeMap::<Address, u16>::new();
        for run in self.owners.chunk_by(|a, b| a == b) {
            if let Some(Some(node)) = run.first() {
                *masters.entry(Address::clone(node)).or_default() += run.len() as u16;
            }
        }
        masters
    }

    /// How many slots this node has.
    pub(super) fn slots(&self, node: &Address) -> u16 {
        self.owners.iter().flatten().filter(|owner| ***owner == *node).count() as u16
    }
}

/// `host, port, id, …`; a node that does not know its own name is reached where it was asked.
fn address(node: &Value, asked: &Address) -> Option<Address> {
    let [host, port, ..] = node.array()? else { return None };
    let host = match host.text() {
        None | Some("" | "?") => asked.host.clone(),
        Some(host) => host.to_owned(),
    };
    let port = u16::try_from(port.int()?).ok().filter(|&port| port != 0)?;
    Some(Address { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Address {
        Address { host: "h".to_owned(), port }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec().into())
    }

    fn told(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), bulk("id"), Value::Array(vec![])])
    }

    #[test]
    fn a_node_tells_whose_the_slots_are() {
        let slots = Value::Array(vec![
            Value::Array(vec![
                Value::Int(0),
                Value::Int(99),
                told(bulk("a"), 1),
                told(bulk("b"), 2),
            ]),
            Value::Array(vec![Value::Int(100), Value::Int(16383), told(Value::Nil, 3)]),
        ]);
        let view = View::of_cluster(&slots, 4, &node(9)).expect("sense");
        assert_eq!(view.ranges[1], (100, 16383, node(3)));
        assert_eq!(view.replicas.len(), 1);
        let mut topology = Topology::new();
        assert_eq!(topology.apply(&view).len(), 16384);
        assert_eq!(topology.owner(99).map(|it| it.port), Some(1));
        assert_eq!(topology.owner(100), Some(&node(3)));
        assert_eq!(topology.masters().into_values().collect::<Vec<_>>(), [100, 16284]);
        topology.moved(100, node(7));
        assert_eq!(topology.apply(&view), [100]);
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = [
            Value::Okay,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(0),
                Value::Int(16384),
                told(bulk("a"), 1),
            ])]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(0),
                Value::Int(1),
                told(bulk("a"), 0),
            ])]),
        ];
        for value in bad {
            assert_eq!(View::of_cluster(&value, 1, &node(1)), None, "{value:?}");
        }
        let backwards = Value::Array(vec![Value::Array(vec![
            Value::Int(7),
            Value::Int(3),
            told(bulk("a"), 1),
        ])]);
        let view = View::of_cluster(&backwards, 1, &node(1)).expect("no panic later");
        assert_eq!(Topology::new().apply(&view), [7]);
    }
}
