//! Options of bridges that are more than a switch, a number or a text.

use super::bridge::Bridge;
use super::builder::{Builder, fill};
use super::value::{Line, Problem};
use crate::bridge::plan::{Address, Restart, StartType, TcpKeepAlive};
use crate::bridge::topics::{BadRule, Direction, Rule};
use mogi_codec::{QoS, Version};
use mogi_core::LogKind;

type Outcome = Result<(), Problem>;

/// A `topic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicLine {
    pub(crate) pattern: String,
    direction: Direction,
    qos: QoS,
    local: String,
    remote: String,
    /// `FILE:LINE`.
    pub(crate) place: String,
}

impl TopicLine {
    pub(crate) fn rule(&self) -> Result<Rule, BadRule> {
        Rule::new(&self.pattern, self.direction, self.qos, &self.local, &self.remote)
    }
}

pub(super) fn connection(to: &mut Builder, line: &Line) -> Outcome {
    let name = line.text()?.to_owned();
    if to.config.bridges.iter().any(|bridge| bridge.name == name) {
        return Err(Problem(format!("Error: Duplicate bridge name '{name}'.")));
    }
    to.begin_bridge(Bridge::new(name, line.place.clone()));
    Ok(())
}

/// `HOST[:PORT]`, several of them; a word that begins with # begins a comment.
pub(super) fn addresses(to: &mut Builder, line: &Line) -> Outcome {
    if !to.bridge().addresses.is_empty() {
        return Err(Problem::new(
            "Error: Invalid bridge configuration, 'address' only allowed once.",
        ));
    }
    for word in line.words().take_while(|word| !word.starts_with('#')) {
        let address = address(word)?;
        to.bridge().addresses.push(address);
    }
    if to.bridge().addresses.is_empty() {
        return Err(Problem::new("Error: Empty address value in configuration."));
    }
    Ok(())
}

