//! From a configuration to a connection.

use crate::config::{Config, Tool};
use crate::report::system_text;
use mogi_client::{Address, Client, DialError, DialOptions, Driver, Options, WillMessage};
use mogi_codec::{PropertyBuf, PropertyId, Version};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A driver that is not connected yet.
pub(crate) fn driver(config: &Config) -> Driver {
    let mut client = Client::new(options(config));
    if config.debug {
        client.enable_trace();
    }
    Driver::new(client)
}

/// Opens the connection, or says why not. One address of the broker may take `timeout` to
/// answer.
///
/// # Errors
/// A sentence for the standard error.
pub(crate) fn dial(config: &Config, driver: &mut Driver, timeout: Duration) -> Result<(), String> {
    let address = match &config.unix {
        Some(path) => Address::Unix(path.clone()),
        None => Address::Tcp { host: config.shown_host(), port: config.actual_port() },
    };
    let options = DialOptions {
        bind: config.bind.clone(),
        nodelay: config.nodelay,
        timeout: config.timeout.map_or(timeout, |it| it.min(timeout)),
        tls: config.tls_options(),
        websocket: config.websocket,
        proxy: config.proxy.clone(),
    };
    driver.connect(&address, &options).map_err(|error| match error {
        DialError::Lookup(_) => "Unable to connect (Lookup error).".to_owned(),
        DialError::Io(error) => format!("Error: {}", system_text(&error)),
    })
}

/// The session expiry interval the flags ask for: `-x`, or never with `-c`.
pub(crate) fn session_expiry_s(config: &Config) -> Option<u32> {
    let never = config.disable_clean_session.then_some(u32::MAX);
    config.session_expiry_s.or(never)
}

fn options(config: &Config) -> Options {
    let mut options = Options::new(config.version, client_id(config));
    options.clean_start = !config.disable_clean_session;
    options.keep_alive_s = config.keep_alive_s;
    options.username.clone_from(&config.username);
    options.password.clone_from(&config.password);
    options.inflight_max = config.inflight_max;
    options.will = config.will.topic.as_ref().map(|topic| WillMessage {
        topic: topic.clone(),
        payload: config.will.payload.clone().unwrap_or_default(),
        qos: config.will.qos,
        retain: config.will.retain,
        properties: config.properties.will.clone(),
    });
    if config.version == Version::V5 {
        options.properties = connect_properties(config);
    }
    options
}

/// The `-D` properties, then what the tool adds by itself.
fn connect_properties(config: &Config) -> PropertyBuf {
    let mut properties = config.properties.connect.clone();
    let has = |id| config.properties.connect.as_properties().has(id);
    if let Some(expiry_s) = session_expiry_s(config)
        && !has(PropertyId::SessionExpiryInterval)
    {
        properties.int(PropertyId::SessionExpiryInterval, expiry_s);
    }
    if !has(PropertyId::ReceiveMaximum) {
        // A request has one response.
        let max = if config.tool == Tool::Rr { 1 } else { 20 };
        properties.int(PropertyId::ReceiveMaximum, max);
    }
    properties
}

fn client_id(config: &Config) -> String {
    match (&config.client_id, &config.id_prefix) {
        (Some(id), _) => id.clone(),
        (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
        // 3.1 knows no empty ids.
        (None, None) if config.version == Version::V31 => random_id(),
        (None, None) => String::new(),
    }
}

/// An id like those libmosquitto makes; 23 characters are what 3.1 allows.
fn random_id() -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let random = std::iter::repeat_with(|| random() % LETTERS.len() as u64);
    let letters = random.map(|at| char::from(LETTERS[at as usize]));
    "mosq-".chars().chain(letters.take(18)).collect()
}

/// A random number, good enough for ids and samples: the standard library seeds its hash maps
/// from the system's randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(change: impl FnOnce(&mut Config)) -> Vec<(PropertyId, u32)> {
        let mut config = Config::new(Tool::Sub);
        config.version = Version::V5;
        change(&mut config);
        let properties = connect_properties(&config);
        let all = properties.as_properties().iter();
        all.map(|it| match it.value {
            mogi_codec::properties::Value::Int(value) => (it.id, value),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn connect_properties_are_those_of_mosquittos_tools() {
        use PropertyId::{ReceiveMaximum, SessionExpiryInterval, TopicAliasMaximum};
        let given = ReceiveMaximum;
        assert_eq!(properties(|_| {}), [(given, 20)]);
        assert_eq!(properties(|it| it.tool = Tool::Rr), [(given, 1)]);
        let kept = properties(|it| it.disable_clean_session = true);
        assert_eq!(kept, [(SessionExpiryInterval, u32::MAX), (given, 20)]);
        let some = properties(|it| {
            it.disable_clean_session = true;
            it.session_expiry_s = Some(7);
            it.properties.connect.int(TopicAliasMaximum, 5);
        });
        let expected = [(TopicAliasMaximum, 5), (SessionExpiryInterval, 7), (given, 20)];
        assert_eq!(some, expected);
        let own = properties(|it| {
            it.properties.connect.int(ReceiveMaximum, 3);
        });
        assert_eq!(own, [(given, 3)]);
    }

    #[test]
    fn generated_ids_fit_mqtt_3_1() {
        let mut config = Config::new(Tool::Sub);
        config.version = Version::V31;
        let (one, other) = (client_id(&config), client_id(&config));
        assert_eq!(one.len(), 23);
        assert!(one.starts_with("mosq-"));
        assert_ne!(one, other);
    }
}
