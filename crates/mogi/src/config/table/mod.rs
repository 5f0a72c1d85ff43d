//! Every option of mosquitto.conf(5) of Mosquitto 2.1, and mogi's own: the reader, `--list-options`
//! and docs/configuration.md are made of these tables.
//!
//! * `broker`, `security`, `listener`, `bridge`, `plugin`: Mosquitto's, by where they stand
//! * `own`, `access`, `cluster`: mogi's

mod access;
mod bridge;
mod broker;
mod cluster;
mod listener;
mod own;
mod plugin;
mod security;

use super::builder::Builder;
use super::value::{Line, Problem};

/// All options, by what they are about.
pub(crate) const fn sections() -> [(&'static str, &'static [Spec]); 8] {
    [
        ("mogi's own", own::ROWS),
        ("Tokens, services and SCRAM", access::ROWS),
        ("Several brokers on one store", cluster::ROWS),
        ("The broker", broker::ROWS),
        ("Who may come in: all listeners, or one under `per_listener_settings`", security::ROWS),
        ("Listeners", listener::ROWS),
        ("Plugins", plugin::ROWS),
        ("Bridges", bridge::ROWS),
    ]
}

/// All options.
pub(crate) fn all() -> impl Iterator<Item = &'static Spec> {
    sections().into_iter().flat_map(|(_, rows)| rows)
}

/// The option with that name.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    let direct = all().find(|spec| spec.name == name);
    // Options of plugins have any name behind their prefix.
    direct.or_else(|| {
        all().find(|spec| spec.name.strip_suffix('*').is_some_and(|start| name.starts_with(start)))
    })
}

/// One option.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    /// Its value, in words for the reader of the page.
    pub(crate) value: &'static str,
    /// The default as text; "–": there is none.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    /// What Mosquitto's manual does not say; empty: nothing.
    pub(crate) quirk: &'static str,
    /// When a change of the file counts.
    pub(crate) reload: Reload,
    /// What Mosquitto says to replace it with, if it is to go away in version 3.0.
    pub(crate) deprecated: Option<&'static str>,
    pub(crate) status: Status,
}

/// Where an option stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Once for the broker.
    Global,
    /// For the listener above it, or for the default listener, which begins with it.
    Listener,
    /// For the listener above it; it is an error where there is none.
    ListenerAbove,
    /// For the default listener, wherever it stands.
    DefaultListener,
    /// For the broker, or for the listener above it under `per_listener_settings`.
    Security,
    /// For the bridge above it.
    Bridge,
    /// For the plugin above it.
    Plugin,
    /// For the broker; Mosquitto does not know it.
    Mogi,
    /// As `Security`; Mosquitto does not know it.
    Access,
}

/// When a change of the file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// On SIGHUP.
    Signal,
    /// When it is started again.
    Restart,
    /// On SIGHUP, for bridges at the time `bridge_reload_type` says.
    Bridge,
}

/// What mogi does with an option.
#[derive(Clone, Copy)]
pub(crate) enum Status {
    /// It works.
    Works(Kind),
    /// It is read, and has no effect for the given reason.
    NoEffect(Kind, &'static str),
    /// Not built yet: start-up stops, because a broker that leaves it out is not the one the
    /// file asks for. Only the default value is let through.
    NotYet,
}

/// How a value is read.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `true`, `false`, `1` or `0`.
    Bool(fn(&mut Builder, bool)),
    /// A number in C's notation.
    Number(Range, fn(&mut Builder, i32)),
    /// The rest of the line, without the blanks around it; the last one counts.
    Text(fn(&mut Builder, String)),
    /// The same, but a second one is an error.
    TextOnce(fn(&mut Builder) -> &mut Option<String>),
    /// Anything else.
    Other(fn(&mut Builder, &Line) -> Result<(), Problem>),
}

/// The numbers an option takes.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) low: i32,
    pub(crate) high: i32,
    /// What Mosquitto says of other numbers, with `{name}` and `{value}`.
    pub(crate) wrong: &'static str,
}

/// Any number. What those below zero mean is up to the option.
const ANY: Range = Range { low: i32::MIN, high: i32::MAX, wrong: "" };

const fn range(low: i32, high: i32) -> Range {
    Range { low, high, wrong: "Error: Invalid '{name}' value ({value})." }
}

impl Range {
    const fn or(self, wrong: &'static str) -> Self {
        Self { wrong, ..self }
    }
}

/// The values of a [`Kind::Bool`], as the page says it.
const BOOL: &str = "`true` or `false`";

/// Begins a row.
const fn row(
    name: &'static str,
    scope: Scope,
    value: &'static str,
    default: &'static str,
    status: Status,
    doc: &'static str,
) -> Spec {
    let (quirk, reload, deprecated) = ("", Reload::Signal, None);
    Spec { name, scope, value, default, doc, quirk, reload, deprecated, status }
}

impl Spec {
    /// A change needs a restart.
    const fn restart(self) -> Self {
        Self { reload: Reload::Restart, ..self }
    }

    const fn quirk(self, quirk: &'static str) -> Self {
        Self { quirk, ..self }
    }

    const fn deprecated(self, instead: &'static str) -> Self {
        Self { deprecated: Some(instead), ..self }
    }

    /// Whether the line asks for what happens anyway, so that it may stand there even before the
    /// option is built.
    ///
    /// # Errors
    /// It is no value of the option at all.
    pub(crate) fn is_default(&self, line: &Line) -> Result<bool, Problem> {
        Ok(match self.default {
            "true" => line.bool()?,
            "false" => !line.bool()?,
            other => line.words().eq([other]),
        })
    }
}
