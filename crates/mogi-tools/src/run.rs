//! The tools' entry points.

use crate::config::{Config, Tool};
use crate::{flags, tool};
use std::ffi::OsString;

/// Runs `pub`: publishes messages. `argv0` is what the program is called in messages, `args` are
/// the arguments after it. Answers with the exit code, that of `mosquitto_pub`.
pub fn pub_main(argv0: String, args: Vec<OsString>) -> i32 {
    run(Tool::Pub, &argv0, &args, tool::run_pub)
}

/// Runs `sub`: prints messages. As [`pub_main`], with the exit codes of `mosquitto_sub`.
pub fn sub_main(argv0: String, args: Vec<OsString>) -> i32 {
    run(Tool::Sub, &argv0, &args, tool::run_sub)
}

/// Runs `rr`: publishes a request and prints the response. As [`pub_main`], with the exit codes
/// of `mosquitto_rr`.
pub fn rr_main(argv0: String, args: Vec<OsString>) -> i32 {
    run(Tool::Rr, &argv0, &args, tool::run_rr)
}

fn run(tool: Tool, program: &str, args: &[OsString], run: fn(&Config) -> i32) -> i32 {
    match flags::parse(tool, args) {
        Ok(config) => run(&config),
        Err(stop) => flags::stop(tool, program, &stop),
    }
}
