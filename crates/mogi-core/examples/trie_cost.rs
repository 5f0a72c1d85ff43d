//! What filters and retained topics cost: nanoseconds per walk, bytes each.
//!
//! `cargo run --profile quick -p mogi-core --example trie_cost`; figures of one run on a noisy
//! machine are a hint, no proof. Values have the size of those the broker keeps.

use mogi_core::topics::{MatchScratch, RetainedTree, Trie};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

const COUNT: usize = 100_000;
const WALKS: usize = 2_000_000;

/// As large as a filter's subscribers.
type Subscribers = [u64; 5];
/// As large as a shared message.
type Message = std::sync::Arc<[u8]>;

fn main() {
    filters(
        "site/{i}/+/temp",
        |i| format!("site/{i}/+/temp"),
        |i| format!("site/{i}/x/temp"),
    );
    filters(
        "a/+/{i}/#",
        |i| format!("a/+/{i}/#"),
        |i| format!("a/x/{i}/y/z"),
    );
    filters("plant/sensor-{i}/+", long_filter, |i| {
        long_filter(i).replace('+', "t")
    });
    filters(
        "site/{i}/+/temp, no match",
        |i| format!("site/{i}/+/temp"),
        |i| format!("s/{i}/x"),
    );
    retained("site/{i}/room/temp", |i| format!("site/{i}/room/temp"));
    retained("bench/{i}", |i| format!("bench/{i}"));
    retained("plant/sensor-{i}/t", |i| long_filter(i).replace('+', "t"));
}

fn long_filter(i: usize) -> String {
    format!("plant/temperature-sensor-{i:08}/+")
}

fn filters(name: &str, filter: impl Fn(usize) -> String, topic: impl Fn(usize) -> String) {
    let filters: Vec<String> = (0..COUNT).map(filter).collect();
    let topics: Vec<String> = (0..COUNT).map(topic).collect();
    let resident = resident_bytes();
    let start = Instant::now();
    let mut trie: Trie<Subscribers> = Trie::new(0x5EED);
    for filter in &filters {
        trie.entry_or_insert_with(filter, || [1; 5]);
    }
    let insert = start.elapsed().as_nanos() as usize / COUNT;
    let resident = resident_bytes().saturating_sub(resident) / COUNT;
    let own = trie.memory_bytes() / COUNT;
    println!("{name}: insert {insert} ns; {own} B each by its own count, {resident} B resident");
    walks("  all topics in turn", &trie, &topics, |i| i % COUNT);
    walks("  any topic", &trie, &topics, |i| {
        i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24 & 0xFFFF
    });
    walks("  100 topics", &trie, &topics, |i| i % 100);
}

fn walks(name: &str, trie: &Trie<Subscribers>, topics: &[String], at: impl Fn(usize) -> usize) {
    let mut scratch = MatchScratch::default();
    let mut found = 0;
    let start = Instant::now();
    for i in 0..WALKS {
        trie.matches(&topics[at(i)], &mut scratch, |value| {
            found += black_box(value)[0] as usize
        });
    }
    let ns = start.elapsed().as_nanos() as usize / WALKS;
    println!(
        "{name}: {ns} ns per walk, {:.2} matches",
        found as f64 / WALKS as f64
    );
}

fn retained(name: &str, topic: impl Fn(usize) -> String) {
    let topics: Vec<String> = (0..COUNT).map(topic).collect();
    let message: Message = [0; 64].into();
    let resident = resident_bytes();
    let start = Instant::now();
    let mut tree: RetainedTree<Message> = RetainedTree::new(0x5EED);
    for topic in &topics {
        tree.insert(topic, message.clone());
    }
    let insert = start.elapsed().as_nanos() as usize / COUNT;
    let resident = resident_bytes().saturating_sub(resident) / COUNT;
    let own = tree.memory_bytes() / COUNT;
    println!("retained {name}: insert {insert} ns; {own} B each, {resident} B resident");
    let start = Instant::now();
    for topic in &topics {
        tree.insert(topic, message.clone());
    }
    println!(
        "  replace: {} ns",
        start.elapsed().as_nanos() as usize / COUNT
    );
    let mut found = 0;
    let start = Instant::now();
    tree.for_each_match("#", |message| {
        found += black_box(message).len() / 64;
        ControlFlow::Continue(())
    });
    println!(
        "  #: {} ns per message, {found} found",
        start.elapsed().as_nanos() as usize / found
    );
}

/// Memory of this process that is in use now, in bytes; 0 where the system does not tell.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4096
}
