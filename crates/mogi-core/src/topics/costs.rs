//! Trees built to be expensive are not: counted in nodes looked at, not in time.

use super::{MatchScratch, RetainedTree, Trie};
use std::ops::ControlFlow;

/// How many filters match `topic`, and how many nodes and levels the walk looked at.
fn walk(trie: &Trie<()>, topic: &str) -> (usize, usize) {
    let (mut scratch, mut found) = (MatchScratch::default(), 0);
    trie.matches(topic, &mut scratch, |()| found += 1);
    (found, scratch.looked_at)
}

fn trie(filters: impl IntoIterator<Item = String>) -> Trie<()> {
    let mut trie = Trie::new(3);
    for filter in filters {
        trie.entry_or_insert_with(&filter, || ());
    }
    trie
}

fn count(tree: &RetainedTree<()>, filter: &str) -> usize {
    let mut found = 0;
    tree.for_each_match(filter, |()| {
        found += 1;
        ControlFlow::Continue(())
    });
    found
}

#[test]
fn overlapping_filters_that_all_match_cost_their_nodes() {
    let choices = |bits: u32| (0..12).map(move |at| if bits >> at & 1 == 0 { "a" } else { "+" });
    let trie = trie((0..4096).map(|bits| choices(bits).collect::<Vec<_>>().join("/")));
    let (found, looked_at) = walk(&trie, &["a"; 12].join("/"));
    assert_eq!(found, 4096);
    assert!(looked_at <= trie.counts().0 + 1 + 12, "{looked_at}");
}

#[test]
fn many_filters_on_one_path_without_a_match_cost_the_path() {
    let trie = trie((0..2000).map(|i| format!("{}z{i}", "a/+/".repeat(29))));
    let (found, looked_at) = walk(&trie, &["a"; 60].join("/"));
    assert_eq!(found, 0);
    assert!(looked_at <= 2 * 60, "{looked_at}");
}

#[test]
fn literals_and_wildcards_at_every_depth_do_not_multiply() {
    let mut filters = Vec::new();
    for depth in 1..=25 {
        filters.push(format!("{}x", "+/".repeat(depth)));
        filters.push(format!("{}x", "a/".repeat(depth)));
        filters.push(format!("{}x", "a/+/".repeat(depth)));
        filters.push(format!("{}x", "+/a/".repeat(depth)));
    }
    let trie = trie(filters);
    for depth in [10, 25, 26, 60, 30_000] {
        let (_, looked_at) = walk(&trie, &["a"; 30_000][..depth].join("/"));
        let levels = depth.min(51);
        assert!(looked_at <= trie.counts().0 + 1 + levels, "{depth} {looked_at}");
    }
}

#[test]
fn a_deep_topic_stops_where_the_filters_stop() {
    let trie = trie(["a/b/c", "a/+/d", "b/#"].map(String::from));
    let (found, looked_at) = walk(&trie, &format!("b{}", "/".repeat(65_534)));
    assert_eq!((found, looked_at), (1, 4));
}

#[test]
fn the_deepest_filters_and_topics_work() {
    let filter = format!("{}+", "+/".repeat(32_767));
    let topic = vec!["a"; 32_768].join("/");
    let slashes = "/".repeat(65_535);
    let mut trie = trie([filter.clone(), slashes.clone()]);
    assert_eq!(walk(&trie, &topic).0, 1);
    assert_eq!(walk(&trie, &slashes).0, 1);
    let mut tree = RetainedTree::new(3);
    tree.insert(&topic, ());
    tree.insert(&slashes, ());
    for (filter, found) in [("#", 2), (&*filter, 1), (&*slashes, 1), ("/#", 1)] {
        assert_eq!(count(&tree, filter), found);
    }
    for text in [&filter, &slashes] {
        assert_eq!(trie.remove(text), Some(()));
    }
    tree.retain(|()| false);
    assert_eq!((trie.counts(), tree.counts()), ((0, 0, 0), (0, 0, 0)));
}

#[test]
fn memory_comes_back_when_everything_is_removed() {
    let (mut trie, mut tree) = (Trie::new(1), RetainedTree::new(1));
    let (few, none) = (trie.memory_bytes(), tree.memory_bytes());
    for i in 0..10_000 {
        trie.entry_or_insert_with(&format!("site/{i}/+/temp"), || i);
        tree.insert(&format!("site/{i}/room/temp"), i);
    }
    assert!(trie.memory_bytes() > 100 * few && tree.memory_bytes() > 100 * none);
    for i in 0..10_000 {
        trie.remove(&format!("site/{i}/+/temp"));
    }
    tree.retain(|_| false);
    assert_eq!((trie.memory_bytes(), tree.memory_bytes()), (few, none));
}

#[test]
fn a_large_walk_leaves_a_small_scratch() {
    let choices = |bits: u32| (0..14).map(move |at| if bits >> at & 1 == 0 { "a" } else { "+" });
    let trie = trie((0..1 << 14).map(|bits| choices(bits).collect::<Vec<_>>().join("/")));
    let mut scratch = MatchScratch::default();
    let mut found = 0;
    trie.matches(&["a"; 14].join("/"), &mut scratch, |()| found += 1);
    assert_eq!(found, 1 << 14);
    assert!(scratch.capacity() <= 2 * 4096, "{}", scratch.capacity());
}

#[test]
fn a_search_ends_when_it_is_told_to() {
    let mut tree = RetainedTree::new(1);
    for i in 0..10 {
        tree.insert(&format!("a/{i}"), i);
    }
    let mut seen = Vec::new();
    tree.for_each_match("#", |i| {
        seen.push(*i);
        if *i == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(seen, [0, 1, 2, 3]);
}
