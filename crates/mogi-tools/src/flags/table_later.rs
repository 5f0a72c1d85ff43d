//! Flags of Mosquitto's tools for what mogi's cannot do yet. They are known, so that the error
//! says what is missing.

use super::Stop;
use super::table::{Flag, Group, Takes, flags};
use super::value::Values;
use crate::config::Config;
use Takes::{Nothing, One};

fn tls(config: &mut Config, it: Values<'_>) -> Result<(), Stop> {
    later(config, it, "TLS")
}

fn later(config: &mut Config, it: Values<'_>, what: &'static str) -> Result<(), Stop> {
    config.later(it.name, what);
    Ok(())
}

#[rustfmt::skip]
pub(super) static LATER: &[Flag] = flags! {
    "psr" Later "" "--tls-engine" One("ID", "--tls-engine", "no engine_id"),
        "OpenSSL engine to use", tls;
    "psr" Later "" "--tls-engine-kpass-sha1"
        One("SHA1", "--tls-engine-kpass-sha1", "no kpass sha1"),
        "SHA-1 of the engine's key password", tls;
    "psr" Later "-S" "" Nothing,
        "find the broker by its SRV record", |config, it| later(config, it, "SRV records");
};
