//! `cargo xtask fuzz`: builds the targets with libFuzzer's instrumentation and runs them.
//!
//! The stable compiler has all that is needed: `RUSTC_BOOTSTRAP=1` lets it take the two flags
//! that are not stable yet.

use crate::shell;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::PathBuf;

/// How long a target runs if nobody says, in seconds.
const SECONDS: u32 = 60;

/// What a session needs to say of its inputs is said in a few packets.
const MAX_LEN_BYTES: u32 = 8192;

/// Coverage as libFuzzer wants it, and AddressSanitizer for the C code underneath.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Zsanitizer=address -Ccodegen-units=1";

/// `[TARGET [SECONDS | keep]]`; whether nothing was found.
///
/// # Errors
/// If the targets cannot be built, or there is no such target.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let all = targets()?;
    let known = |target: &str| all.iter().any(|it| it == target);
    let (targets, rest) = match args {
        [] => (all.clone(), args),
        [target, rest @ ..] if known(target) => (vec![(*target).to_owned()], rest),
        [target, ..] => bail!("no target {target:?}; there are {}", all.join(", ")),
    };
    let keep = rest == ["keep"];
    let seconds = match rest {
        [] | ["keep"] => SECONDS,
        [seconds] => seconds.parse().context("SECONDS is a number")?,
        _ => bail!("too many arguments"),
    };
    build()?;
    let mut clean = true;
    for target in targets {
        clean &= if keep { keep_corpus(&target)? } else { fuzz(&target, seconds)? };
    }
    Ok(clean)
}

/// The targets: the programs of the fuzz workspace.
fn targets() -> Result<Vec<String>> {
    let manifest = fs::read_to_string(crate::root().join("fuzz/Cargo.toml"))?;
    let manifest: toml::Table = manifest.parse()?;
    let programs = manifest.get("bin").and_then(toml::Value::as_array);
    let names = programs.into_iter().flatten().filter_map(|it| it.get("name")?.as_str());
    Ok(names.map(ToOwned::to_owned).collect())
}

fn build() -> Result<()> {
    // With the target named, build scripts are built without the flags.
    let host = host()?;
    let args = ["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host];
    let mut cargo = shell::cargo(&args);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS);
    cargo.env("CARGO_TARGET_DIR", dir());
    ensure!(shell::run(&mut cargo)?, "cannot build the fuzz targets");
    Ok(())
}

fn fuzz(target: &str, seconds: u32) -> Result<bool> {
    // libFuzzer adds to the first folder it is given, and reads the others.
    let found = found(target)?;
    let seeds = seeds(target);
    fs::create_dir_all(&seeds)?;
    let mut command = shell::command(&program(target)?, &[]);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN_BYTES}"))
        .arg("-rss_limit_mb=2048")
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/{target}-", dir().display()))
        .arg(found)
        .arg(seeds);
    shell::run(&mut command)
}

/// Adds those found inputs to the committed ones that reach code the committed ones do not.
fn keep_corpus(target: &str) -> Result<bool> {
    let mut command = shell::command(&program(target)?, &["-set_cover_merge=1"]);
    command.arg(seeds(target)).arg(found(target)?);
    shell::run(&mut command)
}

fn program(target: &str) -> Result<String> {
    let path = dir().join(host()?).join("release").join(target);
    Ok(path.to_string_lossy().into_owned())
}

fn host() -> Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = shell::command(&rustc, &["-vV"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("`rustc -vV` names no host")?.to_owned())
}

fn seeds(target: &str) -> PathBuf {
    crate::root().join("fuzz/corpus").join(target)
}

fn found(target: &str) -> Result<PathBuf> {
    let path = dir().join("found").join(target);
    fs::create_dir_all(&path)?;
    Ok(path)
}

fn dir() -> PathBuf {
    crate::target_dir().join("fuzz")
}
