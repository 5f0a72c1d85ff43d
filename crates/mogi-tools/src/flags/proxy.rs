//! `--proxy`: the way through a SOCKS5 proxy, as a URL.

use super::Stop;
use super::value::{Values, int_prefix};
use crate::config::Config;
use mogi_client::Proxy;

/// The port of SOCKS proxies (RFC 1928, section 3).
const USUAL_PORT: u16 = 1080;

/// Takes the URL apart.
pub(super) fn apply(config: &mut Config, it: Values<'_>) -> Result<(), Stop> {
    config.proxy = Some(parse(it.text()?)?);
    Ok(())
}

fn parse(text: &str) -> Result<Proxy, Stop> {
    let rest = text
        .strip_prefix("socks5h://")
        .ok_or_else(|| Stop::Wrong(format!("Unsupported proxy protocol: {text}")))?;
    // As with Mosquitto the first `@` ends the login; what is to hold one is percent-encoded.
    let (login, server) = match rest.split_once('@') {
        Some((login, server)) => (Some(login), server),
        None => (None, rest),
    };
    let bracketed = server.strip_prefix('[').and_then(|it| it.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    if host.is_empty() {
        return Err(Stop::wrong("Invalid proxy."));
    }
    let port = match port {
        None => USUAL_PORT,
        Some(text) => {
            let number = int_prefix(text).unwrap_or(0);
            let port = u16::try_from(number).ok().filter(|&port| port != 0);
            port.ok_or_else(|| Stop::Wrong(format!("Invalid proxy port {number}")))?
        }
    };
    let (username, password) = match login.and_then(|login| login.split_once(':')) {
        Some((_, password)) if password.contains(':') => {
            return Err(Stop::wrong("Username cannot contain ':'."));
        }
        Some((username, password)) => (Some(username), Some(password)),
        None => (login, None),
    };
    let decode = |text: Option<&str>| text.map(percent_decoded).transpose();
    let (username, password) = (decode(username)?, decode(password)?);
    Ok(Proxy { host: host.to_owned(), port, username, password })
}

/// `%41` is `A` (RFC 3986, section 2.1).
fn percent_decoded(text: &str) -> Result<String, Stop> {
    let wrong = || Stop::wrong("Invalid proxy: a '%' needs two hexadecimal digits behind it.");
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found() {
        let full = parse("socks5h://an%3An:p%40w@proxy:99").expect("valid");
        assert_eq!((&*full.host, full.port), ("proxy", 99));
        assert_eq!(full.username.as_deref(), Some("an:n"));
        assert_eq!(full.password.as_deref(), Some("p@w"));
        let short = parse("socks5h://[::1]").expect("valid");
        assert_eq!((&*short.host, short.port, short.username), ("::1", 1080, None));
    }

    #[test]
    fn errors_are_mosquittos() {
        for (text, expected) in [
            ("http://x", "Unsupported proxy protocol: http://x"),
            ("socks5h://", "Invalid proxy."),
            ("socks5h://u:p@", "Invalid proxy."),
            ("socks5h://h:abc", "Invalid proxy port 0"),
            ("socks5h://h:99999", "Invalid proxy port 99999"),
            ("socks5h://u:p:q@h", "Username cannot contain ':'."),
        ] {
            match parse(text) {
                Err(Stop::Wrong(what)) => assert_eq!(what, expected),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
