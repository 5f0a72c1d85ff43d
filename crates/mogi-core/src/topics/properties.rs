//! The trees do what the naive matcher does, whatever is put in and taken out.

use super::{MatchScratch, RetainedTree, Trie, naive};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const LONG: &str = "a level longer than a symbol's slot";

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just("a"), 4 => Just("b"), 2 => Just(""), 1 => Just("$a"), 1 => Just("$"),
        1 => Just(LONG), 1 => Just("\u{e9}"),
    ]
}

fn topic() -> impl Strategy<Value = String> {
    let levels = prop_oneof![9 => vec(level(), 1..5), 1 => vec(level(), 5..40)];
    levels.prop_map(|levels| levels.join("/")).prop_filter("not empty", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = || prop_oneof![2 => level(), 1 => Just("+")];
    let levels = prop_oneof![9 => vec(level(), 0..5), 1 => vec(level(), 5..40)];
    (levels, prop::bool::weighted(0.3))
        .prop_map(|(mut levels, rest)| {
            if rest || levels.is_empty() {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("not empty", |filter| !filter.is_empty())
}

/// Whether to add (else to remove) the text.
fn changes(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<(bool, String)>> {
    vec((prop::bool::weighted(0.7), text), 0..60)
}

fn matched(trie: &Trie<u32>, topic: &str, scratch: &mut MatchScratch) -> Vec<u32> {
    let mut found = Vec::new();
    trie.matches(topic, scratch, |value| found.push(*value));
    found.sort_unstable();
    found
}

fn named(tree: &RetainedTree<u32>, filter: &str) -> Vec<u32> {
    let mut found = Vec::new();
    tree.for_each_match(filter, |value| {
        found.push(*value);
        ControlFlow::Continue(())
    });
    found.sort_unstable();
    found
}

/// The values of `model` whose key is `wanted`.
fn expected(model: &BTreeMap<String, u32>, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    let mut found: Vec<u32> =
        model.iter().filter(|(key, _)| wanted(key)).map(|(_, value)| *value).collect();
    found.sort_unstable();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_trie_matches_as_the_naive_matcher(
        seed: u64, changes in changes(filter()), topics in vec(topic(), 1..20),
    ) {
        let (mut trie, mut model) = (Trie::new(seed), BTreeMap::new());
        let mut scratch = MatchScratch::default();
        for (value, (add, filter)) in (0..).zip(changes) {
            if add {
                *trie.entry_or_insert_with(&filter, || 0) = value;
                model.insert(filter, value);
            } else {
                prop_assert_eq!(trie.remove(&filter), model.remove(&filter));
            }
        }
        for topic in &topics {
            let found = matched(&trie, topic, &mut scratch);
            prop_assert_eq!(found, expected(&model, |filter| naive::matches(filter, topic)));
        }
        let mut listed = BTreeMap::new();
        trie.for_each(|filter, value| assert!(listed.insert(filter.into(), *value).is_none()));
        prop_assert_eq!(&listed, &model);
        prop_assert_eq!(trie.len(), model.len());
        // It has no node of its own, and an empty trie would start anew.
        trie.entry_or_insert_with("#", || 0);
        model.remove("#");
        for (filter, value) in &mut model {
            prop_assert_eq!(trie.get(filter), Some(&*value));
            prop_assert_eq!(trie.get_mut(filter), Some(&mut *value));
            prop_assert_eq!(trie.remove(filter), Some(*value));
            prop_assert_eq!(trie.get(filter), None);
        }
        prop_assert_eq!((trie.counts(), trie.len()), ((0, 0, 0), 1));
    }

    #[test]
    fn a_retained_tree_matches_as_the_naive_matcher(
        seed: u64, changes in changes(topic()), filters in vec(filter(), 1..20), bit in 0_u32..3,
    ) {
        let (mut tree, mut model) = (RetainedTree::new(seed), BTreeMap::new());
        for (value, (add, topic)) in (0..).zip(changes) {
            if add {
                prop_assert_eq!(tree.insert(&topic, value), model.insert(topic, value));
            } else {
                prop_assert_eq!(tree.remove(&topic), model.remove(&topic));
            }
        }
        for filter in &filters {
            let found = named(&tree, filter);
            prop_assert_eq!(found, expected(&model, |topic| naive::matches(filter, topic)));
        }
        tree.retain(|value| value >> bit & 1 == 0);
        model.retain(|_, value| *value >> bit & 1 == 0);
        prop_assert_eq!(tree.len(), model.len());
        for filter in &filters {
            let found = named(&tree, filter);
            prop_assert_eq!(found, expected(&model, |topic| naive::matches(filter, topic)));
        }
        // An empty tree would start anew.
        tree.insert("the/last", 0);
        for (topic, value) in &model {
            prop_assert_eq!(tree.get(topic), Some(value));
            prop_assert_eq!(tree.remove(topic), Some(*value));
            prop_assert_eq!(tree.get(topic), None);
        }
        prop_assert_eq!((tree.counts(), tree.len()), ((2, 0, 2), 1));
        prop_assert_eq!((tree.remove("the/last"), tree.counts()), (Some(0), (0, 0, 0)));
    }

    #[test]
    fn siblings_keep_their_order(changes in vec((prop::bool::weighted(0.7), 0_u32..12), 0..60)) {
        let (mut tree, mut order) = (RetainedTree::new(7), Vec::new());
        for (add, name) in changes {
            let topic = format!("x/{name}");
            if add {
                if tree.insert(&topic, name).is_none() {
                    order.push(name);
                }
            } else {
                tree.remove(&topic);
                order.retain(|other| *other != name);
            }
        }
        let mut found = Vec::new();
        tree.for_each_match("x/+", |name| {
            found.push(*name);
            ControlFlow::Continue(())
        });
        prop_assert_eq!(found, order);
    }
}
