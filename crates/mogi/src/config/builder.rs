//! A configuration under construction: which listener a line belongs to, what was there before,
//! and what is to be said about it.

use super::redis::plugin;
use super::table::{Kind, Scope, Spec, Status};
use super::value::{Line, Problem};
use super::{Bridge, Config, Listener, Note, Security, reload};
use crate::cli::Cli;
use crate::log::LogType;
use mogi_core::LogKind;

/// A configuration under construction.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) config: Config,
    /// What is said about the files so far.
    pub(super) notes: Vec<Note>,
    /// Which listener the next line belongs to.
    pub(super) current: Option<usize>,
    /// Whether there is a bridge above the next line, which belongs to the last one then.
    pub(super) in_bridge: bool,
    /// The listener of `port` and `bind_address`, and of options without a listener above them.
    default: Option<usize>,
    /// Which plugin the next option of plugins belongs to.
    pub(super) plugin: Option<usize>,
    /// Whether a line asks for connections from elsewhere.
    pub(super) open: bool,
}

impl Builder {
    /// Applies one line.
    pub(super) fn apply(&mut self, spec: &Spec, line: &Line) -> Result<(), Problem> {
        if plugin::is_of_redis(self, line)? {
            return Ok(());
        }
        self.check_place(spec, line)?;
        if let Some(instead) = spec.deprecated {
            let name = &line.name;
            self.note(
                LogKind::Notice,
                format!(
                    "The '{name}' option is now deprecated and will be removed in version 3.0. \
                     {instead}"
                ),
            );
        }
        match spec.scope {
            Scope::Listener if self.current.is_none() => self.go_to_default_listener(line),
            Scope::DefaultListener => self.go_to_default_listener(line),
            _ => {}
        }
        reload::note(&mut self.config.fixed, spec, line);
        match spec.status {
            Status::Works(kind) | Status::NoEffect(kind, _) => self.set(kind, line),
            Status::NotYet if spec.is_default(line)? => Ok(()),
            Status::NotYet => Err(Problem::new(format!(
                "Error: The '{}' option is not built into mogi yet.",
                line.name
            ))),
        }
    }

    fn set(&mut self, kind: Kind, line: &Line) -> Result<(), Problem> {
        match kind {
            Kind::Bool(set) => set(self, line.bool()?),
            Kind::Number(range, set) => {
                let value = line.number()?;
                if !(range.low..=range.high).contains(&value) {
                    let text = [
                        ("{name}", line.name.clone()),
                        ("{value}", value.to_string()),
                        ("{low}", range.low.to_string()),
                        ("{high}", range.high.to_string()),
                    ];
                    let fill =
                        |so_far: String, (from, to): &(&str, String)| so_far.replace(from, to);
                    return Err(Problem(text.iter().fold(range.wrong.to_owned(), fill)));
                }
                set(self, value);
            }
            Kind::Text(set) => set(self, line.text()?.to_owned()),
            Kind::TextOnce(slot) => fill(slot(self), line, &line.name)?,
            Kind::Other(apply) => return apply(self, line),
        }
        Ok(())
    }

    /// Checks that what the line belongs to stands above it.
    fn check_place(&self, spec: &Spec, line: &Line) -> Result<(), Problem> {
        let name = &line.name;
        let needs = |what: &str| {
            let text = format!("Error: The '{name}' option requires {what} to be defined first.");
            Err(Problem(text))
        };
        match spec.scope {
            Scope::ListenerAbove if self.current.is_none() => needs("a listener"),
            Scope::Security | Scope::Access
                if self.config.per_listener_settings && self.current.is_none() =>
            {
                needs("a listener")
            }
            Scope::Bridge if !self.in_bridge => needs("a bridge"),
            Scope::Plugin if self.plugin.is_some() => Ok(()),
            Scope::Plugin if name == "auth_plugin_deny_special_chars" => Err(Problem(format!(
                "Error: An {name} option exists in the config file without a plugin."
            ))),
            Scope::Plugin => needs("plugin/global_plugin/plugin_load"),
            _ => Ok(()),
        }
    }

