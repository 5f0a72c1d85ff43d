//! `-L`: a broker, a login and a topic in one.

use super::value::{Values, int_prefix};
use super::{Stop, set};
use crate::config::{Config, Tool};

/// What a URL says. Nothing in it is percent-decoded: Mosquitto's tools do not either.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url<'a> {
    scheme: Scheme,
    username: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    topic: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scheme {
    tls: bool,
    websocket: bool,
}

/// Takes the URL apart and puts its parts into the configuration.
pub(super) fn apply(config: &mut Config, it: Values<'_>) -> Result<(), Stop> {
    let url = parse(it.text()?)?;
    config.tls.wanted |= url.scheme.tls;
    config.websocket |= url.scheme.websocket;
    if let Some(username) = url.username {
        config.username = Some(username.to_owned());
    }
    if let Some(password) = url.password {
        config.password = Some(password.as_bytes().to_vec());
    }
    config.host = Some(url.host.to_owned());
    if let Some(port) = url.port {
        let number = int_prefix(port).and_then(|port| u16::try_from(port).ok());
        let wrong = || Stop::Wrong(format!("Invalid port given: {port}"));
        config.port = Some(number.ok_or_else(wrong)?);
    }
    match config.tool {
        Tool::Sub => set::filter(config, url.topic),
        Tool::Ctrl => Ok(()),
        Tool::Pub | Tool::Rr => set::publish_topic(config, url.topic),
    }
}

fn parse(text: &str) -> Result<Url<'_>, Stop> {
    let schemes = [
        ("mqtt://", Scheme { tls: false, websocket: false }),
        ("mqtts://", Scheme { tls: true, websocket: false }),
        ("ws://", Scheme { tls: false, websocket: true }),
        ("wss://", Scheme { tls: true, websocket: true }),
    ];
    let found = schemes.into_iter().find_map(|(prefix, scheme)| {
        let (head, rest) = text.split_at_checked(prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some((scheme, rest))
    });
    let (scheme, rest) = found.ok_or_else(|| Stop::wrong("Unsupported URL scheme."))?;
    let missing = "Invalid URL for -L argument specified - topic missing.";
    let (server, topic) = rest.split_once('/').ok_or_else(|| Stop::wrong(missing))?;
    let (login, server) = match server.split_once('@') {
        Some((login, server)) => (Some(login), server),
        None => (None, server),
    };
    let (username, password) = match login.and_then(|login| login.split_once(':')) {
        Some((username, password)) => (Some(username), Some(password)),
        None => (login, None),
    };
    // An IPv6 address stands in brackets, because it has colons itself.
    let bracketed = server.strip_prefix('[').and_then(|it| it.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    Ok(Url { scheme, username, password, host, port, topic })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found() {
        let url = parse("mqtt://user:p:w@broker:1884/a/b?c").expect("valid");
        assert_eq!((url.username, url.password), (Some("user"), Some("p:w")));
        assert_eq!((url.host, url.port), ("broker", Some("1884")));
        assert_eq!(url.topic, "a/b?c");
        let url = parse("MQTT://[::1]:1/t").expect("valid");
        assert_eq!((url.host, url.port), ("::1", Some("1")));
        let url = parse("mqtt://[::1]/t").expect("valid");
        assert_eq!((url.host, url.port), ("::1", None));
        let url = parse("mqtt://u@h//t").expect("valid");
        assert_eq!((url.username, url.password), (Some("u"), None));
        assert_eq!(url.topic, "/t");
    }

    #[test]
    fn what_is_no_url_for_these_tools_is_refused() {
        let wrong = |text| match parse(text) {
            Err(Stop::Wrong(what)) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong("http://h/t"), "Unsupported URL scheme.");
        assert_eq!(wrong("h/t"), "Unsupported URL scheme.");
        let missing = "Invalid URL for -L argument specified - topic missing.";
        assert_eq!(wrong("mqtt://h"), missing);
        assert_eq!(wrong("mqtt://"), missing);
    }
}
