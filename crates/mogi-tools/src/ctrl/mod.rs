//! `ctrl`: administers a broker by requests on `$CONTROL/`, as `mosquitto_ctrl` does.
//!
//! * `options`: the command line
//! * `command`: from words to requests
//! * `exchange`: a request to the broker, and its answer
//! * `show`: answers for people
//! * `offline`: what is done to a file without a broker
//!
//! There is no interactive shell.

mod command;
mod exchange;
mod offline;
mod options;
mod show;

use crate::flags::{Stop, stop};
use crate::output::print;
use command::{Command, Wrong};
use options::Options;
use std::ffi::OsString;

/// Runs `ctrl`. `argv0` is what the program is called in messages, `args` are the arguments after
/// it. Answers with the exit code, that of `mosquitto_ctrl`: 0 even where the broker refuses,
/// unless `--strict` was given.
pub fn ctrl_main(argv0: &str, args: &[OsString]) -> i32 {
    let options = match options::parse(args) {
        Ok(options) => options,
        Err(Stop::Help | Stop::Version) => {
            print(&options::usage(argv0));
            return 1;
        }
        Err(Stop::Lost(what) | Stop::Wrong(what)) if !what.is_empty() => {
            eprintln!("Error: {what}");
            print(&options::usage(argv0));
            return 1;
        }
        Err(other) => return stop(crate::config::Tool::Ctrl, argv0, &other),
    };
    run(argv0, &options)
}

/// libmosquitto's MOSQ_ERR_INVAL, _NOT_SUPPORTED and _UNKNOWN.
const INVALID: i32 = 3;
const NO_MODULE: i32 = 10;
const NO_COMMAND: i32 = 13;
/// A command was refused (`--strict`).
const REFUSED: i32 = 1;

fn run(argv0: &str, options: &Options) -> i32 {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let (module, rest) = match &words[..] {
        [] | ["help"] | [_] => {
            print(&options::usage(argv0));
            return 1;
        }
        [module, rest @ ..] => (*module, rest),
    };
    let help = match module {
        "dynsec" => include_str!("dynsec.txt"),
        "broker" => include_str!("broker.txt"),
        other => {
            eprintln!("Error: Module '{other}' not supported.");
            return NO_MODULE;
        }
    };
    if rest.first() == Some(&"help") {
        print(&help.replace("{ctrl}", argv0));
        return 0;
    }
    if let Some(code) = offline::run(argv0, options, module, rest) {
        return code;
    }
    match command::build(module, rest) {
        Ok(command) => {
            warn_of_plain_text(options);
            exchange(options, &command)
        }
        Err(Wrong::Unknown(name)) => {
            eprintln!("Command '{name}' not recognised.");
            NO_COMMAND
        }
        Err(Wrong::Input) => {
            eprintln!("Error: Invalid input.");
            INVALID
        }
    }
}

fn warn_of_plain_text(options: &Options) {
    if options.config.unix.is_none() && !options.config.quiet {
        eprintln!(
            "Warning: You are running mosquitto_ctrl without encryption.\nThis means all of the \
             configuration changes you are making are visible on the network, including \
             passwords.\n"
        );
    }
}

fn exchange(options: &Options, command: &Command) -> i32 {
    match exchange::run(options, command) {
        Ok(answer) => match show::show(&answer) {
            Ok(text) => {
                print(&text);
                0
            }
            Err(line) => {
                eprintln!("{line}");
                if options.strict { REFUSED } else { 0 }
            }
        },
        Err((_, true)) if !options.strict => 0,
        Err((code, _)) => code,
    }
}
