//! Printing messages: plain, verbose, by a template, or on a fixed line for each topic.

use crate::config::Config;
use crate::format::{Now, render};
use crate::output::Output;
use crate::report;
use mogi_client::Message;
use std::collections::HashMap;

/// Topics that get a line of their own with `--watch`; more of them share the last.
const WATCHED_MAX: usize = 10_000;

/// The first line of the screen that shows a topic; above it stands the broker.
const FIRST_ROW: usize = 2;

/// Prints messages the way the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Printer {
    /// The line of each topic, with `--watch`.
    rows: HashMap<String, usize>,
}

impl Printer {
    /// Prepares the screen where that is wanted.
    pub(crate) fn begin(config: &Config, output: &mut Output) {
        if config.watch {
            let host = config.shown_host();
            output.line(&format!("\x1B[2J\x1B[1;1HBroker: {host}"));
            output.flush();
        }
    }

    /// Prints one message.
    pub(crate) fn print(&mut self, config: &Config, message: &Message<'_>, output: &mut Output) {
        if !config.watch {
            return write(config, message, output);
        }
        let next = self.rows.len().min(WATCHED_MAX) + FIRST_ROW;
        let row = match self.rows.get(&*message.topic) {
            Some(row) => *row,
            None if self.rows.len() < WATCHED_MAX => {
                self.rows.insert(message.topic.to_string(), next);
                next
            }
            None => next,
        };
        let last = self.rows.len() + FIRST_ROW - 1;
        let goto = |row: usize| format!("\x1B[{row};1H");
        output.buffer().extend_from_slice(goto(row).as_bytes());
        write(config, message, output);
        // The cursor stays below everything.
        output.line(&goto(last.max(row)));
    }
}

fn write(config: &Config, message: &Message<'_>, output: &mut Output) {
    let out = output.buffer();
    if let Some(template) = &config.format {
        let mut errors = Vec::new();
        let now = Now::default();
        render(template, message, config.pretty, &now, out, &mut errors);
        if !config.no_newline {
            out.push(b'\n');
        }
        if !errors.is_empty() {
            output.flush();
            errors.iter().for_each(|error| report::error(config, error));
        }
        return;
    }
    if message.payload.is_empty() {
        // Nothing is printed for nothing, except that -v says so.
        if config.verbose && !config.no_newline {
            output.line(&format!("{} (null)", message.topic));
        }
        return;
    }
    if config.verbose {
        out.extend_from_slice(message.topic.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(&message.payload);
    if !config.no_newline {
        out.push(b'\n');
    }
}
