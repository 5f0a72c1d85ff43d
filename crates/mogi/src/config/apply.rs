//! Options that are more than a switch, a number or a text.

use super::builder::{Builder, fill};
use super::value::{Line, Problem};
use super::{ClusterListener, Listener, reader};
use crate::log::{Destination, LogType};
use mogi_core::LogKind;
use mogi_store::{OnDamage, Sync};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

type Outcome = Result<(), Problem>;

// The broker.

pub(super) fn include_dir(to: &mut Builder, line: &Line) -> Outcome {
    reader::include(to, line)
}

pub(super) fn message_size_limit(to: &mut Builder, line: &Line) -> Outcome {
    to.note(
        LogKind::Notice,
        "Note: It is recommended to replace `message_size_limit` with `max_packet_size`.",
    );
    // As in C, a number below zero is a very large one.
    let value = line.number()? as u32;
    if value > mogi_codec::MAX_REMAINING_LENGTH {
        return Err(line.invalid(value));
    }
    to.config.core.message_size_limit = value;
    Ok(())
}

/// As in Mosquitto a number of any size.
pub(super) fn memory_limit(to: &mut Builder, line: &Line) -> Outcome {
    let word = line.word()?;
    to.config.memory_limit = word.parse().map_err(|_| line.invalid(word))?;
    Ok(())
}

pub(super) fn per_listener_settings(to: &mut Builder, line: &Line) -> Outcome {
    let yes = line.bool()?;
    let set = to.config.security.says_something() || !to.config.plugins.is_empty();
    if yes && set {
        return Err(Problem::new(
            "Error: per_listener_settings must be set before any other security settings.",
        ));
    }
    // What is set stays set.
    to.config.per_listener_settings |= yes;
    Ok(())
}

/// `persistence_sync always`, `persistence_sync interval MILLISECONDS`, `persistence_sync off`.
pub(super) fn persistence_sync(to: &mut Builder, line: &Line) -> Outcome {
    let mut words = line.words();
    let sync = match (words.next(), words.next(), words.next()) {
        (Some("always"), None, _) => Some(Sync::Always),
        (Some("off"), None, _) => Some(Sync::Off),
        (Some("interval"), Some(ms), None) => {
            let ms = ms.parse().ok().filter(|ms| (1..=MAX_SYNC_INTERVAL_MS).contains(ms));
            ms.map(|ms| Sync::Interval(Duration::from_millis(ms)))
        }
        _ => None,
    };
    to.config.persistence.sync = sync.ok_or_else(|| {
        Problem::new(format!(
            "Error: '{}' must be always, off, or interval and 1 to {MAX_SYNC_INTERVAL_MS} \
             milliseconds.",
            line.name
        ))
    })?;
    Ok(())
}

const MAX_SYNC_INTERVAL_MS: u64 = 3_600_000;

/// `persistence_on_damage continue` or `persistence_on_damage stop`.
pub(super) fn persistence_on_damage(to: &mut Builder, line: &Line) -> Outcome {
    to.config.persistence.on_damage = match line.text()? {
        "continue" => OnDamage::SetAside,
        "stop" => OnDamage::Stop,
        other => return Err(line.invalid(other)),
    };
    Ok(())
}

/// A number and a unit. As in Mosquitto the number ends with its last digit, and the unit is the
/// word's last character.
pub(super) fn persistent_client_expiration(to: &mut Builder, line: &Line) -> Outcome {
    let word = line.word()?;
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    // Digits alone fail to be a number only by being too many.
    let count: u64 = word[..digits].parse().unwrap_or(if digits == 0 { 0 } else { u64::MAX });
    let unit_s = match word.as_bytes().last() {
        Some(b's') => 1,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        Some(b'w') => 7 * 86_400,
        Some(b'm') => 30 * 86_400,
        Some(b'y') => 365 * 86_400,
        _ => 0,
    };
    if count == 0 || unit_s == 0 {
        return Err(Problem::new(format!(
            "Error: Invalid '{}' duration in configuration.",
            line.name
        )));
    }
    let seconds = u32::try_from(count.saturating_mul(unit_s)).unwrap_or(u32::MAX);
    to.config.core.persistent_client_expiration_s = Some(seconds);
    Ok(())
}

