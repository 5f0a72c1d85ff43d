//! `mogi bench`: a load generator of publishers and subscribers in one process, and what it
//! measures.
//!
//! A map of the folder:
//!
//! * [`options`]: the command line. [`plan`]: which clients a mode consists of.
//! * [`dial`], [`link`], [`frames`]: connections, and the bytes that go through them.
//! * [`steady`]: the loop of all steady loads; [`load`] is its state, [`flight`] its end-to-end
//!   flow control, [`sequence`] its account of lost, repeated and overtaken messages.
//! * [`retained`], [`connect`], [`offline`], [`sessions`], [`disk`]: the modes that are no steady
//!   load.
//! * [`procfs`], [`cost`], [`report`]: what a broker used, and everything found out.
//! * [`suite`]: the standard table, one broker beside the other; [`floor`] takes the place of one
//!   to show what the kernel alone costs.
//!
//! **Invariants.** One thread and one poll, so that the generator takes as little as possible
//! from the broker beside it. No allocation per message.

mod connect;
mod cost;
mod dial;
mod disk;
#[cfg(test)]
mod faulty;
mod flight;
mod floor;
mod frames;
mod link;
mod load;
mod offline;
mod options;
mod plan;
mod procfs;
mod reconnect;
mod report;
mod retained;
mod sequence;
mod sessions;
mod steady;
mod store;
mod suite;
mod timer;
#[cfg(test)]
mod verdicts;

use dial::Net;
use options::{HELP, Mode, Options};
use plan::Plan;
use report::{Reports, compare};
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Runs `mogi bench` with the arguments that follow its name.
///
/// Exit code 0 when it measured (whatever it found), 1 when it could not, 2 for a command line
/// that makes no sense.
pub fn bench_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.is_empty() || args.iter().any(|arg| arg == "--help") {
        return finish(Ok(HELP.into()));
    }
    if args[0] == "suite" {
        return match suite::Suite::parse(args.into_iter().skip(1)) {
            Ok(suite) => finish(suite.run()),
            Err(what) => misuse(&what),
        };
    }
    if args[0] == "floor" {
        return match floor::Floor::parse(&args[1..]) {
            Ok(floor) => finish(floor.run()),
            Err(what) => misuse(&what),
        };
    }
    match Options::parse(args) {
        Ok(options) => finish(measure_and_show(&options)),
        Err(what) => misuse(&what),
    }
}

fn measure_and_show(options: &Options) -> Result<String, String> {
    let earlier = options.compare.as_deref().map(read_reports).transpose()?;
    let reports = Reports { reports: measure(options)? };
    let json = options.json || !std::io::stdout().is_terminal();
    let mut text = if json {
        let json = serde_json::to_string_pretty(&reports);
        json.map_err(|err| format!("cannot write JSON: {err}"))? + "\n"
    } else {
        reports.reports.iter().map(report::Report::table).collect()
    };
    if let Some(earlier) = earlier {
        if json {
            // JSON stays JSON: what is for people goes beside it.
            eprint!("{}", compare(&earlier, &reports));
        } else {
            text += &compare(&earlier, &reports);
        }
    }
    Ok(text)
}

/// Runs one load.
fn measure(options: &Options) -> Result<Vec<report::Report>, String> {
    if options.mode == Mode::Disk {
        return Ok(vec![disk::run(options)?]);
    }
    // The largest frame is the payload, a topic, and a few bytes.
    let max_packet = options.size + options.topic.len() + 1024;
    let login = options.login.clone();
    let mut net = Net::new(options.addr()?, options.version, login, max_packet)?;
    match options.mode {
        Mode::Retained => retained::run(options, &mut net),
        Mode::Connect => Ok(vec![connect::run(options, &mut net)?]),
        Mode::Offline | Mode::Reconnect | Mode::Sessions => {
            connect::raise_file_limit(u64::from(options.clients) + connect::OTHER_FILES)?;
            match options.mode {
                Mode::Offline => offline::run(options, &mut net),
                Mode::Reconnect => reconnect::run(options, &mut net),
                _ => Ok(vec![sessions::run(options, &mut net)?]),
            }
        }
        _ => {
            let plan = Plan::new(options, &options.topic);
            let clients = plan.publishers.len() + plan.subscribers.len();
            connect::raise_file_limit(clients as u64 + connect::OTHER_FILES)?;
            Ok(vec![steady::run(options, &plan, &mut net)?])
        }
    }
}

fn read_reports(path: &std::path::Path) -> Result<Reports, String> {
    let say = |err: &dyn std::fmt::Display| format!("--compare {}: {err}", path.display());
    let text = std::fs::read_to_string(path).map_err(|err| say(&err))?;
    serde_json::from_str(&text).map_err(|err| say(&err))
}

fn finish(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever read the output has gone.
            Err(_) => ExitCode::FAILURE,
        },
        Err(what) => {
            eprintln!("mogi bench: {what}");
            ExitCode::FAILURE
        }
    }
}

fn misuse(what: &str) -> ExitCode {
    eprintln!("mogi bench: {what}\nTry 'mogi bench --help'.");
    ExitCode::from(2)
}