    /// Makes the default listener the one the line and the next ones belong to.
    fn go_to_default_listener(&mut self, line: &Line) {
        self.current = self.default;
        if self.current.is_some() {
            return;
        }
        let name = &line.name;
        self.note(
            LogKind::Information,
            format!("Creating default listener due to '{name}' option."),
        );
        self.note(
            LogKind::Information,
            format!(
                "It is best practice to define a 'listener' first. Using the '{name}' option \
                 without a listener will be disabled in the future."
            ),
        );
        self.begin_listener(Listener::new(1883, None, line.place.clone()));
        self.default = self.current;
    }

    /// Adds a listener; the lines that follow belong to it.
    pub(crate) fn begin_listener(&mut self, listener: Listener) {
        self.config.listeners.push(listener);
        self.current = Some(self.config.listeners.len() - 1);
    }

    /// The listener the line belongs to.
    pub(crate) fn listener(&mut self) -> &mut Listener {
        let last = self.config.listeners.len().saturating_sub(1);
        let at = self.current.unwrap_or(last);
        if self.config.listeners.is_empty() {
            self.begin_listener(Listener::new(1883, None, String::new()));
        }
        &mut self.config.listeners[at]
    }

    /// Adds a bridge; the lines that follow belong to it.
    pub(crate) fn begin_bridge(&mut self, bridge: Bridge) {
        self.config.bridges.push(bridge);
        self.in_bridge = true;
    }

    /// The bridge the line belongs to.
    pub(crate) fn bridge(&mut self) -> &mut Bridge {
        if self.config.bridges.is_empty() {
            self.begin_bridge(Bridge::new(String::new(), String::new()));
        }
        let last = self.config.bridges.len() - 1;
        &mut self.config.bridges[last]
    }

    /// Its number.
    pub(super) fn listener_index(&mut self) -> usize {
        self.listener();
        self.current.unwrap_or(self.config.listeners.len() - 1)
    }

    /// The security options the line belongs to.
    pub(crate) fn security(&mut self) -> &mut Security {
        if self.config.per_listener_settings {
            return &mut self.listener().own;
        }
        &mut self.config.security
    }

    /// Something that is said about the file.
    pub(crate) fn note(&mut self, kind: LogKind, text: impl Into<String>) {
        self.notes.push((kind, text.into()));
    }

    /// What follows from the whole: without a listener only this machine may connect.
    pub(super) fn finish(self, cli: &Cli) -> (Config, Vec<Note>) {
        let mut config = self.config;
        if !self.open {
            config.local_only = true;
            config.idle_listener = config.listeners.first().map(|listener| listener.place.clone());
            let ports = if cli.ports.is_empty() { &[1883][..] } else { &cli.ports };
            let local = |&port| Listener::new(port, None, String::new());
            config.listeners = ports.iter().map(local).collect();
        }
        // Containers set it from outside, as they may with Mosquitto.
        if let Ok(dir) = std::env::var("MOSQUITTO_PERSISTENCE_LOCATION") {
            config.persistence.location = Some(dir);
        }
        if let Some(dir) = &cli.data_dir {
            config.persistence.on = true;
            config.persistence.location = Some(dir.clone());
        }
        config.persistence.on |= config.persistence.redis.store.is_some();
        config.core.durable = config.persistence.on;
        if cli.verbose {
            config.log.types = Some(LogType::ALL);
        }
        if cli.quiet {
            config.log.types = Some(0);
        }
        config.tls_keylog.clone_from(&cli.tls_keylog);
        (config, self.notes)
    }
}

/// Puts the line's text where nothing may stand yet. `what` is what Mosquitto's errors call it.
pub(crate) fn fill(slot: &mut Option<String>, line: &Line, what: &str) -> Result<(), Problem> {
    if slot.is_some() && line.verbatim().is_ok() {
        return Err(Problem::new(format!("Error: Duplicate '{what}' value in configuration.")));
    }
    *slot = Some(line.text_of(what)?.to_owned());
    Ok(())
}