pub(super) fn retain_expiry_interval(to: &mut Builder, line: &Line) -> Outcome {
    const MAX_MINUTES: i32 = 10_000_000;
    let minutes = line.number()?;
    if minutes < 1 {
        return Err(Problem::new("Error: retain_expiry_interval must be >= 1."));
    }
    if minutes > MAX_MINUTES {
        let text = "Warning: retain_expiry_interval being capped at 19 years.";
        to.note(LogKind::Warning, text);
    }
    to.config.retain_expiry_interval_s = Some(minutes.min(MAX_MINUTES) as u64 * 60);
    Ok(())
}

pub(super) fn dhparamfile(to: &mut Builder, _: &Line) -> Outcome {
    to.note(LogKind::Warning, "Warning: dhparamfile is no longer required.");
    Ok(())
}

pub(super) fn retry_interval(to: &mut Builder, line: &Line) -> Outcome {
    let text = format!("Warning: The '{}' option is no longer available.", line.name);
    to.note(LogKind::Warning, text);
    Ok(())
}

// The log.

pub(super) fn log_type(to: &mut Builder, line: &Line) -> Outcome {
    let word = line.word()?;
    let Some(types) = LogType::bits_of(word) else {
        return Err(line.invalid(word));
    };
    to.config.log.add_types(types);
    Ok(())
}

pub(super) fn log_dest(to: &mut Builder, line: &Line) -> Outcome {
    let kind = line.word()?;
    let log = &mut to.config.log;
    let destination = match kind {
        "none" => {
            log.destinations = Some(Vec::new());
            return Ok(());
        }
        "stdout" => Destination::Stdout,
        "stderr" => Destination::Stderr,
        "syslog" => Destination::Syslog,
        "topic" => Destination::Topic,
        "file" => {
            let path = line.behind_first_word();
            if path.is_empty() {
                return Err(Problem::new("Error: Empty \"log_dest file\" value in configuration."));
            }
            let mut so_far = log.destinations.iter().flatten();
            if so_far.any(|one| matches!(one, Destination::File(_))) {
                return Err(Problem::new("Error: Duplicate \"log_dest file\" value."));
            }
            Destination::File(PathBuf::from(path))
        }
        "dlt" => {
            return Err(Problem::new(
                "Error: 'log_dest dlt' is not built into mogi. Use syslog, stderr or a file.",
            ));
        }
        other => return Err(line.invalid(other)),
    };
    let destinations = log.destinations.get_or_insert_default();
    if !destinations.contains(&destination) {
        destinations.push(destination);
    }
    Ok(())
}

// Who may come in.

pub(super) fn allow_anonymous(to: &mut Builder, line: &Line) -> Outcome {
    if to.config.per_listener_settings {
        to.note(
            LogKind::Notice,
            "You are using the 'allow_anonymous' option with 'per_listener_settings true'. Please \
             replace this with 'listener_allow_anonymous'.",
        );
    }
    to.security().allow_anonymous = Some(line.bool()?);
    Ok(())
}

pub(super) fn auto_id_prefix(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.security().auto_id_prefix, line, &line.name)?;
    check_prefix(line, &line.name)
}

pub(super) fn listener_auto_id_prefix(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.listener().own.auto_id_prefix, line, &line.name)?;
    check_prefix(line, &format!("'{}'", line.name))
}

fn check_prefix(line: &Line, what: &str) -> Outcome {
    const MAX_BYTES: usize = 50;
    if line.text()?.len() > MAX_BYTES {
        return Err(Problem::new(format!("Error: {what} length must be <= {MAX_BYTES}.")));
    }
    Ok(())
}

// Listeners.

