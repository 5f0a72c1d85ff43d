//! Options about who may come in: of the broker, or of the listener above under
//! `per_listener_settings`.

use super::Kind::{Bool, Other, TextOnce};
use super::Scope::Security;
use super::Status::Works;
use super::{BOOL, Spec, row};
use crate::config::{apply, plugins};

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("acl_file", Security, "a file", "–",
        Works(TextOnce(|to| &mut to.security().acl_file)),
        "who may publish and subscribe to what"),
    row("allow_anonymous", Security, BOOL, "false with a listener, else true",
        Works(Other(apply::allow_anonymous)),
        "let clients in without a user name"),
    row("allow_zero_length_clientid", Security, BOOL, "true",
        Works(Bool(|to, yes| to.security().allow_zero_length_clientid = Some(yes))),
        "let the broker make client ids"),
    row("auth_plugin", Security, "a file", "–",
        Works(Other(plugins::plugin)),
        "old name of `plugin`").restart(),
    row("auto_id_prefix", Security, "up to 50 bytes", "auto-",
        Works(Other(apply::auto_id_prefix)),
        "what client ids made by the broker begin with")
        .deprecated("Please use 'listener_auto_id_prefix' instead."),
    row("password_file", Security, "a file", "–",
        Works(TextOnce(|to| &mut to.security().password_file)),
        "users and their passwords"),
    row("plugin", Security, "one of three files", "–",
        Works(Other(plugins::plugin)),
        "`mosquitto_password_file.so`, `mosquitto_acl_file.so` or \
         `mosquitto_dynamic_security.so`: served by mogi itself, wherever the file is").restart(),
    row("psk_file", Security, "a file", "–",
        Works(TextOnce(|to| &mut to.security().psk_file)),
        "identities and keys of TLS-PSK, for listeners with `psk_hint`"),
];
