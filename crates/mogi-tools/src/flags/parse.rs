//! From arguments and options files to a configuration.

use super::table::{Flag, Takes, find};
use super::value::Values;
use super::{Stop, check, property};
use crate::config::{Config, Tool};
use crate::report::system_text;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Reads the options file and then the command line, which wins.
///
/// # Errors
/// What is wrong, or that help or version was asked for.
pub(crate) fn parse(tool: Tool, args: &[OsString]) -> Result<Config, Stop> {
    let mut config = Config::new(tool);
    let explicit = explicit_file(tool, args)?;
    // A file nobody asked for may be missing. One that was asked for may be too, as far as
    // Mosquitto's tools are concerned; these say so.
    let quiet = explicit.is_none();
    if let Some(path) = explicit.or_else(|| default_file(tool)) {
        match fs::read(&path) {
            Ok(text) => read_file(&mut config, &text)?,
            Err(error) if quiet && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let (path, why) = (path.display(), system_text(&error));
                eprintln!("Warning: options file {path} cannot be read: {why}.");
            }
        }
    }
    read_args(&mut config, args)?;
    check::complete(&config)?;
    Ok(config)
}

/// `$XDG_CONFIG_HOME/mosquitto_sub`, or `$HOME/.config/mosquitto_sub`.
fn default_file(tool: Tool) -> Option<PathBuf> {
    let dir = |name| env::var_os(name).filter(|value| !value.is_empty());
    let config_dir = match dir("XDG_CONFIG_HOME") {
        Some(path) => PathBuf::from(path),
        None => Path::new(&dir("HOME")?).join(".config"),
    };
    Some(config_dir.join(tool.stock_name()))
}

/// The file `-o` names. It has to be found before anything is applied.
fn explicit_file(tool: Tool, args: &[OsString]) -> Result<Option<PathBuf>, Stop> {
    let mut file = None;
    let mut rest = args;
    while let Some((first, after)) = rest.split_first() {
        let Some(flag) = first.to_str().and_then(|name| find(tool, name)) else {
            // The command line is wrong; it is said when its turn comes.
            break;
        };
        let Ok(values) = take_values(flag, after) else {
            break;
        };
        rest = &after[values.len()..];
        if flag.short == "-o" {
            if file.is_some() {
                return Err(Stop::wrong("Duplicate -o argument given."));
            }
            file = values.first().map(PathBuf::from);
        }
    }
    Ok(file)
}

/// One flag on each line, its value being all that follows the first blank.
fn read_file(config: &mut Config, text: &[u8]) -> Result<(), Stop> {
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&b'#') {
            continue;
        }
        let line = line.trim_ascii_start();
        if line.is_empty() {
            continue;
        }
        read_args(config, &split_line(config.tool, line))?;
    }
    Ok(())
}

fn split_line(tool: Tool, line: &[u8]) -> Vec<OsString> {
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let name = parts.next().unwrap_or_default();
    let Some(value) = parts.next() else {
        return vec![own(name)];
    };
    let flag = std::str::from_utf8(name).ok().and_then(|it| find(tool, it));
    if !flag.is_some_and(|flag| matches!(flag.takes, Takes::Property)) {
        return vec![own(name), own(value)];
    }
    // A property has three or four parts, the last of which may have blanks in it.
    let mut words = value.splitn(3, |byte| *byte == b' ');
    let mut all = vec![own(name)];
    all.extend(words.by_ref().take(2).map(own));
    let values = property::value_count(all.get(2).map(OsString::as_os_str));
    if let Some(rest) = words.next() {
        all.extend(rest.splitn(values, |byte| *byte == b' ').map(own));
    }
    all
}

fn read_args(config: &mut Config, args: &[OsString]) -> Result<(), Stop> {
    let mut rest = args;
    while let Some((first, after)) = rest.split_first() {
        let name = first.to_string_lossy();
        let Some(flag) = find(config.tool, &name) else {
            return Err(Stop::Wrong(format!("Unknown option '{name}'.")));
        };
        let all = take_values(flag, after)?;
        rest = &after[all.len()..];
        let name = match flag.takes {
            Takes::One(_, name, _) => name,
            Takes::Property => "--property",
            Takes::Nothing => flag.long,
        };
        let name = if name.is_empty() { flag.short } else { name };
        (flag.apply)(config, Values { name, all })?;
    }
    Ok(())
}

/// The values that belong to a flag of that name.
///
/// # Errors
/// There is no such flag, or they are not there.
pub(crate) fn values_of<'a>(
    tool: Tool,
    name: &str,
    after: &'a [OsString],
) -> Result<&'a [OsString], Stop> {
    match find(tool, name) {
        Some(flag) => take_values(flag, after),
        None => Err(Stop::Wrong(format!("Unknown option '{name}'."))),
    }
}

