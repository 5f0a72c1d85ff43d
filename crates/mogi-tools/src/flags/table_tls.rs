//! Flags about TLS, WebSocket and proxies.

use super::Stop;
use super::table::{Flag, Group, Takes, flags};
use super::value::Values;
use crate::config::Config;
use Takes::{Nothing, One};
use mogi_client::Psk;

#[rustfmt::skip]
pub(super) static TLS: &[Flag] = flags! {
    "psr" Connection "" "--ws" Nothing,
        "connect through WebSocket",
        |config, _| { config.websocket = true; Ok(()) };
    "psr" Connection "" "--proxy" One("URL", "--proxy", "no proxy url"),
        "connect through a SOCKS5 proxy: socks5h://[USER[:PASSWORD]@]HOST[:PORT]",
        super::proxy::apply;
    "psr" Tls "" "--cafile" One("FILE", "--cafile", "no file"),
        "certificates of trusted authorities",
        |config, it| { config.tls.cafile = Some(it.path()); wanted(config) };
    "psr" Tls "" "--capath" One("DIR", "--capath", "no directory"),
        "folder of certificates of trusted authorities, named by hash",
        |config, it| { config.tls.capath = Some(it.path()); wanted(config) };
    "psr" Tls "" "--cert" One("FILE", "--cert", "no file"),
        "this client's certificate",
        |config, it| { config.tls.cert = Some(it.path()); Ok(()) };
    "psr" Tls "" "--key" One("FILE", "--key", "no file"),
        "this client's private key",
        |config, it| { config.tls.key = Some(it.path()); Ok(()) };
    "psr" Tls "" "--keyform" One("pem", "--keyform", "no keyform"),
        "what kind of key that is", keyform;
    "psr" Tls "" "--ciphers" One("LIST", "--ciphers", "no ciphers"),
        "ciphers of TLS 1.2 to offer, by OpenSSL's names",
        |config, it| { config.tls.ciphers = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Tls "" "--insecure" Nothing,
        "do not compare the host name with the broker's certificate",
        |config, _| { config.tls.insecure = true; Ok(()) };
    "psr" Tls "" "--psk" One("HEX", "--psk", "no key"),
        "pre-shared key, in a mogi built with the feature openssl", psk;
    "psr" Tls "" "--psk-identity" One("NAME", "--psk-identity", "no identity"),
        "name of the pre-shared key",
        |config, it| { config.tls.psk_identity = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Tls "" "--tls-alpn" One("PROTOCOL", "--tls-alpn", "no protocol"),
        "protocol to ask for within TLS",
        |config, it| { config.tls.alpn = Some(it.text()?.to_owned()); Ok(()) };
    "psr" Tls "" "--tls-keylog" One("FILE", "--tls-keylog", "no file"),
        "write the sessions' secrets to this file, for Wireshark",
        |config, it| { config.tls.key_log = Some(it.text()?.into()); Ok(()) };
    "psr" Tls "" "--tls-use-os-certs" Nothing,
        "trust the authorities this computer trusts",
        |config, _| { config.tls.os_certs = true; wanted(config) };
    "psr" Tls "" "--tls-version" One("tlsv1.2|tlsv1.3", "--tls-version", "no version"),
        "lowest version of TLS", version;
};

/// A flag that turns TLS on.
fn wanted(config: &mut Config) -> Result<(), Stop> {
    config.tls.wanted = true;
    Ok(())
}

fn psk(config: &mut Config, it: Values<'_>) -> Result<(), Stop> {
    if cfg!(not(feature = "openssl")) {
        config.later(it.name, "TLS with shared keys; this mogi has no feature openssl");
        return Ok(());
    }
    let key = Psk::key_of(it.text()?);
    config.tls.psk = Some(key.ok_or_else(|| Stop::wrong("Problem setting TLS-PSK options."))?);
    wanted(config)
}

fn keyform(config: &mut Config, it: Values<'_>) -> Result<(), Stop> {
    match it.bytes() {
        b"pem" => {}
        // OpenSSL's engines.
        _ => config.later(it.name, "keys that are not in a PEM file"),
    }
    Ok(())
}

fn version(config: &mut Config, it: Values<'_>) -> Result<(), Stop> {
    config.tls.only_tls13 = match it.bytes() {
        b"tlsv1.2" => false,
        b"tlsv1.3" => true,
        _ => {
            let text = "Invalid --tls-version: tlsv1.2 and tlsv1.3 are there to choose from.";
            return Err(Stop::wrong(text));
        }
    };
    Ok(())
}
