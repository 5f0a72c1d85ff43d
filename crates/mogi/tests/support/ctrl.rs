//! `mogi ctrl`, run as people run it.

use super::Broker;
use std::process::{Command, Output, Stdio};

/// What `mogi ctrl` came to: its exit code, and what it wrote.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs `mogi ctrl` at the broker: options, then module and command, parted by blanks.
#[track_caller]
pub fn ctrl(broker: &Broker, words: &str) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_mogi"))
        .args(["ctrl", "-h", "127.0.0.1", "-p", &broker.port().to_string()])
        .args(words.split_whitespace())
        .stdin(Stdio::null())
        .env("HOME", "/nonexistent")
        .output();
    let Output { status, stdout, stderr } = output.expect("mogi ctrl runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Said { code: status.code().unwrap_or(-1), out: text(&stdout), err: text(&stderr) }
}
