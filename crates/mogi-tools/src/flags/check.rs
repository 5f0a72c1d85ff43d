//! What must fit together, once everything is read.

use super::Stop;
use crate::config::{Config, Tool};
use mogi_codec::{PropertyBuf, PropertyId, Version};

/// Whether the configuration can be run.
pub(super) fn complete(config: &Config) -> Result<(), Stop> {
    identity(config)?;
    will(config)?;
    properties(config)?;
    match config.tool {
        Tool::Pub => publishing(config)?,
        Tool::Sub => subscribing(config)?,
        Tool::Rr => requesting(config)?,
        Tool::Ctrl => {}
    }
    built(config)
}

fn identity(config: &Config) -> Result<(), Stop> {
    if config.client_id.is_some() && config.id_prefix.is_some() {
        return Err(Stop::wrong("-i and -I argument cannot be used together."));
    }
    if config.client_id.as_deref() == Some("") {
        return Err(Stop::wrong("Invalid id."));
    }
    let has_id = config.client_id.is_some() || config.id_prefix.is_some();
    let expiry_s = crate::connect::session_expiry_s(config);
    if !has_id && config.version == Version::V5 && expiry_s == Some(u32::MAX) {
        return Err(Stop::wrong(
            "You must provide a client id if you are using an infinite session expiry interval.",
        ));
    }
    if !has_id && config.version != Version::V5 && config.disable_clean_session {
        return Err(Stop::wrong("You must provide a client id if you are using the -c option."));
    }
    let too_long =
        config.password.as_ref().is_some_and(|password| password.len() > usize::from(u16::MAX));
    // [MQTT-3.1.2-22] of 3.1.1.
    let alone = config.version != Version::V5 && config.username.is_none();
    if too_long || (alone && config.password.is_some()) {
        return Err(Stop::wrong("Problem setting username and/or password."));
    }
    Ok(())
}

fn will(config: &Config) -> Result<(), Stop> {
    let will = &config.will;
    let len = will.payload.as_ref().map_or(0, Vec::len);
    if len > usize::from(u16::MAX) {
        return Err(Stop::wrong("Will payload has more than 65535 bytes."));
    }
    if will.topic.is_some() {
        return Ok(());
    }
    if will.payload.is_some() {
        return Err(Stop::wrong("Will payload given, but no will topic given."));
    }
    if will.retain {
        return Err(Stop::wrong("Will retain given, but no will topic given."));
    }
    Ok(())
}

/// No property twice, and none without MQTT 5: a `-V` after them could ask for that, and
/// Mosquitto's tools then fail, or hang.
fn properties(config: &Config) -> Result<(), Stop> {
    let all = &config.properties;
    let given =
        [&all.connect, &all.publish, &all.will, &all.subscribe, &all.unsubscribe, &all.disconnect];
    let twice = |section: &PropertyBuf, id: PropertyId, flag: &str, by_flag: bool| {
        if by_flag && section.as_properties().has(id) {
            let name = id.name();
            return Err(Stop::Wrong(format!(
                "Property {name} is given twice, by -D and by {flag}."
            )));
        }
        Ok(())
    };
    let expiry = PropertyId::SessionExpiryInterval;
    twice(&all.connect, expiry, "-x", config.session_expiry_s.is_some())?;
    let response = PropertyId::ResponseTopic;
    twice(&all.publish, response, "-e", config.response_topic.is_some())?;
    let any = given.iter().any(|it| !it.as_properties().is_empty());
    if any && config.version != Version::V5 {
        return Err(Stop::wrong("-D properties need MQTT 5, and -V asks for an older version."));
    }
    Ok(())
}

fn publishing(config: &Config) -> Result<(), Stop> {
    if config.topics.is_empty() || config.payload.is_none() {
        return Err(Stop::Lost("Both topic and message must be supplied.".to_owned()));
    }
    Ok(())
}

fn subscribing(config: &Config) -> Result<(), Stop> {
    if config.topics.is_empty() && config.unsubscribe.is_empty() {
        return Err(Stop::wrong(
            "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).",
        ));
    }
    if config.no_retained && config.retained_only {
        return Err(Stop::wrong("Combining '-R' and '--retained-only' makes no sense."));
    }
    Ok(())
}

fn requesting(config: &Config) -> Result<(), Stop> {
    if config.topics.is_empty() || config.payload.is_none() || config.response_topic.is_none() {
        return Err(Stop::wrong("All of topic, message, and response topic must be supplied."));
    }
    Ok(())
}

fn built(config: &Config) -> Result<(), Stop> {
    if let Some((flag, what)) = &config.not_built {
        return Err(Stop::Wrong(format!("not built yet: {what} ({flag}).")));
    }
    let tls = &config.tls;
    if tls.psk.is_some() && tls.psk_identity.is_none() {
        return Err(Stop::wrong("--psk-identity required if --psk used."));
    }
    if tls.psk.is_some() && (tls.cafile.is_some() || tls.capath.is_some()) {
        return Err(Stop::wrong("Only one of --psk or --cafile/--capath may be used at once."));
    }
    if config.tls.cert.is_some() != config.tls.key.is_some() {
        return Err(Stop::wrong("Both --cert and --key must be provided if one of them is set."));
    }
    Ok(())
}
