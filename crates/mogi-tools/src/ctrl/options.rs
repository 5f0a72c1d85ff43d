//! The command line of `ctrl`: flags of all tools, its own, and then module and command.

use crate::config::{Config, Tool};
use crate::flags::{self, Stop};
use std::ffi::OsString;
use std::path::PathBuf;

/// What a command line asks for.
pub(super) struct Options {
    pub(super) config: Config,
    /// `-f`: the file to change, without a broker.
    pub(super) file: Option<PathBuf>,
    /// `--strict`: a command the broker refuses is an error of the program.
    pub(super) strict: bool,
    /// Module, command, and what belongs to it.
    pub(super) words: Vec<String>,
}

pub(super) fn parse(args: &[OsString]) -> Result<Options, Stop> {
    let (mut file, mut strict, mut qos) = (None, false, 1);
    let mut shared = Vec::new();
    let mut rest = args;
    while let Some((first, after)) = rest.split_first() {
        let name = first.to_string_lossy();
        if !name.starts_with('-') {
            break;
        }
        rest = after;
        match &*name {
            "--strict" => strict = true,
            "-f" => {
                let (path, after) = after.split_first().ok_or_else(|| {
                    Stop::wrong("-f argument given but no data file specified.\n")
                })?;
                (file, rest) = (Some(PathBuf::from(path)), after);
            }
            "-q" | "--qos" => {
                let (value, after) = after
                    .split_first()
                    .ok_or_else(|| Stop::wrong("-q argument given but no QoS specified.\n"))?;
                let value = value.to_string_lossy();
                qos = value
                    .parse()
                    .ok()
                    .filter(|qos| *qos <= 2)
                    .ok_or_else(|| Stop::Wrong(format!("Invalid QoS given: {value}")))?;
                rest = after;
            }
            _ => {
                let values = flags::values_of(Tool::Ctrl, &name, after)?;
                shared.push(first.clone());
                shared.extend_from_slice(values);
                rest = &after[values.len()..];
            }
        }
    }
    let mut config = flags::parse(Tool::Ctrl, &shared)?;
    config.qos = mogi_codec::QoS::from_u8(qos).unwrap_or_default();
    let words = rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    Ok(Options { config, file, strict, words })
}

/// What is printed where a module is missing.
pub(super) fn usage(argv0: &str) -> String {
    format!(
        "\
{argv0} is a tool for administering certain Mosquitto features.
{argv0} version {} of mogi, like mosquitto_ctrl version 2.1.

General usage: {argv0} <module> <module-command> <command-options>
For module specific help use: {argv0} <module> help

Modules available: broker dynsec

Before the module may stand the options of '{argv0} pub' that are about the connection, and:
 -f FILE   change this file instead of asking a broker (dynsec setClientPassword)
 -q QOS    QoS of the request; the default is 1
 --strict  end with an error if the broker refuses the command
",
        env!("CARGO_PKG_VERSION")
    )
}
