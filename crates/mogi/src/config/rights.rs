//! Who may come in, and do what: from the configuration to what each listener asks.

use super::plugins::{Plugin, PluginKind};
use super::{Config, Listener, Security, identity};
use crate::access::plan::{AccessPlan, DynsecPlan, SetPlan, SourcePlan};
use std::path::PathBuf;

/// The rules of all listeners, in their order: so a session finds those of its listener even when
/// they were read again.
///
/// # Errors
/// A plugin lacks its file: a line for the log.
pub(crate) fn rights(config: &Config) -> Result<AccessPlan, String> {
    let listeners = config.listeners.iter().enumerate();
    let sets = listeners.map(|(number, listener)| set_of(config, number, listener));
    Ok(AccessPlan {
        sets: sets.collect::<Result<_, _>>()?,
        ports: config.listeners.iter().map(port_of).collect(),
        dynsec: dynsec_of(config)?,
        strict: config.access.acl_strict,
        control_api: config.access.control_api,
        threads: config.access.threads,
        bans: config.access.bans,
        delay_ms: config.access.delay_ms,
        web: identity::web(config),
        leeway_s: config.access.leeway_s,
    })
}

fn port_of(listener: &Listener) -> u16 {
    if listener.unix.is_some() { 0 } else { listener.port }
}

fn set_of(config: &Config, number: usize, listener: &Listener) -> Result<SetPlan, String> {
    let none = Security::default();
    // Under per_listener_settings what stands above all listeners counts for none of them.
    let common = if config.per_listener_settings { &none } else { &config.security };
    let own = &listener.own;
    let mut sources = Vec::new();
    // Plugins come first, in the order of the file.
    for plugin in config.plugins.iter().filter(|plugin| plugin.reaches(number)) {
        sources.push(match plugin.kind {
            PluginKind::PasswordFile => SourcePlan::Passwords(file_of(plugin, "password_file")?),
            PluginKind::AclFile => SourcePlan::Acl(file_of(plugin, "acl_file")?),
            PluginKind::DynamicSecurity => SourcePlan::Dynsec,
        });
    }
    let file = |own: &Option<String>, common: &Option<String>| {
        own.as_ref().or(common.as_ref()).map(PathBuf::from)
    };
    sources.extend(file(&own.password_file, &common.password_file).map(SourcePlan::Passwords));
    sources.extend(file(&own.acl_file, &common.acl_file).map(SourcePlan::Acl));
    sources.extend(identity::sources(config, listener)?);
    let allow_anonymous =
        own.allow_anonymous.or(common.allow_anonymous).unwrap_or(config.local_only);
    Ok(SetPlan { sources, allow_anonymous })
}

fn file_of(plugin: &Plugin, option: &str) -> Result<PathBuf, String> {
    plugin.option(option).map(PathBuf::from).ok_or_else(|| {
        format!("Error: The plugin at {} needs 'plugin_opt_{option}'.", plugin.place)
    })
}

fn dynsec_of(config: &Config) -> Result<Option<DynsecPlan>, String> {
    let is_dynsec = |plugin: &&Plugin| plugin.kind == PluginKind::DynamicSecurity;
    let mut plugins = config.plugins.iter().filter(is_dynsec);
    let Some(plugin) = plugins.next() else {
        return Ok(None);
    };
    if let Some(second) = plugins.next() {
        return Err(format!(
            "Error: There is a second dynamic-security plugin at {}; the first one, at {}, owns \
             its topic already. Use 'plugin_load' once and 'plugin_use' for each listener.",
            second.place, plugin.place
        ));
    }
    let init_password_file = plugin.option("password_init_file").map(PathBuf::from);
    Ok(Some(DynsecPlan { file: file_of(plugin, "config_file")?, init_password_file }))
}