/// The values that belong to the flag before them. They may look like flags themselves.
fn take_values<'a>(flag: &Flag, after: &'a [OsString]) -> Result<&'a [OsString], Stop> {
    let (count, name, missing) = match flag.takes {
        Takes::Nothing => return Ok(&[]),
        Takes::One(_, name, missing) => (1, name, missing),
        Takes::Property => {
            let property = after.get(1).map(OsString::as_os_str);
            let count = 2 + property::value_count(property);
            (count, "--property", "not enough arguments")
        }
    };
    after
        .get(..count)
        .ok_or_else(|| Stop::Wrong(format!("{name} argument given but {missing} specified.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mogi_codec::{QoS, Version};

    fn args(text: &[&str]) -> Vec<OsString> {
        text.iter().map(OsString::from).collect()
    }

    fn read(tool: Tool, text: &[&str]) -> Result<Config, Stop> {
        let mut config = Config::new(tool);
        read_args(&mut config, &args(text))?;
        Ok(config)
    }

    fn wrong(tool: Tool, text: &[&str]) -> String {
        match read(tool, text) {
            Err(Stop::Wrong(what)) => what,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn flags_have_short_and_long_names_and_values_that_look_like_flags() {
        let short = read(Tool::Pub, &["-t", "a", "-m", "-n", "-q", "1", "-r"]).expect("valid");
        assert_eq!(short.topic(), Some("a"));
        assert_eq!((short.qos, short.retain), (QoS::AtLeastOnce, true));
        let long = ["--topic", "a", "--message", "-n", "--qos", "1", "--retain"];
        let long = read(Tool::Pub, &long).expect("valid");
        assert_eq!((long.payload, long.qos), (short.payload, short.qos));
    }

    #[test]
    fn each_tool_has_its_own_flags() {
        assert_eq!(wrong(Tool::Sub, &["-l"]), "Unknown option '-l'.");
        assert_eq!(wrong(Tool::Rr, &["-T", "a"]), "Unknown option '-T'.");
        assert_eq!(wrong(Tool::Pub, &["topic"]), "Unknown option 'topic'.");
        assert_eq!(wrong(Tool::Pub, &[""]), "Unknown option ''.");
    }

    #[test]
    fn errors_are_worded_as_those_of_mosquittos_tools() {
        let missing = "-h argument given but no host specified.";
        assert_eq!(wrong(Tool::Sub, &["--host"]), missing);
        let missing = "-M argument given but max_inflight not specified.";
        assert_eq!(wrong(Tool::Sub, &["-M"]), missing);
        let few = "--property argument given but not enough arguments specified.";
        assert_eq!(wrong(Tool::Pub, &["-D", "publish", "user-property", "a"]), few);
        for (given, what) in [
            (["-q", "3"], "Invalid QoS given: 3"),
            (["-p", "70000"], "Invalid port given: 70000"),
            (["-C", "0"], "Invalid message count \"0\"."),
            (["-W", "-1"], "Invalid timeout \"-1\"."),
            (["-V", "6"], "Invalid protocol version argument given."),
            (["-x", "a"], "session-expiry-interval not a number."),
            (["-x", "4294967296"], "session-expiry-interval out of range."),
            (["-k", "4"], "Invalid keepalive given, it must be between 5 and 65535 inclusive."),
            (
                ["-t", "a#"],
                "Invalid subscription topic 'a#', are all '+' and '#' wildcards correct?",
            ),
            (["-F", "%z"], "Invalid format specifier 'z'."),
        ] {
            assert_eq!(wrong(Tool::Sub, &given), what);
        }
    }

    #[test]
    fn properties_go_to_their_packets_and_mean_mqtt_5() {
        let given = ["-D", "Publish", "Content-Type", "x"];
        let config = read(Tool::Pub, &given).expect("valid");
        assert_eq!(config.version, Version::V5);
        let publish = config.properties.publish.as_properties();
        assert_eq!(publish.str(mogi_codec::PropertyId::ContentType), Some("x"));
        for (given, what) in [
            ("bogus content-type x", "Invalid command bogus given in --property argument."),
            ("publish bogus x", "Invalid property name bogus given in --property argument."),
            (
                "connect content-type x",
                "content-type property not allowed for connect in --property argument.",
            ),
            (
                "puback reason-string x",
                "reason-string property not supported for puback in --property argument.",
            ),
            (
                "publish topic-alias 65536",
                "Property value (65536) out of range for property topic-alias.",
            ),
            ("publish topic-alias 0", "Property topic-alias of publish is wrong: topic alias 0."),
        ] {
            let given: Vec<_> = ["-D"].into_iter().chain(given.split(' ')).collect();
            assert_eq!(wrong(Tool::Pub, &given), what);
        }
    }

    #[test]
    fn options_files_have_a_flag_on_each_line() {
        let mut config = Config::new(Tool::Pub);
        let text = b"# comment\n\n  -i  two blanks \r\n-r\n-m a # b\n\
            -D publish user-property k v w\n-q 1";
        read_file(&mut config, text).expect("valid");
        assert_eq!(config.client_id.as_deref(), Some(" two blanks "));
        assert!(config.retain);
        let payload = crate::config::Payload::Bytes(b"a # b".to_vec());
        assert_eq!(config.payload, Some(payload));
        let user = config.properties.publish.as_properties().iter().next();
        let pair = mogi_codec::properties::Value::Pair("k", "v w");
        assert_eq!(user.map(|it| it.value), Some(pair));
        assert_eq!(config.qos, QoS::AtLeastOnce);
        let extra = read_file(&mut config, b"-r extra\n");
        assert_eq!(extra, Err(Stop::wrong("Unknown option 'extra'.")));
    }

    #[test]
    fn an_options_file_is_found_among_the_arguments() {
        let find = |text: &[&str]| explicit_file(Tool::Pub, &args(text));
        let file = |path| Ok(Some(PathBuf::from(path)));
        assert_eq!(find(&["-t", "a", "-o", "f"]), file("f"));
        assert_eq!(find(&["-m", "-o", "-i", "f"]), Ok(None));
        let twice = Stop::wrong("Duplicate -o argument given.");
        assert_eq!(find(&["-o", "f", "-o", "f"]), Err(twice));
    }
}
