//! The broker's command line: Mosquitto's flags, and mogi's own.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cli {
    /// `-c`: the configuration file.
    pub(crate) config: Option<PathBuf>,
    /// `--mogi-config`: the file of mogi's own options.
    pub(crate) mogi_config: Option<PathBuf>,
    /// `--data-dir`: the folder state is kept in.
    pub(crate) data_dir: Option<String>,
    /// `--tls-keylog`: the file that gets the secrets of TLS sessions.
    pub(crate) tls_keylog: Option<PathBuf>,
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
    /// There is no such option: a line, the usage, and exit 3.
    Unknown(String),
    /// Something is wrong with an option: a line for the log, and exit 3.
    Wrong(String),
}

/// How often `-p` may be given.
const MAX_PORTS: usize = 10;

/// Reads the arguments that follow the program's name, as Mosquitto does: one option a word, the
/// first problem counts. What was read until then comes with it, because Mosquitto reads the
/// configuration when it comes to `-c`, and so tells of a problem there before one behind it.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> (Cli, Result<(), Early>) {
    let mut cli = Cli::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if let Err(early) = cli.take(&arg, &mut args) {
            return (cli, Err(early));
        }
    }
    if cli.test_config && cli.config.is_none() {
        let wrong = "Please provide a configuration file to test.";
        return (cli, Err(Early::Wrong(wrong.to_owned())));
    }
    (cli, Ok(()))
}

impl Cli {
    fn take(
        &mut self,
        arg: &OsString,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Early> {
        let mut value = |flag: &str, what: &str| {
            rest.next().ok_or_else(|| {
                Early::Wrong(format!("Error: {flag} argument given, but no {what} specified."))
            })
        };
        match arg.to_str().unwrap_or_default() {
            "-c" | "--config-file" => self.config = Some(value("-c", "config file")?.into()),
            "--mogi-config" => self.mogi_config = Some(value("--mogi-config", "file")?.into()),
            "--data-dir" => {
                let dir = value("--data-dir", "directory")?;
                self.data_dir = Some(dir.to_string_lossy().into_owned());
            }
            "-p" | "--port" => {
                if self.ports.len() == MAX_PORTS {
                    return Err(Early::Wrong(format!(
                        "Error: Only {MAX_PORTS} ports can be specified on the command line."
                    )));
                }
                self.ports.push(port(&value("-p", "port")?)?);
            }
            "-v" | "--verbose" => self.verbose = true,
            "-q" | "--quiet" => self.quiet = true,
            "-d" | "--daemon" => self.daemon = true,
            "--test-config" => self.test_config = true,
            "-h" | "--help" => return Err(Early::Help),
            "--version" => return Err(Early::Version),
            "--list-options" => return Err(Early::Options),
            "--tls-keylog" => self.tls_keylog = Some(value("--tls-keylog", "file")?.into()),
            _ => return Err(Early::Unknown(arg.to_string_lossy().into_owned())),
        }
        Ok(())
    }
}

/// A port as atoi(3) reads it: a number, whatever follows.
fn port(text: &OsString) -> Result<u16, Early> {
    let text = text.to_string_lossy();
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].find(|c: char| !c.is_ascii_digit());
    let end = digits.map_or(text.len(), |digits| sign + digits);
    let number: i64 = text[..end].parse().unwrap_or(0);
    let valid = u16::try_from(number).ok().filter(|&port| port > 0);
    valid.ok_or_else(|| Early::Wrong(format!("Error: Invalid port specified ({number}).")))
}

