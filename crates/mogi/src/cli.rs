//! The broker's command line: Mosquitto's flags, and `--mogi-config`.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cli {
    /// `-c`: the configuration file.
    pub(crate) config: Option<PathBuf>,
    /// `--mogi-config`: the file of mogi's own options.
    pub(crate) mogi_config: Option<PathBuf>,
    /// `-p`: ports of the local-only mode.
    pub(crate) ports: Vec<u16>,
    /// `-v`: log everything.
    pub(crate) verbose: bool,
    /// `-q`: log nothing.
    pub(crate) quiet: bool,
    /// `-d`: go into the background.
    pub(crate) daemon: bool,
    /// `--test-config`: read the configuration and end.
    pub(crate) test_config: bool,
}

/// Something to say and end with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    /// `-h`: the usage.
    Help,
    /// `--version`.
    Version,
    /// `--list-options`: all options of the configuration.
    Options,
    /// The command line makes no sense: the usage, exit 3.
    Usage,
    /// As before, with one line for the log instead of the usage.
    Wrong(String),
}

/// How often `-p` may be given.
const MAX_PORTS: usize = 10;

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// There is something else to do than to run a broker.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Early> {
    use lexopt::prelude::*;
    let mut cli = Cli::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|_| Early::Usage)? {
        match arg {
            Short('c') | Long("config-file") => {
                let missing = "Error: -c argument given, but no config file specified.";
                let value = parser.value().map_err(|_| Early::Wrong(missing.to_owned()))?;
                cli.config = Some(value.into());
            }
            Long("mogi-config") => {
                let missing = "Error: --mogi-config argument given, but no file specified.";
                let value = parser.value().map_err(|_| Early::Wrong(missing.to_owned()))?;
                cli.mogi_config = Some(value.into());
            }
            Short('p') | Long("port") => cli.ports.push(port(&mut parser)?),
            Short('v') | Long("verbose") => cli.verbose = true,
            Short('q') | Long("quiet") => cli.quiet = true,
            Short('d') | Long("daemon") => cli.daemon = true,
            Long("test-config") => cli.test_config = true,
            Short('h') | Long("help") => return Err(Early::Help),
            Long("version") => return Err(Early::Version),
            Long("list-options") => return Err(Early::Options),
            Long("tls-keylog") => {
                let what = "Error: --tls-keylog needs TLS, which is not built into mogi yet.";
                return Err(Early::Wrong(what.to_owned()));
            }
            _ => return Err(Early::Usage),
        }
    }
    if cli.ports.len() > MAX_PORTS {
        return Err(Early::Wrong(format!("Error: Only {MAX_PORTS} ports can be specified.")));
    }
    if cli.test_config && cli.config.is_none() {
        return Err(Early::Wrong("Please provide a configuration file to test.".to_owned()));
    }
    Ok(cli)
}

fn port(parser: &mut lexopt::Parser) -> Result<u16, Early> {
    let missing = "Error: -p argument given, but no port specified.";
    let value = parser.value().map_err(|_| Early::Wrong(missing.to_owned()))?;
    let number: i64 = value.to_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let valid = u16::try_from(number).ok().filter(|&port| port > 0);
    valid.ok_or_else(|| Early::Wrong(format!("Error: Invalid port specified ({number}).")))
}

/// The text of `-h`. `program` is what the process is called.
pub(crate) fn usage(program: &str) -> String {
    format!(
        "{program} is an MQTT v5.0/v3.1.1/v3.1 broker.\n\n\
         Usage: {program} [-c FILE] [-p PORT] [-d] [-q] [-v] [--mogi-config FILE] [--test-config]\n\
         \x20      {program} pub|sub|rr|bench [options]\n\n\
         \x20-c, --config-file FILE  read the configuration from FILE\n\
         \x20    --mogi-config FILE  and mogi's own options from FILE\n\
         \x20-p, --port PORT         listen on PORT if no file defines a listener; up to 10 times\n\
         \x20-d, --daemon            go into the background\n\
         \x20-q, --quiet             log nothing\n\
         \x20-v, --verbose           log everything\n\
         \x20    --test-config       check the configuration and end\n\
         \x20-h, --help              print this\n\
         \x20    --list-options      print all options of the configuration\n\
         \x20    --version           print the version\n\n\
         Without a configuration it listens on port 1883 for clients of this machine.\n\
         Signals: TERM and INT stop it, HUP and RTMIN open the log file anew, USR2 prints the\n\
         filters of the interest table.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Cli, Early> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn flags_are_mosquittos() {
        let cli = parsed(&["-c", "f", "-p", "1884", "--port", "1885", "-v", "-d"]).expect("ok");
        assert_eq!(cli.config, Some(PathBuf::from("f")));
        assert_eq!(cli.ports, [1884, 1885]);
        assert!(cli.verbose && cli.daemon && !cli.quiet);
    }

    #[test]
    fn problems_are_told_as_mosquitto_tells_them() {
        let wrong = |args: &[&str]| match parsed(args) {
            Err(Early::Wrong(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(&["-c"]), "Error: -c argument given, but no config file specified.");
        assert_eq!(wrong(&["-p"]), "Error: -p argument given, but no port specified.");
        assert_eq!(wrong(&["-p", "0"]), "Error: Invalid port specified (0).");
        assert_eq!(wrong(&["-p", "70000"]), "Error: Invalid port specified (70000).");
        assert_eq!(wrong(&["-p", "abc"]), "Error: Invalid port specified (0).");
        assert_eq!(wrong(&["--test-config"]), "Please provide a configuration file to test.");
        assert_eq!(parsed(&["-z"]), Err(Early::Usage));
        assert_eq!(parsed(&["extra"]), Err(Early::Usage));
        assert_eq!(parsed(&["-p", "1", "--version"]), Err(Early::Version));
    }
}
