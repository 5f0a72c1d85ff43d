//! `cargo xtask crash`: what a broker acknowledged has to survive `kill -9`.
//!
//! Clients outside the broker publish, subscribe, come and go; the broker is killed at random
//! moments (under load, right after an acknowledgement, while it starts, while its store writes
//! tables, twice in a row) and started again on the same port. Whenever everybody has drained, the
//! books are compared. Nothing of the broker's own is used but the codec.
//!
//! * [`world`]: the clients and the rounds; [`process`]: the broker
//! * [`cluster`]: the same with three brokers on a Redis Cluster; [`redis`]: its nodes
//! * [`cut`]: networks between them that are cut
//! * [`cast`]: who takes part
//! * [`client`], [`link`]: a proper MQTT client on a socket that never blocks; [`retained`]: one
//!   that reads what is retained
//! * [`ledger`], [`wills`]: what was promised, and what came
//! * [`options`], [`dice`]: the command line, and decisions from a seed

mod cast;
mod client;
mod cluster;
mod cut;
mod dice;
mod ledger;
mod link;
pub(crate) mod options;
mod process;
mod redis;
mod retained;
mod wills;
mod world;

use crate::shell;
use anyhow::{Result, ensure};
use ledger::Ledger;
pub(crate) use options::Options;
use process::Process;
use std::path::PathBuf;
use std::time::Instant;
use world::World;

/// Runs as the command line says; whether all promises were kept.
///
/// # Errors
/// If it cannot be run, or the broker does not start again.
pub(crate) fn main(args: &[&str]) -> Result<bool> {
    run(&Options::parse(args)?)
}

/// Runs; whether all promises were kept.
///
/// # Errors
/// As [`main`].
pub(crate) fn run(options: &Options) -> Result<bool> {
    let program = match &options.broker {
        Some(path) => std::path::absolute(path)?,
        None => build()?,
    };
    ensure!(program.exists(), "no broker at {}", program.display());
    if options.cluster {
        if options.cut
            && let Some(kept) = cut::enter()?
        {
            return Ok(kept);
        }
        return cluster::run(options, &program);
    }
    let Options { rounds, seed, workers, sync, .. } = options;
    let own = if options.stock { String::new() } else { format!(", {workers} workers, {sync}") };
    println!("crash: {rounds} rounds, seed {seed}{own}, {}", program.display());
    let dir = options.dir.clone().unwrap_or_else(crate::target_dir);
    let dir = dir.join(format!("crash-{}", std::process::id()));
    let began = Instant::now();
    let mut world = World::new(options, Process::new(options, program, dir)?);
    let ran = world.run(*rounds);
    for (at_ms, what) in world.ledger.chronicle.iter().filter(|_| options.verbose) {
        println!("{at_ms} ms: {what}");
    }
    for case in &world.ledger.cases {
        println!("\n{case}");
    }
    if let Err(error) = ran {
        return Err(error.context(format!("seed {seed}, round {}", world.ledger.round)));
    }
    print_table(&mut world, began.elapsed().as_secs_f64());
    Ok(world.ledger.tally.broken() == 0)
}

/// This tree's broker.
fn build() -> Result<PathBuf> {
    let built =
        shell::run(&mut shell::cargo(&["build", "--quiet", "-p", "mogi", "--bin", "mogi"]))?;
    ensure!(built, "mogi does not build");
    Ok(crate::target_dir().join("debug/mogi"))
}

fn print_table(world: &mut World, seconds: f64) {
    let starts = &mut world.process.starts_ms;
    starts.sort_by(f64::total_cmp);
    let median = starts.get(starts.len() / 2).copied().unwrap_or_default();
    let max = starts.last().copied().unwrap_or_default();
    let rows =
        [("rounds", world.ledger.round), ("of which while tables were written", world.flushes())];
    println!();
    print_rows(&rows);
    print_rows(&tally_of(&world.ledger));
    println!("{:<36} {median:>9.1} ms, at most {max:.1}", "time to restart, median");
    println!("{:<36} {seconds:>9.1} s", "the run");
    for line in world.process.errors() {
        println!("the broker's log: {line}");
    }
}

fn print_rows(rows: &[(&str, u64)]) {
    for (name, count) in rows {
        println!("{name:<36} {count:>9}");
    }
}

/// What the ledger counted.
fn tally_of(ledger: &Ledger) -> Vec<(&'static str, u64)> {
    let tally = &ledger.tally;
    vec![
        ("published", tally.published),
        ("acknowledged", tally.acknowledged),
        ("refused", tally.refused),
        ("delivered", tally.delivered),
        ("repeated QoS 1", tally.repeated_qos1),
        ("connections with a will", ledger.wills.len() as u64),
        ("LOST", tally.lost),
        ("REPEATED QoS 2", tally.repeated_qos2),
        ("MISORDERED", tally.misordered),
        ("STRAY", tally.stray),
        ("STUCK", tally.stuck),
        ("MISSING RETAINED", tally.missing_retained),
        ("MISSING SESSIONS", tally.missing_sessions),
        ("WILLS MISSING", tally.wills_missing),
        ("WILLS TWICE", tally.wills_repeated),
        ("WILLS AFTER DISCONNECT", tally.wills_wrong),
        ("ODD PACKETS", tally.odd),
    ]
}
