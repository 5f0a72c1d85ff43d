//! Development tasks, run as `cargo xtask TASK`.
//!
//! * [`test`]: everything that has to hold before a change lands.
//! * [`setup`]: the programs the tests need, installed where they are missing.
//! * [`tidy`]: the rules about the source that no compiler checks.
//! * [`fuzz`]: the fuzz targets, built without a nightly compiler.
//! * [`crash`]: what a broker acknowledged has to survive `kill -9`.
//! * [`tally`], [`shell`]: counting what test runners did, and running programs.

mod crash;
mod fuzz;
mod setup;
mod shell;
mod tally;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask TASK

  test [STEP]...           install what the tests need, run all of them (or these steps), count
  setup                    only install what the tests need
  tidy                     check the source's own rules
  fuzz [TARGET [SECONDS]]  fuzz one target, or each in turn, for a minute or as long as said
  crash [OPTION]...        kill the broker again and again; --help lists the options
  fuzz TARGET keep         add what fuzzing has found worth keeping to fuzz/corpus
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["test", ref steps @ ..] => test::run(steps),
        ["setup"] => setup::run().map(|()| true),
        ["tidy"] => tidy::run(),
        ["crash", ref args @ ..] => crash::main(args),
        ["fuzz", ref args @ ..] => fuzz::run(args),
        ["help" | "-h" | "--help"] => {
            print!("{HELP}");
            Ok(true)
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask stands in the repository's root")
}

/// Where build output goes: what the caller's cargo uses.
fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}
