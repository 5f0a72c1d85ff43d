//! Three brokers on a Redis Cluster: clients hop between them while brokers and Redis nodes are
//! killed, hang, wake up and come back.

use super::cast::{Cast, WINDOW};
use super::client::{Client, Context};
use super::dice::Dice;
use super::ledger::Ledger;
use super::link::{Inward, Link};
use super::options::Options;
use super::process::{Process, free_port};
use super::redis::Redis;
use super::{print_rows, tally_of};
use anyhow::{Result, bail};
use mogi_codec::{Connect, Properties, QoS, Subscribe, SubscribeFilter, SubscribeOptions, Version};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BROKERS: usize = 3;
/// Events between two reckonings.
const REST: u64 = 20;
/// How long nothing may come before what has not come counts as lost: longer than an election of
/// Redis, a lease, and all pauses between attempts.
const PATIENCE_MS: u64 = 20_000;
/// The longest will delay, a lease, and some more.
const WILL_DELAYS_MS: u64 = 6_000;
/// How long a client waits for CONNACK before it tries another broker.
const CONNACK_MS: u64 = 2_500;

/// Runs; whether all promises were kept.
///
/// # Errors
/// If it cannot be run.
pub(super) fn run(options: &Options, program: &Path) -> Result<bool> {
    let Options { rounds, seed, .. } = options;
    println!("crash: {rounds} events, {BROKERS} brokers, seed {seed}, {}", program.display());
    let dir = options.dir.clone().unwrap_or_else(crate::target_dir);
    let dir = dir.join(format!("crash-{}", std::process::id()));
    let began = Instant::now();
    let mut world = World::new(options, program, &dir)?;
    let ran = world.run(*rounds);
    for (at_ms, what) in world.ledger.chronicle.iter().filter(|_| options.verbose) {
        println!("{at_ms} ms: {what}");
    }
    for case in &world.ledger.cases {
        println!("\n{case}");
    }
    if let Err(error) = ran {
        return Err(error.context(format!("seed {seed}, event {}", world.ledger.round)));
    }
    println!();
    print_rows(&world.counts);
    print_rows(&[("Redis failovers", world.redis.failovers()? as u64)]);
    print_rows(&tally_of(&world.ledger));
    println!("{:<36} {:>9.1} s", "the run", began.elapsed().as_secs_f64());
    for line in world.brokers.iter().flat_map(|broker| broker.process.errors()) {
        println!("a broker's log: {line}");
    }
    drop(world);
    if !options.keep {
        let _ = std::fs::remove_dir_all(&dir);
    }
    Ok(ledger_is_clean(&dir, began, options))
}
