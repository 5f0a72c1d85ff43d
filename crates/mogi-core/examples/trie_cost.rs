//! What filters and retained topics cost: nanoseconds per walk, bytes each.
//!
//! `cargo run --profile quick -p mogi-core --example trie_cost`; figures of one run on a noisy
//! machine are a hint, no proof. Values have the size of those the broker keeps.

use mogi_core::topics::{MatchScratch, RetainedTree, Trie};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::process::Command;
use std::time::Instant;

const COUNT: usize = 100_000;
const WALKS: usize = 2_000_000;

/// Makes the text for a number.
type Texts = fn(usize) -> String;
/// As large as a filter's subscribers.
type Subscribers = [u64; 5];
/// As large as a shared message.
type Message = std::sync::Arc<[u8]>;

fn main() {
    let cases: [(&str, Texts, Texts); 3] = [
        ("site/{i}/+/temp", |i| format!("site/{i}/+/temp"), |i| format!("site/{i}/room/temp")),
        ("a/+/{i}/#", |i| format!("a/+/{i}/#"), |i| format!("a/x/{i}/y/z")),
        ("plant/long-{i}/+", |i| format!("{}/+", long(i)), |i| format!("{}/t", long(i))),
    ];
    // Each case in a process of its own: what one leaves to the allocator would hide the next.
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some(kind), Some(case)) => {
            let (name, filter, topic) = cases[case.parse::<usize>().unwrap_or(0) % cases.len()];
            let topics: Vec<String> = (0..COUNT).map(topic).collect();
            match kind {
                "filters" => filters(name, &(0..COUNT).map(filter).collect::<Vec<_>>(), &topics),
                _ => retained(&topics),
            }
        }
        _ => {
            for kind in ["filters", "retained"] {
                (0..cases.len()).for_each(|case| run_alone(kind, case));
            }
        }
    }
}

fn run_alone(kind: &str, case: usize) {
    let status = std::env::current_exe()
        .and_then(|program| Command::new(program).args([kind, &case.to_string()]).status());
    assert!(status.is_ok_and(|status| status.success()), "{kind} {case} failed");
}

fn long(i: usize) -> String {
    format!("plant/temperature-sensor-{i:08}")
}

fn filters(name: &str, filters: &[String], topics: &[String]) {
    let resident = resident_bytes();
    let start = Instant::now();
    let mut trie: Trie<Subscribers> = Trie::new(0x5EED);
    for filter in filters {
        trie.entry_or_insert_with(filter, || [1; 5]);
    }
    let insert = start.elapsed().as_nanos() as usize / COUNT;
    let resident = resident_bytes().saturating_sub(resident) / COUNT;
    let own = trie.memory_bytes() / COUNT;
    println!("filters {name}: insert {insert} ns; {own} B each counted, {resident} B resident");
    walks("all in turn", &trie, topics, |i| i % COUNT);
    walks("at random", &trie, topics, |i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24) % COUNT);
    walks("100 topics", &trie, topics, |i| i % 100);
}

fn walks(name: &str, trie: &Trie<Subscribers>, topics: &[String], at: impl Fn(usize) -> usize) {
    // What it costs to get at the topic's text, which a broker has at hand.
    let (mut scratch, mut found) = (MatchScratch::default(), 0);
    let start = Instant::now();
    for i in 0..WALKS {
        found += black_box(topics[at(i)].as_bytes()).iter().filter(|&&b| b == b'#').count();
    }
    let text = start.elapsed();
    let start = Instant::now();
    for i in 0..WALKS {
        trie.matches(&topics[at(i)], &mut scratch, |value| found += black_box(value)[0] as usize);
    }
    let ns = start.elapsed().saturating_sub(text).as_nanos() as usize / WALKS;
    let text = text.as_nanos() as usize / WALKS;
    let matches = found as f64 / WALKS as f64;
    println!("  {name}: {ns} ns per walk (text {text} ns), {matches:.2} matches");
}

fn retained(topics: &[String]) {
    let message: Message = [0; 64].into();
    let resident = resident_bytes();
    let start = Instant::now();
    let mut tree: RetainedTree<Message> = RetainedTree::new(0x5EED);
    for topic in topics {
        tree.insert(topic, message.clone());
    }
    let insert = start.elapsed().as_nanos() as usize / COUNT;
    let resident = resident_bytes().saturating_sub(resident) / COUNT;
    let own = tree.memory_bytes() / COUNT;
    println!(
        "retained {}: insert {insert} ns; {own} B each counted, {resident} B resident",
        topics[1]
    );
    let start = Instant::now();
    for topic in topics {
        tree.insert(topic, message.clone());
    }
    let replace = start.elapsed().as_nanos() as usize / COUNT;
    let mut found = 0;
    let start = Instant::now();
    tree.for_each_match("#", |message| {
        found += black_box(message).len() / 64;
        ControlFlow::Continue(())
    });
    let visit = start.elapsed().as_nanos() as usize / found;
    println!("  replace {replace} ns, visit on # {visit} ns, {found} found");
}

/// Memory of this process that is in use now, in bytes; 0 where the system does not tell.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