/// The text of `-h`. `program` is what the process is called.
pub(crate) fn usage(program: &str) -> String {
    format!(
        "\
{program} is an MQTT v5.0/v3.1.1/v3.1 broker.

Usage: {program} [-c FILE] [-p PORT] [-d] [-q] [-v] [--data-dir DIR] [--mogi-config FILE]
             [--test-config]
       {program} pub|sub|rr|passwd|ctrl|bench [options]
       {program} store inspect|verify|export|migrate [options]

 -c, --config-file FILE  read the configuration from FILE, a mosquitto.conf
     --mogi-config FILE  read mogi's own options from FILE (else: mogi.conf beside the other)
     --tls-keylog FILE   write the secrets of TLS sessions to FILE, for Wireshark
     --data-dir DIR      keep sessions, their messages and retained messages in DIR
 -p, --port PORT         listen on PORT if no file defines a listener; up to {MAX_PORTS} times
 -d, --daemon            go into the background
 -q, --quiet             log nothing, whatever the file and -v say
 -v, --verbose           log everything, whatever the file says
     --test-config       check the configuration, say what each listener will do, and end
 -h, --help              print this
     --list-options      print all options of the configuration
     --version           print the version

Without a configuration it listens on port 1883 for clients of this machine.
Signals: TERM and INT stop it, HUP reads the configuration again and opens the log file anew, RTMIN
only the latter, USR2 prints the filters that are subscribed to.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> (Cli, Result<(), Early>) {
        parse(args.iter().map(OsString::from))
    }

    fn early(args: &[&str]) -> Early {
        parsed(args).1.expect_err("there is something to say")
    }

    #[test]
    fn flags_are_mosquittos() {
        let (cli, end) = parsed(&["-c", "f", "-p", "1884", "--port", "1885", "-v", "-d"]);
        assert_eq!(end, Ok(()));
        assert_eq!(cli.config, Some(PathBuf::from("f")));
        assert_eq!(cli.ports, [1884, 1885]);
        assert!(cli.verbose && cli.daemon && !cli.quiet && !cli.test_config);
        let (cli, end) = parsed(&[
            "--quiet",
            "--test-config",
            "--config-file",
            "g",
            "--mogi-config",
            "h",
            "--daemon",
            "--verbose",
        ]);
        assert_eq!(end, Ok(()));
        assert!(cli.verbose && cli.daemon && cli.quiet && cli.test_config);
        assert_eq!(cli.config, Some(PathBuf::from("g")));
        assert_eq!(cli.mogi_config, Some(PathBuf::from("h")));
    }

    #[test]
    fn problems_are_told_as_mosquitto_tells_them() {
        let wrong = |args: &[&str]| match early(args) {
            Early::Wrong(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(&["-c"]), "Error: -c argument given, but no config file specified.");
        assert_eq!(wrong(&["-p"]), "Error: -p argument given, but no port specified.");
        assert_eq!(wrong(&["-p", "0"]), "Error: Invalid port specified (0).");
        assert_eq!(wrong(&["-p", "-7"]), "Error: Invalid port specified (-7).");
        assert_eq!(wrong(&["-p", "70000"]), "Error: Invalid port specified (70000).");
        assert_eq!(wrong(&["-p", "abc"]), "Error: Invalid port specified (0).");
        assert_eq!(wrong(&["--test-config"]), "Please provide a configuration file to test.");
        let many = ["-p", "1"].repeat(11);
        let too_many = "Error: Only 10 ports can be specified on the command line.";
        assert_eq!(wrong(&many), too_many);
        assert_eq!(parsed(&["-p", "1884x"]).0.ports, [1884]);
        assert_eq!(early(&["-z"]), Early::Unknown("-z".to_owned()));
        assert_eq!(early(&["-vq"]), Early::Unknown("-vq".to_owned()));
        assert_eq!(early(&["extra"]), Early::Unknown("extra".to_owned()));
        assert_eq!(early(&["-p", "1", "--version", "-z"]), Early::Version);
    }

    #[test]
    fn what_stands_before_a_problem_is_known() {
        let (cli, end) = parsed(&["-c", "f", "--help", "-v"]);
        assert_eq!((cli.config, cli.verbose), (Some(PathBuf::from("f")), false));
        assert_eq!(end, Err(Early::Help));
    }
}
