//! Running programs: shown, and read where their output counts.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// How a program ended.
pub(crate) struct Outcome {
    /// Whether its exit code was 0.
    pub(crate) success: bool,
    /// What it printed on both streams, each in order.
    pub(crate) output: String,
}

/// A command that runs in the repository's root.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(crate::root()).stdin(Stdio::null());
    command
}

/// This cargo, not another that may be installed.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, args)
}

/// Runs `command`, passing its output on as it comes and keeping a copy.
///
/// # Errors
/// If it cannot be run at all.
pub(crate) fn run_and_read(command: &mut Command) -> Result<Outcome> {
    println!("$ {}", show(command));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", show(command)))?;
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let output = std::thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.map(|it| copy(it, std::io::stderr())));
        let mut output = stdout.map(|it| copy(it, std::io::stdout())).unwrap_or_default();
        if let Ok(Some(errors)) = errors.join() {
            output.extend_from_slice(&errors);
        }
        output
    });
    Ok(Outcome {
        success: child.wait()?.success(),
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

/// Runs `command` on our own terminal; whether its exit code was 0.
///
/// # Errors
/// If it cannot be run at all.
pub(crate) fn run(command: &mut Command) -> Result<bool> {
    println!("$ {}", show(command));
    let status = command.status();
    Ok(status.with_context(|| format!("cannot run {}", show(command)))?.success())
}

/// Whether a program of that name can be run: its answer to `args` is success.
pub(crate) fn works(program: &str, args: &[&str]) -> bool {
    let mut command = command(program, args);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Copies a stream to ours until it ends; what went by.
fn copy(mut from: impl Read, mut to: impl Write) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match from.read(&mut chunk) {
            Ok(0) | Err(_) => return all,
            Ok(len) => {
                all.extend_from_slice(&chunk[..len]);
                // Our own output may be gone (a closed pipe); the copy still counts.
                let _ = to.write_all(&chunk[..len]).and_then(|()| to.flush());
            }
        }
    }
}
