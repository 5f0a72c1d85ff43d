//! The tree of filters and the tree of retained topics, after any sequence of changes, find what
//! going through a list finds.
//!
//! Input: lines. `+FILTER` and `-FILTER` change the filters, `>TOPIC` and `<TOPIC` the topics;
//! any other line is a topic that filters are asked with and a filter that topics are asked with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mogi_codec::topic::{check_filter, check_name, matches};
use mogi_core::topics::{MatchScratch, RetainedTree, Trie};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let mut filters =
        Filters { trie: Trie::new(1), list: BTreeMap::new(), scratch: MatchScratch::default() };
    let mut topics = Topics { tree: RetainedTree::new(2), list: BTreeMap::new() };
    for (number, line) in input.lines().enumerate() {
        let mut chars = line.chars();
        match (chars.next(), chars.as_str()) {
            (Some('+'), filter) if is_filter(filter) => filters.add(filter, number),
            (Some('-'), filter) if is_filter(filter) => filters.remove(filter),
            (Some('>'), topic) if check_name(topic).is_ok() => topics.add(topic, number),
            (Some('<'), topic) if check_name(topic).is_ok() => topics.remove(topic),
            _ => {
                filters.ask(line);
                topics.ask(line);
            }
        }
    }
    filters.empty();
    topics.empty();
});

/// Shared filters never reach the trees as such.
fn is_filter(filter: &str) -> bool {
    !filter.starts_with("$share") && check_filter(filter).is_ok()
}

struct Filters {
    trie: Trie<usize>,
    list: BTreeMap<String, usize>,
    scratch: MatchScratch,
}

impl Filters {
    fn add(&mut self, filter: &str, number: usize) {
        *self.trie.entry_or_insert_with(filter, || number) = number;
        self.list.insert(filter.to_owned(), number);
        assert_eq!(self.trie.get(filter), Some(&number));
    }

    fn remove(&mut self, filter: &str) {
        assert_eq!(self.trie.remove(filter), self.list.remove(filter));
    }

    fn ask(&mut self, topic: &str) {
        if check_name(topic).is_err() {
            return;
        }
        let mut found = Vec::new();
        self.trie.matches(topic, &mut self.scratch, |&number| found.push(number));
        found.sort_unstable();
        let all = self.list.iter();
        let mut wanted: Vec<_> =
            all.filter(|(filter, _)| matches(filter, topic)).map(|(_, &number)| number).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{topic:?} among {:?}", self.list);
    }

    fn empty(mut self) {
        let mut seen = BTreeMap::new();
        self.trie.for_each(|filter, &number| {
            seen.insert(filter.to_owned(), number);
        });
        assert_eq!(seen, self.list);
        for filter in std::mem::take(&mut self.list).into_keys() {
            assert!(self.trie.remove(&filter).is_some());
        }
        assert!(self.trie.is_empty());
    }
}

struct Topics {
    tree: RetainedTree<usize>,
    list: BTreeMap<String, usize>,
}

impl Topics {
    fn add(&mut self, topic: &str, number: usize) {
        let before = self.tree.insert(topic, number);
        assert_eq!(before, self.list.insert(topic.to_owned(), number));
    }

    fn remove(&mut self, topic: &str) {
        assert_eq!(self.tree.remove(topic), self.list.remove(topic));
    }

    fn ask(&self, filter: &str) {
        if !is_filter(filter) {
            return;
        }
        let mut found = Vec::new();
        self.tree.for_each_match(filter, |&number| {
            found.push(number);
            ControlFlow::Continue(())
        });
        found.sort_unstable();
        let all = self.list.iter();
        let mut wanted: Vec<_> =
            all.filter(|(topic, _)| matches(filter, topic)).map(|(_, &number)| number).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{filter:?} among {:?}", self.list);
    }

    fn empty(mut self) {
        self.tree.retain(|number| number % 2 == 0);
        self.list.retain(|_, number| *number % 2 == 0);
        assert_eq!(self.tree.len(), self.list.len());
        for topic in std::mem::take(&mut self.list).into_keys() {
            assert!(self.tree.remove(&topic).is_some());
        }
        assert!(self.tree.is_empty());
    }
}
