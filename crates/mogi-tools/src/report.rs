//! What the tools say besides messages: packets (`-d`) and errors.

use crate::config::Config;
use crate::output::Output;
use crate::reason::{exit, refusal};
use mogi_client::{Client, DriverError, Error};
use mogi_codec::Version;

/// Moves the client's trace to the output, a line for each packet.
pub(crate) fn trace(client: &mut Client, output: &mut Output) {
    while let Some(line) = client.next_trace() {
        let id = shown_id(client, &line);
        output.line(&format!("Client {id} {line}"));
    }
}

/// A client without an id is shown as Mosquitto's tools show it, which depends on the line.
fn shown_id<'a>(client: &'a Client, line: &str) -> &'a str {
    match client.client_id() {
        "" if line.starts_with("received CONNACK") => "(null)",
        "" => "null",
        id => id,
    }
}

/// Prints an error of the connection, unless `--quiet` was given.
pub(crate) fn error(config: &Config, text: &str) {
    if !config.quiet {
        eprintln!("{text}");
    }
}

/// What the system says about an error, without Rust's "(os error 111)".
pub(crate) fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The broker refused the connection: says why, and answers with the exit code.
pub(crate) fn refused(config: &Config, code: u8) -> i32 {
    let why = refusal(config.version, code);
    error(config, &format!("Connection error: {why}"));
    i32::from(code)
}

/// The second line of `pub` about a refused connection.
pub(crate) const fn refused_again(version: Version, code: u8) -> &'static str {
    match (version, code) {
        (Version::V31 | Version::V311, 1..=5) | (Version::V5, 1) => {
            "Error: The connection was refused"
        }
        _ => "Error: A network protocol error occurred when communicating with the broker",
    }
}

/// The connection is over: its exit code, and the sentence.
pub(crate) fn ended(error: &DriverError) -> (i32, String) {
    match error {
        DriverError::Lost(_) => (exit::LOST, "Error: The connection was lost".to_owned()),
        DriverError::Client(Error::KeepAlive) => {
            (exit::KEEP_ALIVE, "Error: Keepalive exceeded".to_owned())
        }
        DriverError::Client(Error::Protocol(error)) => (
            exit::PROTOCOL,
            format!(
                "Error: A network protocol error occurred when communicating with the broker \
                 ({})",
                error.what
            ),
        ),
    }
}
