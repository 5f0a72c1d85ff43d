//! What each option does to the configuration.

use super::Builder;
use super::value::{Line, Problem};
use crate::log::{Destination, LogType};
use mogi_codec::QoS;
use std::path::PathBuf;

/// Applies one line.
pub(crate) type Apply = fn(&mut Builder, &Line<'_>) -> Result<(), Problem>;

type Outcome = Result<(), Problem>;

macro_rules! bools {
    ($($name:ident => $($field:ident).+;)*) => {
        $(pub(crate) fn $name(to: &mut Builder, line: &Line<'_>) -> Outcome {
            to.config.$($field).+ = line.bool()?;
            Ok(())
        })*
    };
}

bools! {
    allow_duplicate_messages => core.allow_duplicate_messages;
    connection_messages => core.connection_messages;
    log_timestamp => log.timestamp;
    queue_qos0_messages => core.queue_qos0_messages;
    retain_available => core.retain_available;
    upgrade_outgoing_qos => core.upgrade_outgoing_qos;
}

macro_rules! numbers {
    ($($name:ident: $low:expr, $high:expr => $to:ident, $value:ident, $set:expr;)*) => {
        $(pub(crate) fn $name($to: &mut Builder, line: &Line<'_>) -> Outcome {
            let $value = line.int($low, $high)?;
            $set;
            Ok(())
        })*
    };
}

const ANY: i64 = i64::MAX;

numbers! {
    connect_timeout: 1, 3600 => to, n, to.config.connect_timeout_ms = n as u64 * 1000;
    connection_buffer_limit: 65_536, ANY => to, n,
        to.config.core.connection_buffer_limit = n as usize;
    log_facility: 0, 7 => to, n, to.config.log.facility = Some(n as u8);
    max_inflight_bytes: 0, ANY => to, n, to.config.core.max_inflight_bytes = n as u64;
    max_keepalive: 0, 65_535 => to, n, to.config.core.max_keepalive_s = n as u16;
    max_retained_messages: 0, ANY => to, n, to.config.core.max_retained_messages = n as usize;
    max_subscriptions_per_client: 0, ANY => to, n,
        to.config.core.max_subscriptions_per_client = n as usize;
    max_topic_levels: 0, 65_535 => to, n, to.config.core.max_topic_levels = n as usize;
    receive_maximum_tolerance: 0, 65_535 => to, n,
        to.config.core.receive_maximum_tolerance = n as u32;
    route_cache_bytes: 1, ANY => to, n, to.config.core.route_cache_bytes = n as usize;
    route_cache_topics: 1, ANY => to, n, to.config.core.route_cache_topics = n as usize;
    send_timeout: 0, 86_400 => to, n, to.config.core.send_timeout_ms = n as u64 * 1000;
    sys_interval: 0, 65_535 => to, n, to.config.sys_interval_s = n as u64;
    worker_threads: 0, 64 => to, n, to.config.worker_threads = n as u16;
}

/// Numbers of which everything below zero means "any number".
fn unlimited(line: &Line<'_>) -> Result<Option<usize>, Problem> {
    let value = line.int(i64::MIN, ANY)?;
    Ok(usize::try_from(value).ok())
}

pub(crate) fn global_max_clients(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.config.core.global_max_clients = unlimited(line)?;
    Ok(())
}

pub(crate) fn global_max_connections(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.config.max_connections = unlimited(line)?;
    Ok(())
}

pub(crate) fn max_connections(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let limit = unlimited(line)?;
    to.listener_or_default(line).max_connections = limit;
    Ok(())
}

pub(crate) fn max_inflight_messages(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let value = line.int(i64::MIN, ANY)?;
    to.config.core.max_inflight_messages = u16::try_from(value.max(0)).unwrap_or(0);
    Ok(())
}

pub(crate) fn max_queued_messages(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.config.core.max_queued_messages = unlimited(line)?.unwrap_or(0);
    Ok(())
}

pub(crate) fn max_queued_bytes(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.config.core.max_queued_bytes = unlimited(line)?.unwrap_or(0) as u64;
    Ok(())
}

pub(crate) fn max_packet_size(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let value = line.int(i64::MIN, ANY)?;
    if value < 20 {
        return Err(Problem::new("Error: 'max_packet_size' must be >= 20."));
    }
    to.config.core.max_packet_size = value.min(268_435_460) as u32;
    Ok(())
}

pub(crate) fn message_size_limit(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.note("Note: It is recommended to replace `message_size_limit` with `max_packet_size`.");
    to.config.core.message_size_limit = line.int(0, 268_435_455)? as u32;
    Ok(())
}

pub(crate) fn retain_expiry_interval(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.config.retain_expiry_interval_s = Some(line.int(1, 10_000_000)? as u64 * 60);
    Ok(())
}

pub(crate) fn persistent_client_expiration(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let text = line.text()?;
    let wrong =
        || Problem::new(format!("Error: Invalid '{}' duration in configuration.", line.name));
    let (count, unit) = text.split_at(text.len() - 1);
    let seconds: u64 = match unit {
        "s" => 1,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "m" => 30 * 86_400,
        "y" => 365 * 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = count.trim().parse().ok().filter(|&count| count > 0).ok_or_else(wrong)?;
    let total = count.saturating_mul(seconds);
    to.config.core.persistent_client_expiration_s = Some(u32::try_from(total).unwrap_or(u32::MAX));
    Ok(())
}

pub(crate) fn clientid_prefixes(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.once(line)?;
    to.config.core.clientid_prefixes = Some(line.text()?.to_owned());
    Ok(())
}

pub(crate) fn pid_file(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.once(line)?;
    to.config.pid_file = Some(PathBuf::from(line.text()?));
    Ok(())
}

pub(crate) fn user(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.once(line)?;
    to.config.user = line.text()?.to_owned();
    Ok(())
}

pub(crate) fn persistence(_: &mut Builder, line: &Line<'_>) -> Outcome {
    if line.bool()? {
        return Err(Problem::new(format!(
            "Error: '{} true' is not built into mogi yet: its state lives in memory. Remove the \
             line or set it to false.",
            line.name
        )));
    }
    Ok(())
}

pub(crate) fn per_listener_settings(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.note(
        "The 'per_listener_settings' option is now deprecated and will be removed in version 3.0. \
         Please see the documentation for how to achieve the same effect.",
    );
    to.config.per_listener_settings = line.bool()?;
    Ok(())
}

// Security options: for all listeners, or for the one above under per_listener_settings.

pub(crate) fn allow_anonymous(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.security(line).allow_anonymous = Some(line.bool()?);
    Ok(())
}

pub(crate) fn allow_zero_length_clientid(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.security(line).allow_zero_length_clientid = Some(line.bool()?);
    Ok(())
}

pub(crate) fn auto_id_prefix(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.security(line).auto_id_prefix = Some(id_prefix(line)?);
    Ok(())
}

fn id_prefix(line: &Line<'_>) -> Result<String, Problem> {
    let text = line.text()?;
    if text.len() > 50 {
        let name = line.name;
        return Err(Problem::new(format!("Error: '{name}' length should be <= 50.")));
    }
    Ok(text.to_owned())
}

// Listeners.

pub(crate) fn listener(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let Some(port) = line.words().next() else {
        return Err(Problem::new("Error: Empty 'listener port' value in configuration."));
    };
    let Some(port) = super::value::integer(port) else {
        return Err(Problem::new("Error: 'listener port' value not a number."));
    };
    if port == 0 {
        let what = match line.words().nth(1) {
            None => "Error: A listener with port 0 must provide a Unix socket path.",
            Some(_) => "Error: Unix socket listeners are not built into mogi yet.",
        };
        return Err(Problem::new(what));
    }
    let port = check_port(port)?;
    let host = line.words().nth(1).filter(|word| !word.starts_with('#'));
    to.begin_listener(port, host, line);
    Ok(())
}

pub(crate) fn port(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let port = check_port(line.int(i64::MIN, ANY)?)?;
    to.default_listener(line).port = port;
    Ok(())
}

fn check_port(port: i64) -> Result<u16, Problem> {
    let valid = u16::try_from(port).ok().filter(|&port| port > 0);
    valid.ok_or_else(|| Problem::new(format!("Error: Invalid 'port' value ({port}).")))
}

pub(crate) fn bind_address(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.once(line)?;
    to.default_listener(line).host = Some(line.text()?.to_owned());
    Ok(())
}

pub(crate) fn bind_interface(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.listener_or_default(line).interface = Some(line.text()?.to_owned());
    Ok(())
}

pub(crate) fn socket_domain(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let ipv6 = match line.text()? {
        "ipv4" => false,
        "ipv6" => true,
        other => return Err(line.invalid(other)),
    };
    to.listener_or_default(line).only_ipv6 = Some(ipv6);
    Ok(())
}

pub(crate) fn protocol(to: &mut Builder, line: &Line<'_>) -> Outcome {
    match line.text()? {
        "mqtt" => {
            to.listener_or_default(line);
            Ok(())
        }
        kind @ ("websockets" | "http_api") => Err(Problem::new(format!(
            "Error: 'protocol {kind}' is not built into mogi yet. Remove the listener."
        ))),
        other => {
            to.listener_or_default(line);
            Err(line.invalid(other))
        }
    }
}

pub(crate) fn max_qos(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let listener = to.listener_or_default(line);
    let value = line.int(0, 2)?;
    listener.max_qos = QoS::from_u8(value as u8).unwrap_or_default();
    Ok(())
}

pub(crate) fn use_username_as_clientid(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let listener = to.listener_or_default(line);
    listener.use_username_as_clientid = line.bool()?;
    Ok(())
}

pub(crate) fn accept_protocol_versions(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let listener = to.listener(line)?;
    let mut versions = 0;
    for word in line.text()?.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
        versions |= match word {
            "3" => 1 << 3,
            "4" => 1 << 4,
            "5" => 1 << 5,
            other => return Err(line.invalid(other)),
        };
    }
    listener.accept_versions = versions;
    Ok(())
}

pub(crate) fn listener_allow_anonymous(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.listener(line)?.own.allow_anonymous = Some(line.bool()?);
    Ok(())
}

pub(crate) fn listener_auto_id_prefix(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.listener(line)?.own.auto_id_prefix = Some(id_prefix(line)?);
    Ok(())
}

pub(crate) fn max_topic_alias(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let listener = to.listener(line)?;
    listener.max_topic_alias = line.int(0, 65_535)? as u16;
    Ok(())
}

pub(crate) fn max_topic_alias_broker(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let listener = to.listener(line)?;
    listener.max_topic_alias_broker = line.int(0, 65_535)? as u16;
    Ok(())
}

pub(crate) fn mount_point(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let listener = to.listener(line)?;
    let text = line.text()?;
    if mogi_codec::topic::check_name(text).is_err() {
        return Err(Problem::new(format!(
            "Error: Invalid 'mount_point' value ({text}). Does it contain a wildcard character?"
        )));
    }
    listener.mount_point = Some(text.to_owned());
    Ok(())
}

pub(crate) fn include_dir(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.include(line.text()?)
}

// The log.

pub(crate) fn log_type(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let text = line.text()?;
    let types = &mut to.config.log.types;
    let so_far = types.unwrap_or(0);
    *types = Some(match text {
        "none" => 0,
        "all" => LogType::ALL,
        name => match LogType::by_name(name) {
            Some(kind) => so_far | kind as u32,
            None => return Err(line.invalid(name)),
        },
    });
    Ok(())
}

pub(crate) fn log_dest(to: &mut Builder, line: &Line<'_>) -> Outcome {
    let mut words = line.text()?.splitn(2, [' ', '\t']);
    let kind = words.next().unwrap_or_default();
    let destination = match kind {
        "none" => {
            to.config.log.destinations = Some(Vec::new());
            return Ok(());
        }
        "stdout" => Destination::Stdout,
        "stderr" => Destination::Stderr,
        "syslog" => Destination::Syslog,
        "topic" => Destination::Topic,
        "file" => {
            let path = words.next().map(str::trim).filter(|path| !path.is_empty());
            let Some(path) = path else {
                return Err(Problem::new("Error: Empty \"log_dest file\" value in configuration."));
            };
            Destination::File(PathBuf::from(path))
        }
        "dlt" | "android" => {
            return Err(Problem::new(format!(
                "Error: 'log_dest {kind}' is not available in mogi. Use syslog, stderr or a file."
            )));
        }
        other => return Err(line.invalid(other)),
    };
    to.config.log.destinations.get_or_insert_default().push(destination);
    Ok(())
}

pub(crate) fn log_timestamp_format(to: &mut Builder, line: &Line<'_>) -> Outcome {
    to.config.log.timestamp_format = Some(line.text()?.to_owned());
    Ok(())
}
