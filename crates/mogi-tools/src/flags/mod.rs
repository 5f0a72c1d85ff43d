//! The command line: one table of flags, from which parsing and help are made.
//!
//! * `table`: every flag of the three tools, what it takes, what it means, what it sets.
//! * `set`: the longer settings; `property`, `proxy` and `url` read the values that have a form.
//! * `parse`: arguments and options files to a [`Config`]; `check`: what must fit together.
//! * `help`: the table as text.

mod check;
mod help;
mod parse;
mod property;
mod proxy;
mod set;
mod table;
mod table_later;
mod table_tls;
mod url;
mod value;

pub(crate) use parse::{parse, values_of};

/// How reading a command line ends, if not with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Something is wrong: the sentence after "Error: ".
    Wrong(String),
    /// As [`Stop::Wrong`], and so much is missing that the help is printed too.
    Lost(String),
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

impl Stop {
    pub(crate) fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong(what.into())
    }
}

/// Tells the user, and answers with the exit code: 1, also for help and version, as Mosquitto's
/// tools do.
pub(crate) fn stop(tool: crate::config::Tool, program: &str, stop: &Stop) -> i32 {
    match stop {
        Stop::Wrong(what) => {
            eprintln!("Error: {what}");
            eprintln!("\nUse '{program} --help' to see usage.");
        }
        Stop::Lost(what) => {
            eprintln!("Error: {what}");
            crate::output::print(&help::text(tool, program));
        }
        Stop::Help => crate::output::print(&help::text(tool, program)),
        Stop::Version => crate::output::print(&help::version(tool, program)),
    }
    1
}
