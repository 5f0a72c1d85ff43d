//! What becomes of a configuration that is read again while the broker runs: what of it counts,
//! what waits for a restart, and what cannot be.

use super::table::{self, Reload, Scope};
use super::value::Line;
use super::{Config, Listener, bridge_plans, identity, plan, rights};
use crate::broker::plan::Reloaded;
use std::collections::{BTreeMap, BTreeSet};

/// The lines of options that count after a restart only: name, and what stood behind it and where.
pub(super) type Fixed = BTreeMap<String, Vec<(String, String)>>;

/// Notes a line, if what it says counts after a restart only.
pub(super) fn note(fixed: &mut Fixed, spec: &table::Spec, line: &Line) {
    // That listeners have not changed is looked at apart.
    let door = matches!(spec.name, "listener" | "port" | "bind_address");
    if spec.reload == Reload::Restart && !door {
        let text = line.verbatim().unwrap_or_default().trim().to_owned();
        fixed.entry(line.name.clone()).or_default().push((text, line.place.clone()));
    }
}

/// What the broker takes over of a configuration, and what there is to say about the rest.
///
/// # Errors
/// It cannot be taken over: lines for the log.
pub(crate) fn reload(
    old: &Config,
    mut new: Config,
) -> Result<(Reloaded, Config, Vec<String>), String> {
    check_listeners(old, &new)?;
    if old.per_listener_settings != new.per_listener_settings {
        return Err("Error: 'per_listener_settings' cannot change while the broker runs.".into());
    }
    let warnings = changed(&old.fixed, &new.fixed);
    keep(old, &mut new);
    let reloaded = Reloaded {
        listeners: plan::listener_plans(&new),
        tuning: plan::tuning(&new),
        access: rights::rights(&new)?,
        bridges: bridge_plans(&new),
        commit: Box::new(|| {}),
    };
    Ok((reloaded, new, warnings))
}

/// Listeners stay where they are: as in Mosquitto none comes, goes or moves.
fn check_listeners(old: &Config, new: &Config) -> Result<(), String> {
    let door = |listener: &Listener| (listener.port, listener.host.clone(), listener.unix.clone());
    let (before, after) = (&old.listeners, &new.listeners);
    let same = before.iter().zip(after).take_while(|(old, new)| door(old) == door(new)).count();
    if same == before.len() && same == after.len() && old.local_only == new.local_only {
        return Ok(());
    }
    let place = after.get(same).or_else(|| before.get(same)).map_or("", |it| it.place.as_str());
    Err(format!(
        "Error: It is not currently possible to add/remove listeners when reloading the config \
         file.\nError found at {place}."
    ))
}

/// A line for each option that has changed, and counts after a restart only.
fn changed(old: &Fixed, new: &Fixed) -> Vec<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = Vec::new();
    let mut lines = Vec::new();
    for name in names {
        let (before, after) = (old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none));
        let differs = (0..before.len().max(after.len()))
            .find(|&at| before.get(at).map(|it| &it.0) != after.get(at).map(|it| &it.0));
        let Some(at) = differs else { continue };
        let place = after.get(at).map_or("it is gone", |it| &it.1);
        lines.push(format!(
            "Warning: '{name}' has changed ({place}): that counts after a restart of the broker."
        ));
    }
    lines
}

/// What an option says that counts after a restart only is what it said at the start.
fn keep(old: &Config, new: &mut Config) {
    new.worker_threads = old.worker_threads;
    new.persistence = old.persistence.clone();
    new.cluster = old.cluster.clone();
    new.pid_file.clone_from(&old.pid_file);
    new.user.clone_from(&old.user);
    new.plugins.clone_from(&old.plugins);
    (new.access.threads, new.access.bans) = (old.access.threads, old.access.bans);
    new.access.web = old.access.web.clone();
    new.access.cafile.clone_from(&old.access.cafile);
    new.access.leeway_s = old.access.leeway_s;
    identity::keep(&old.security, &mut new.security);
    new.fixed.clone_from(&old.fixed);
    let (from, to) = (&old.core, &mut new.core);
    // Clients were told these when they connected.
    to.max_inflight_messages = from.max_inflight_messages;
    to.max_packet_size = from.max_packet_size;
    to.retain_available = from.retain_available;
    (to.route_cache_topics, to.route_cache_bytes) =
        (from.route_cache_topics, from.route_cache_bytes);
    to.durable = from.durable;
    for (from, to) in old.listeners.iter().zip(&mut new.listeners) {
        to.interface.clone_from(&from.interface);
        to.only_ipv6 = from.only_ipv6;
        identity::keep(&from.own, &mut to.own);
    }
}

/// When a change of an option counts, for the page.
pub(super) const fn when(spec: &table::Spec) -> &'static str {
    match (spec.scope, spec.reload) {
        (Scope::Bridge, _) | (_, Reload::Bridge) => "bridge",
        (_, Reload::Restart) => "restart",
        (_, Reload::Signal) => "SIGHUP",
    }
}
