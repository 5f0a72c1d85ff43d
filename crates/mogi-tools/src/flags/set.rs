//! Settings that need more than a line.

use super::Stop;
use super::value::Values;
use crate::config::{Config, Payload};
use crate::format::Template;
use mogi_codec::topic::{check_filter, check_name};
use mogi_codec::{QoS, RetainHandling, Version};
use std::time::Duration;

type Result = std::result::Result<(), Stop>;

pub(super) fn publish_topic(config: &mut Config, topic: &str) -> Result {
    name("publish", topic)?;
    config.topics.push(topic.to_owned());
    Ok(())
}

pub(super) fn response_topic(config: &mut Config, topic: &str) -> Result {
    name("response", topic)?;
    config.response_topic = Some(topic.to_owned());
    Ok(())
}

pub(super) fn will_topic(config: &mut Config, topic: &str) -> Result {
    name("will", topic)?;
    config.will.topic = Some(topic.to_owned());
    Ok(())
}

fn name(what: &str, topic: &str) -> Result {
    check_name(topic).map_err(|_| {
        Stop::Wrong(format!("Invalid {what} topic '{topic}', does it contain '+' or '#'?"))
    })
}

pub(super) fn filter(config: &mut Config, filter: &str) -> Result {
    wildcards("subscription", filter)?;
    config.topics.push(filter.to_owned());
    Ok(())
}

pub(super) fn filter_out(config: &mut Config, filter: &str) -> Result {
    wildcards("filter", filter)?;
    config.filter_out.push(filter.to_owned());
    Ok(())
}

pub(super) fn unsubscribe(config: &mut Config, filter: &str) -> Result {
    wildcards("unsubscribe", filter)?;
    config.unsubscribe.push(filter.to_owned());
    Ok(())
}

fn wildcards(what: &str, filter: &str) -> Result {
    check_filter(filter).map_err(|_| {
        let hint = if filter.starts_with("$share") {
            "a shared subscription is $share/NAME/FILTER."
        } else {
            "are all '+' and '#' wildcards correct?"
        };
        Stop::Wrong(format!("Invalid {what} topic '{filter}', {hint}"))
    })
}

pub(super) fn payload(config: &mut Config, payload: Payload) -> Result {
    if config.payload.is_some() {
        return Err(Stop::wrong("Only one type of message can be sent at once."));
    }
    config.payload = Some(payload);
    Ok(())
}

pub(super) fn qos(it: Values<'_>, wrong: &str) -> std::result::Result<QoS, Stop> {
    let qos = it.int().and_then(|qos| u8::try_from(qos).ok());
    qos.and_then(QoS::from_u8).ok_or_else(|| Stop::Wrong(format!("{wrong}{}", it.shown())))
}

pub(super) fn repeat(config: &mut Config, it: Values<'_>) -> Result {
    config.repeat = positive(it).ok_or_else(|| Stop::wrong("--repeat argument must be >0."))?;
    Ok(())
}

pub(super) fn repeat_delay(config: &mut Config, it: Values<'_>) -> Result {
    let delay = it.float().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let wrong = || Stop::wrong("--repeat-delay argument must be >=0.0.");
    config.repeat_delay = delay.ok_or_else(wrong)?;
    Ok(())
}

pub(super) fn count(config: &mut Config, it: Values<'_>) -> Result {
    let wrong = || Stop::Wrong(format!("Invalid message count \"{}\".", it.shown()));
    config.count = Some(positive(it).ok_or_else(wrong)?);
    Ok(())
}

pub(super) fn timeout(config: &mut Config, it: Values<'_>) -> Result {
    let wrong = || Stop::Wrong(format!("Invalid timeout \"{}\".", it.shown()));
    let timeout_s = positive(it).ok_or_else(wrong)?;
    config.timeout = Some(Duration::from_secs(timeout_s.into()));
    Ok(())
}

pub(super) fn inflight_max(config: &mut Config, it: Values<'_>) -> Result {
    let wrong = || Stop::wrong("Maximum inflight messages must be greater than 0.");
    let max = positive(it).ok_or_else(wrong)?;
    // There are no more packet ids than that.
    config.inflight_max = u16::try_from(max).unwrap_or(u16::MAX);
    Ok(())
}

fn positive(it: Values<'_>) -> Option<u32> {
    let value = it.int().filter(|value| *value > 0)?;
    Some(u32::try_from(value).unwrap_or(u32::MAX))
}

pub(super) fn retain_handling(config: &mut Config, it: Values<'_>) -> Result {
    config.retain_handling = match it.bytes() {
        b"always" => RetainHandling::Send,
        b"new" => RetainHandling::SendIfNew,
        b"never" => RetainHandling::DoNotSend,
        _ => {
            return Err(Stop::Wrong(format!(
                "Unknown value '{}' for --retain-handling.",
                it.shown()
            )));
        }
    };
    Ok(())
}

pub(super) fn random_filter(config: &mut Config, it: Values<'_>) -> Result {
    let permille = it.float().map(|percent| (percent * 10.0) as u32);
    let permille = permille.filter(|permille| *permille > 0);
    let wrong = || Stop::wrong("--random-filter chance must be between 0.1-100.0");
    config.random_permille = Some(permille.ok_or_else(wrong)?);
    Ok(())
}

pub(super) fn format(config: &mut Config, it: Values<'_>) -> Result {
    config.format = Some(Template::parse(it.bytes()).map_err(Stop::Wrong)?);
    Ok(())
}

pub(super) fn port(config: &mut Config, it: Values<'_>) -> Result {
    let port = it.int().and_then(|port| u16::try_from(port).ok());
    let wrong = || Stop::Wrong(format!("Invalid port given: {}", it.shown()));
    config.port = Some(port.ok_or_else(wrong)?);
    Ok(())
}

pub(super) fn version(config: &mut Config, it: Values<'_>) -> Result {
    config.version = match it.bytes() {
        b"mqttv31" | b"31" => Version::V31,
        b"mqttv311" | b"311" => Version::V311,
        b"mqttv5" | b"5" => Version::V5,
        _ => {
            return Err(Stop::wrong("Invalid protocol version argument given."));
        }
    };
    Ok(())
}

pub(super) fn keep_alive(config: &mut Config, it: Values<'_>) -> Result {
    let keep_alive = it.int().and_then(|s| u16::try_from(s).ok());
    let keep_alive = keep_alive.filter(|s| *s >= 5);
    let wrong =
        || Stop::wrong("Invalid keepalive given, it must be between 5 and 65535 inclusive.");
    config.keep_alive_s = keep_alive.ok_or_else(wrong)?;
    Ok(())
}

pub(super) fn session_expiry(config: &mut Config, it: Values<'_>) -> Result {
    let expiry_s = match it.bytes() {
        b"\xE2\x88\x9E" => -1,
        _ => it.int().ok_or_else(|| Stop::wrong("session-expiry-interval not a number."))?,
    };
    let expiry_s = match expiry_s {
        -1 => Some(u32::MAX),
        other => u32::try_from(other).ok(),
    };
    let wrong = || Stop::wrong("session-expiry-interval out of range.");
    config.session_expiry_s = Some(expiry_s.ok_or_else(wrong)?);
    config.version = Version::V5;
    Ok(())
}