pub(super) fn listener(to: &mut Builder, line: &Line) -> Outcome {
    let port = line.number_of("listener port")?;
    // Here alone what follows a word that begins with # is a comment.
    let host = line.words().nth(1).filter(|word| !word.starts_with('#'));
    if port == 0 {
        let Some(path) = host else {
            let text = "Error: A listener with port 0 must provide a Unix socket path.";
            return Err(Problem::new(text));
        };
        let unix = Some(path.to_owned());
        to.begin_listener(Listener { unix, ..Listener::new(0, None, line.place.clone()) });
    } else {
        let port = check_port(port)?;
        to.begin_listener(Listener::new(port, host, line.place.clone()));
    }
    to.open = true;
    Ok(())
}

/// `cluster_bridges one|each`.
pub(super) fn cluster_bridges(to: &mut Builder, line: &Line) -> Outcome {
    to.config.cluster.bridges_each = match line.text()? {
        "one" => false,
        "each" => true,
        other => return Err(Problem::new(format!("Error: Invalid cluster_bridges '{other}'."))),
    };
    Ok(())
}

/// `cluster_listener PORT [ADDRESS]`.
pub(super) fn cluster_listener(to: &mut Builder, line: &Line) -> Outcome {
    let port = check_port(line.number_of("cluster_listener port")?)?;
    let host = line.words().nth(1).map(str::to_owned);
    let place = line.place.clone();
    to.config.cluster.listener = Some(ClusterListener { port, host, place });
    Ok(())
}

pub(super) fn port(to: &mut Builder, line: &Line) -> Outcome {
    // Mosquitto says so whenever there is a `port`, scripts may wait for it.
    to.note(
        LogKind::Warning,
        "Warning: Default listener port specified multiple times. Only the latest will be used.",
    );
    to.listener().port = check_port(line.number()?)?;
    to.open = true;
    Ok(())
}

fn check_port(port: i32) -> Result<u16, Problem> {
    let valid = u16::try_from(port).ok().filter(|&port| port > 0);
    valid.ok_or_else(|| Problem::new(format!("Error: Invalid 'port' value ({port}).")))
}

pub(super) fn bind_address(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.listener().host, line, "default listener bind_address")?;
    to.open = true;
    let host = line.text()?;
    (host, 0).to_socket_addrs().map(drop).map_err(|error| {
        Problem::new(format!("Error: Error resolving bind_address: {}.", crate::log::why(&error)))
    })
}

pub(super) fn socket_domain(to: &mut Builder, line: &Line) -> Outcome {
    to.listener().only_ipv6 = Some(match line.word()? {
        "ipv4" => false,
        "ipv6" => true,
        other => {
            let text = format!("Error: Invalid '{}' value '{other}' in configuration.", line.name);
            return Err(Problem(text));
        }
    });
    Ok(())
}

/// Versions Mosquitto does not know it leaves out without a word; so do we, with one.
pub(super) fn accept_protocol_versions(to: &mut Builder, line: &Line) -> Outcome {
    let text = line.text()?;
    let mut words = text.split([',', ' ']).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_none() {
        return Err(Problem::new(format!("Error: Empty '{}' value in configuration.", line.name)));
    }
    let mut versions = 0;
    for word in words {
        match word {
            "3" => versions |= 1 << 3,
            "4" => versions |= 1 << 4,
            "5" => versions |= 1 << 5,
            other => to.config.doubts.push(format!(
                "'{}' knows 3, 4 and 5, for MQTT 3.1, 3.1.1 and 5.0, and not '{other}' ({}).",
                line.name, line.place
            )),
        }
    }
    to.listener().accept_versions = versions;
    Ok(())
}

pub(super) fn mount_point(to: &mut Builder, line: &Line) -> Outcome {
    let text = line.text()?;
    if text.contains(['+', '#']) {
        return Err(Problem::new(format!(
            "Error: Invalid '{}' value ({text}). Does it contain a wildcard character?",
            line.name
        )));
    }
    to.listener().mount_point = Some(text.to_owned());
    Ok(())
}
