//! Plugins of Mosquitto that mogi serves itself: the lines that name them, and their options.
//!
//! A file of Mosquitto 2.1 names them by their library. mogi loads no library; it knows what those
//! three do.

use super::builder::Builder;
use super::value::{Line, Problem};

type Outcome = Result<(), Problem>;

/// What a plugin does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PluginKind {
    PasswordFile,
    AclFile,
    DynamicSecurity,
}

/// A plugin a file names.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) kind: PluginKind,
    /// The name `plugin_load` gave it.
    name: Option<String>,
    pub(crate) reach: Reach,
    options: Vec<(String, String)>,
    /// `FILE:LINE`.
    pub(crate) place: String,
}

/// For which listeners a plugin is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    /// Those with these numbers.
    Some(Vec<usize>),
}

impl Plugin {
    /// An option's value.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter();
        options.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is there for a listener.
    pub(crate) fn reaches(&self, listener: usize) -> bool {
        match &self.reach {
            Reach::All => true,
            Reach::Some(listeners) => listeners.contains(&listener),
        }
    }
}

/// The libraries, by the names Mosquitto installs them under.
const LIBRARIES: [(&str, PluginKind); 3] = [
    ("mosquitto_password_file", PluginKind::PasswordFile),
    ("mosquitto_acl_file", PluginKind::AclFile),
    ("mosquitto_dynamic_security", PluginKind::DynamicSecurity),
];

/// `plugin FILE`, `auth_plugin FILE`: for all listeners, or for the one above.
pub(super) fn plugin(to: &mut Builder, line: &Line) -> Outcome {
    let reach = match to.config.per_listener_settings {
        true => Reach::Some(vec![to.listener_index()]),
        false => Reach::All,
    };
    add(to, line.text()?, None, reach, line)
}

/// `global_plugin FILE`.
pub(super) fn global_plugin(to: &mut Builder, line: &Line) -> Outcome {
    add(to, line.text()?, None, Reach::All, line)
}

/// `plugin_load NAME FILE`: for listeners that name it with `plugin_use`.
pub(super) fn plugin_load(to: &mut Builder, line: &Line) -> Outcome {
    let (name, file) = (line.word()?, line.behind_first_word());
    if file.is_empty() {
        return Err(Problem::new("Error: 'plugin_load' needs a name and a file."));
    }
    if to.config.plugins.iter().any(|plugin| plugin.name.as_deref() == Some(name)) {
        return Err(Problem::new(format!("Error: There is a plugin '{name}' already.")));
    }
    add(to, file, Some(name.to_owned()), Reach::Some(Vec::new()), line)
}

/// `plugin_use NAME`.
pub(super) fn plugin_use(to: &mut Builder, line: &Line) -> Outcome {
    let name = line.word()?;
    let listener = to.listener_index();
    let known = |plugin: &Plugin| plugin.name.as_deref() == Some(name);
    let Some(at) = to.config.plugins.iter().position(known) else {
        return Err(Problem::new(format!(
            "Error: There is no plugin '{name}'; load it above with 'plugin_load'."
        )));
    };
    if let Reach::Some(listeners) = &mut to.config.plugins[at].reach {
        listeners.push(listener);
    }
    to.plugin = Some(at);
    Ok(())
}

/// `plugin_opt_NAME VALUE`, `auth_opt_NAME VALUE`.
pub(super) fn plugin_opt(to: &mut Builder, line: &Line) -> Outcome {
    let name =
        line.name.strip_prefix("plugin_opt_").or_else(|| line.name.strip_prefix("auth_opt_"));
    let name = name.unwrap_or_default();
    let Some(plugin) = to.plugin.and_then(|at| to.config.plugins.get_mut(at)) else {
        return Ok(());
    };
    let known: &[&str] = match plugin.kind {
        PluginKind::PasswordFile => &["password_file"],
        PluginKind::AclFile => &["acl_file"],
        PluginKind::DynamicSecurity => &["config_file", "password_init_file"],
    };
    if !known.contains(&name) {
        return Err(Problem::new(format!(
            "Error: The plugin at {} has no option '{name}'; it has {}.",
            plugin.place,
            known.join(", ")
        )));
    }
    plugin.options.push((name.to_owned(), line.text()?.to_owned()));
    Ok(())
}

fn add(to: &mut Builder, file: &str, name: Option<String>, reach: Reach, line: &Line) -> Outcome {
    let library = file.rsplit('/').next().unwrap_or(file);
    let library = library.strip_suffix(".so").unwrap_or(library);
    let Some((_, kind)) = LIBRARIES.iter().find(|(known, _)| *known == library) else {
        return Err(Problem::new(format!(
            "Error: The plugin '{file}' cannot be loaded: mogi serves mosquitto_password_file.so, \
             mosquitto_acl_file.so and mosquitto_dynamic_security.so itself, and no others."
        )));
    };
    let place = line.place.clone();
    to.plugin = Some(to.config.plugins.len());
    to.config.plugins.push(Plugin { kind: *kind, name, reach, options: Vec::new(), place });
    Ok(())
}
