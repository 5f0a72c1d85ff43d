//! Options about plugins.

use super::Kind::Other;
use super::Scope::{Global, ListenerAbove, Plugin};
use super::Status::{NotYet, Works};
use super::{BOOL, Spec, row};
use crate::config::plugins;

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("auth_opt_*", Plugin, "text", "–",
        Works(Other(plugins::plugin_opt)),
        "old name of `plugin_opt_*`").restart(),
    row("auth_plugin_deny_special_chars", Plugin, BOOL, "true", NotYet,
        "refuse `+`, `#` and `/` in names, for plugins of the old interface").restart(),
    row("plugin_load", Global, "a name and a file", "–",
        Works(Other(plugins::plugin_load)),
        "load a plugin without using it").restart()
        .quirk("not in Mosquitto's manual"),
    row("plugin_opt_*", Plugin, "text", "–",
        Works(Other(plugins::plugin_opt)),
        "an option of the plugin above: `password_file`, `acl_file`, `config_file`, \
         `password_init_file`").restart(),
    row("plugin_use", ListenerAbove, "a name", "–",
        Works(Other(plugins::plugin_use)),
        "use a loaded plugin for this listener").restart()
        .quirk("not in Mosquitto's manual"),
];
