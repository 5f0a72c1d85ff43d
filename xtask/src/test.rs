//! `cargo xtask test`: everything that has to hold before a change lands.

use crate::shell::{self, Outcome};
use crate::tally::Tally;
use anyhow::{Result, ensure};
use std::time::Instant;

/// A step: its name, and how it is done.
type Step = (&'static str, fn() -> Result<Done>);

/// What came of a step.
struct Done {
    success: bool,
    tally: Tally,
}

/// In this order: what is quick and often wrong first.
const STEPS: [Step; 10] = [
    ("setup", setup),
    ("fmt", fmt),
    ("clippy", clippy),
    ("tidy", tidy),
    ("rust", rust),
    ("openssl", openssl),
    ("doc", doc),
    ("simulation", simulation),
    ("crash", crash),
    ("clients", clients),
];

/// Runs of the simulator with seeds nobody has tried.
const SIMULATION_RUNS: &str = "2000";

/// The crash harness runs with this seed each time, and with one nobody has tried.
const CRASH_SEED: u64 = 1;
/// Kills in each of its runs, and events in the one with several brokers: about a minute for all.
const CRASH_ROUNDS: u64 = 12;

/// Runs the steps named, or all, and prints a summary; whether all went well.
///
/// # Errors
/// If there is no step of such a name.
pub(crate) fn run(names: &[&str]) -> Result<bool> {
    for name in names {
        let all = STEPS.map(|(name, _)| name).join(", ");
        ensure!(STEPS.iter().any(|(known, _)| known == name), "no step {name:?}; there are {all}");
    }
    let mut total = Tally::default();
    let mut success = true;
    let mut summary = String::new();
    for (name, step) in STEPS {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        println!("\n=== {name}");
        let start = Instant::now();
        let done = step().unwrap_or_else(|error| {
            eprintln!("{name}: {error:#}");
            Done { success: false, tally: Tally::default() }
        });
        let verdict = if done.success { "ok" } else { "FAILED" };
        let tests = done.tally;
        let counted = if tests == Tally::default() { String::new() } else { tests.to_string() };
        let seconds = start.elapsed().as_secs_f64();
        summary.push_str(&format!("{name:<12} {verdict:<8} {seconds:>7.1} s  {counted}\n"));
        total = total.plus(done.tally);
        success &= done.success && done.tally.failed == 0;
    }
    println!("\n=== summary\n{summary}");
    println!("{} tests passed, {} failed", total.passed, total.failed);
    Ok(success)
}

fn setup() -> Result<Done> {
    crate::setup::run()?;
    Ok(Done { success: true, tally: Tally::default() })
}

fn fmt() -> Result<Done> {
    // The fuzz targets are a workspace of their own.
    let main = shell::run(&mut shell::cargo(&["fmt", "--check"]))?;
    let fuzz = ["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"];
    let fuzz = shell::run(&mut shell::cargo(&fuzz))?;
    Ok(Done { success: main && fuzz, tally: Tally::default() })
}

fn clippy() -> Result<Done> {
    let args = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let success = shell::run(&mut shell::cargo(&args))?;
    Ok(Done { success, tally: Tally::default() })
}

fn tidy() -> Result<Done> {
    Ok(Done { success: crate::tidy::run()?, tally: Tally::default() })
}

fn rust() -> Result<Done> {
    if shell::works("cargo-nextest", &["nextest", "--version"]) {
        counted(&["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "slow"])
    } else {
        counted(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"])
    }
}

/// What only a broker that was built with OpenSSL does.
fn openssl() -> Result<Done> {
    let lint = ["clippy", "--quiet", "-p", "mogi", "-p", "mogi-psk-hint", "--features", "openssl"];
    let what = ["--test", "psk", "--lib", "--bin", "mogi", "--", "-D", "warnings"];
    let lint = [&lint[..], &what].concat();
    let clean = shell::run(&mut shell::cargo(&lint))?;
    let done = counted(&["test", "-p", "mogi", "--features", "openssl", "--test", "psk"])?;
    Ok(Done { success: done.success && clean, ..done })
}

fn doc() -> Result<Done> {
    counted(&["test", "--workspace", "--no-fail-fast", "--doc", "--quiet"])
}

/// More of the simulator's runs than the Rust tests have, from seeds nobody has tried. They are
/// printed; a seed that fails is worth a place among the fixed ones.
fn simulation() -> Result<Done> {
    let fresh = ["fresh_seeds", "--nocapture"];
    let args = ["test", "-p", "mogi-core", "--test", "sim", "--"];
    let mut cargo = shell::cargo(&[&args[..], &fresh].concat());
    count(shell::run_and_read(cargo.env("SIM_RUNS", SIMULATION_RUNS))?)
}

/// Kills the broker again and again, with one worker and with two; then three brokers and the
/// nodes of their Redis Cluster.
fn crash() -> Result<Done> {
    let mut tally = Tally::default();
    let fresh = crate::crash::Options::new().seed;
    let runs =
        [(2, CRASH_SEED, false), (1, CRASH_SEED, false), (2, fresh, false), (2, fresh, true)];
    for (workers, seed, cluster) in runs {
        let mut options = crate::crash::Options::new();
        (options.workers, options.seed, options.cluster) = (workers, seed, cluster);
        options.rounds = CRASH_ROUNDS;
        match crate::crash::run(&options)? {
            true => tally.passed += 1,
            false => tally.failed += 1,
        }
    }
    Ok(Done { success: tally.failed == 0, tally })
}

fn clients() -> Result<Done> {
    let args = ["test", "--quiet", "-p", "mogi", "--test", "clients"];
    let python = crate::setup::python_path();
    count(shell::run_and_read(shell::cargo(&args).env("MOGI_TEST_PYTHON", python))?)
}

fn counted(args: &[&str]) -> Result<Done> {
    count(shell::run_and_read(&mut shell::cargo(args))?)
}

fn count(outcome: Outcome) -> Result<Done> {
    let tally = Tally::of(&outcome.output);
    // A runner that says nothing about tests has not run any.
    ensure!(
        !outcome.success || tally != Tally::default() || outcome.output.contains("test result:"),
        "no count of tests in the output"
    );
    Ok(Done { success: outcome.success, tally })
}
