//! Options about plugins.

use super::Scope::{Global, ListenerAbove, Plugin};
use super::Status::NotYet;
use super::{BOOL, Spec, row};

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("auth_opt_*", Plugin, "text", "–", NotYet, "old name of `plugin_opt_*`").restart(),
    row("auth_plugin_deny_special_chars", Plugin, BOOL, "true", NotYet,
        "refuse `+`, `#` and `/` in names, for plugins of the old interface").restart(),
    row("plugin_load", Global, "a name and a file", "–", NotYet,
        "load a plugin without using it").restart()
        .quirk("not in Mosquitto's manual"),
    row("plugin_opt_*", Plugin, "text", "–", NotYet, "an option of the plugin above").restart(),
    row("plugin_use", ListenerAbove, "a name", "–", NotYet,
        "use a loaded plugin for this listener").restart()
        .quirk("not in Mosquitto's manual"),
];
