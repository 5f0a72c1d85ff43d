//! Options about who may come in: of the broker, or of the listener above under
//! `per_listener_settings`.

use super::Kind::{Bool, Other};
use super::Scope::Security;
use super::Status::{NotYet, Works};
use super::{BOOL, Spec, row};
use crate::config::apply;

#[rustfmt::skip]
pub(super) const ROWS: &[Spec] = &[
    row("acl_file", Security, "a file", "–", NotYet, "who may publish and subscribe to what"),
    row("allow_anonymous", Security, BOOL, "false with a listener, else true",
        Works(Other(apply::allow_anonymous)),
        "let clients in without a user name"),
    row("allow_zero_length_clientid", Security, BOOL, "true",
        Works(Bool(|to, yes| to.security().allow_zero_length_clientid = Some(yes))),
        "let the broker make client ids"),
    row("auth_plugin", Security, "a file", "–", NotYet, "old name of `plugin`").restart(),
    row("auto_id_prefix", Security, "up to 50 bytes", "auto-",
        Works(Other(apply::auto_id_prefix)),
        "what client ids made by the broker begin with")
        .deprecated("Please use 'listener_auto_id_prefix' instead."),
    row("password_file", Security, "a file", "–", NotYet, "users and their passwords"),
    row("plugin", Security, "a file", "–", NotYet, "a plugin to load").restart(),
    row("psk_file", Security, "a file", "–", NotYet, "identities and keys of TLS-PSK"),
];