/// The port stands behind the last colon, so that IPv6 addresses need one. Brackets around them
/// are ours.
fn address(word: &str) -> Result<Address, Problem> {
    let (host, port) = match word.rsplit_once(':') {
        Some((host, _)) if word.ends_with(']') && !host.is_empty() => (word, 1883),
        Some((host, port)) => {
            let number = port.parse::<u16>().unwrap_or(0);
            if number == 0 {
                let shown = port.parse::<i64>().unwrap_or(0);
                return Err(Problem(format!("Error: Invalid bridge port value ({shown}).")));
            }
            (host, number)
        }
        None => (word, 1883),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok(Address { host: bare.to_owned(), port })
}

/// `PATTERN [[[out | in | both] QOS] LOCAL REMOTE]`.
pub(super) fn topic(to: &mut Builder, line: &Line) -> Outcome {
    let mut words = topic_words(line.verbatim()?).into_iter();
    let Some(pattern) = words.next() else {
        return Err(Problem::new("Error: Empty 'topic' value in configuration."));
    };
    let direction = match words.next() {
        None => Direction::Out,
        Some(word) if word.eq_ignore_ascii_case("out") => Direction::Out,
        Some(word) if word.eq_ignore_ascii_case("in") => Direction::In,
        Some(word) if word.eq_ignore_ascii_case("both") => Direction::Both,
        Some(word) => {
            return Err(Problem(format!("Error: Invalid bridge topic direction '{word}'.")));
        }
    };
    let qos = match words.next() {
        None => QoS::AtMostOnce,
        Some(word) => qos(&word)
            .ok_or_else(|| Problem(format!("Error: Invalid bridge QoS level '{word}'.")))?,
    };
    let (local, remote) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let place = line.place.clone();
    let topic = TopicLine { pattern, direction, qos, local, remote, place };
    let TopicLine { pattern, local, remote, .. } = &topic;
    let mapped = !local.is_empty() || !remote.is_empty();
    match topic.rule() {
        // Mosquitto takes it, and it carries nothing: that is said when all is read.
        Err(BadRule::Local | BadRule::Remote) if !mapped => {}
        Err(bad) => {
            let both = "prefix and pattern combination";
            return Err(Problem(match bad {
                BadRule::Remapping => "Error: Invalid bridge remapping.".to_owned(),
                BadRule::LocalPrefix => {
                    format!("Error: Invalid bridge topic local prefix '{local}'.")
                }
                BadRule::RemotePrefix => {
                    format!("Error: Invalid bridge topic remote prefix '{remote}'.")
                }
                BadRule::Local => {
                    format!("Error: Invalid bridge topic local {both} '{local}{pattern}'.")
                }
                BadRule::Remote => {
                    format!("Error: Invalid bridge topic remote {both} '{remote}{pattern}'.")
                }
            }));
        }
        Ok(_) => {}
    }
    to.bridge().topics.push(topic);
    Ok(())
}

/// As C reads a number: digits at the beginning, and 0 where there are none.
fn qos(word: &str) -> Option<QoS> {
    QoS::from_u8(u8::try_from(leading_number(word)).ok()?)
}

fn leading_number(word: &str) -> i64 {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    let len = digits.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = digits[..len].parse().unwrap_or(if len == 0 { 0 } else { i64::MAX });
    if word.starts_with('-') { -number } else { number }
}

/// Words between blanks. One that begins with a quotation mark ends with the next one.
fn topic_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_matches([' ', '\t']);
    while !rest.is_empty() {
        let quoted = rest.strip_prefix('"').and_then(|behind| behind.split_once('"'));
        let (word, behind) = match quoted {
            Some(both) => both,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start_matches(' ');
    }
    words
}

pub(super) fn bridge_protocol_version(to: &mut Builder, line: &Line) -> Outcome {
    to.bridge().version = match line.text()? {
        "mqttv31" => Version::V31,
        "mqttv311" => Version::V311,
        "mqttv50" => Version::V5,
        other => return Err(line.invalid(other)),
    };
    Ok(())
}

pub(super) fn bridge_reload_type(to: &mut Builder, line: &Line) -> Outcome {
    to.bridge().reload_at_once = match line.word()? {
        "lazy" => false,
        "immediate" => true,
        other => return Err(not_in_configuration(line, other)),
    };
    Ok(())
}

pub(super) fn start_type(to: &mut Builder, line: &Line) -> Outcome {
    to.bridge().start = match line.word()? {
        "automatic" => StartType::Automatic,
        "lazy" => StartType::Lazy,
        "once" => StartType::Once,
        "manual" => return Err(Problem::new("Error: Manual start_type not supported.")),
        other => return Err(not_in_configuration(line, other)),
    };
    Ok(())
}

fn not_in_configuration(line: &Line, value: &str) -> Problem {
    Problem(format!("Error: Invalid '{}' value in configuration ({value}).", line.name))
}

pub(super) fn bridge_receive_maximum(to: &mut Builder, line: &Line) -> Outcome {
    let value = line.number()?;
    if value <= 0 {
        return Err(Problem::new("Error: bridge_receive_maximum must be greater than 0."));
    }
    let value = u16::try_from(value)
        .map_err(|_| Problem::new("Error: bridge_receive_maximum must be lower than 65535."))?;
    to.bridge().receive_maximum = Some(value);
    Ok(())
}

pub(super) fn bridge_tcp_keepalive(to: &mut Builder, line: &Line) -> Outcome {
    let mut words = line.words();
    let mut part = |name: &str, what: &str| {
        let name = format!("bridge_tcp_keepalive_{name}");
        let Some(word) = words.next() else {
            return Err(Problem(format!("Error: Empty '{name}' value in configuration.")));
        };
        let number: i64 =
            word.parse().map_err(|_| Problem(format!("Error: '{name}' value not a number.")))?;
        // The system takes no more.
        let valid = u32::try_from(number).ok().filter(|number| (1..=32_767).contains(number));
        valid.ok_or_else(|| Problem(format!("Error: invalid TCP keepalive {what} value.")))
    };
    let idle_s = part("idle", "idle")?;
    let interval_s = part("interval", "interval")?;
    let count = part("counter", "counter")?;
    to.bridge().tcp_keep_alive = Some(TcpKeepAlive { idle_s, interval_s, count });
    Ok(())
}

pub(super) fn keepalive_interval(to: &mut Builder, line: &Line) -> Outcome {
    let value = line.number()?;
    if value > i32::from(u16::MAX) {
        return Err(Problem::new("Error: Bridge keepalive value too high."));
    }
    to.bridge().keep_alive_s =
        at_least(to, value, 5, "keepalive interval too low, using 5 seconds.") as u16;
    Ok(())
}

pub(super) fn idle_timeout(to: &mut Builder, line: &Line) -> Outcome {
    let text = "idle_timeout interval too low, using 1 second.";
    to.bridge().idle_timeout_s = at_least(to, line.number()?, 1, text) as u64;
    Ok(())
}

pub(super) fn threshold(to: &mut Builder, line: &Line) -> Outcome {
    let text = "threshold too low, using 1 message.";
    to.bridge().threshold = at_least(to, line.number()?, 1, text) as usize;
    Ok(())
}

/// `restart_timeout CONSTANT`, `restart_timeout BASE CAP [STABLE]`.
pub(super) fn restart_timeout(to: &mut Builder, line: &Line) -> Outcome {
    const MAX_BASE_S: i64 = 3600;
    const MAX_CAP_S: i64 = 7200;
    line.word()?;
    let mut words = line.words().map(leading_number);
    let base = words.next().unwrap_or_default();
    if base < 1 {
        to.note(LogKind::Notice, "restart_timeout interval too low, using 1 second.");
    }
    if base > MAX_BASE_S {
        to.note(LogKind::Notice, "restart_timeout interval too high, using 3600 seconds.");
    }
    let base = base.clamp(1, MAX_BASE_S);
    let cap = words.next();
    if cap.is_some_and(|cap| cap < base) {
        return Err(Problem::new("Error: backoff cap is lower than the base in restart_timeout."));
    }
    if cap.is_some_and(|cap| cap > MAX_CAP_S) {
        to.note(LogKind::Error, "Error: backoff cap too high, using 7200 seconds.");
    }
    let stable = words.next().unwrap_or_default().clamp(0, MAX_CAP_S);
    to.bridge().restart = Restart {
        base_s: base as u32,
        cap_s: cap.map(|cap| cap.min(MAX_CAP_S) as u32),
        stable_s: stable as u32,
    };
    Ok(())
}

/// `value`, or the least that is possible, of which a note tells.
fn at_least(to: &mut Builder, value: i32, least: i32, text: &str) -> i32 {
    if value < least {
        to.note(LogKind::Notice, text);
    }
    value.max(least)
}

pub(super) fn remote_clientid(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.bridge().remote_clientid, line, "bridge remote clientid")
}

pub(super) fn remote_username(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.bridge().remote_username, line, "bridge remote_username")
}

pub(super) fn remote_password(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.bridge().remote_password, line, "bridge remote_password")
}

pub(super) fn local_clientid(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.bridge().local_clientid, line, "bridge local clientd")
}

pub(super) fn local_username(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.bridge().local_username, line, "bridge local_username")
}

pub(super) fn local_password(to: &mut Builder, line: &Line) -> Outcome {
    fill(&mut to.bridge().local_password, line, "bridge local_password")
}
