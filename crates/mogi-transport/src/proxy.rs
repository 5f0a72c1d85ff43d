//! The PROXY protocol: the first bytes of a connection, in which a load balancer says for whom it
//! speaks. [proxy-protocol.txt of HAProxy, versions 1 and 2]

use crate::Failure;
use ppp::{v1, v2};
use std::net::SocketAddr;

/// Bytes a header of version 2 may have; with certificates' names in it, a few hundred are usual.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Bytes a header of version 1 has at most, by its specification (2.1).
const MAX_V1_BYTES: usize = 107;
/// Bytes of a version 2 header before its addresses; the last two are the length of the rest.
const V2_FIXED_BYTES: usize = 16;

/// `enable_proxy_protocol` of a listener, and what it asks of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    /// Version 2, else version 1.
    pub v2: bool,
    /// The client has to have come to the proxy over TLS (`proxy_protocol_v2_require_tls`).
    pub require_tls: bool,
    /// The client has to have shown the proxy a valid certificate (`require_certificate`).
    pub require_certificate: bool,
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxied {
    /// The client's address; `None`: the proxy speaks for itself, or does not know.
    pub source: Option<SocketAddr>,
    /// The common name of the client's certificate, which the proxy has verified.
    pub common_name: Option<String>,
    /// The client came over TLS.
    tls: bool,
    /// It has shown a certificate, and the proxy has found it valid.
    certificate: bool,
    /// The proxy speaks for itself (LOCAL): a health check.
    local: bool,
}

/// Reads a header: how long it is, and what it says; `None`: it is not complete.
///
/// # Errors
/// There is no header, or it does not say what the rules ask for.
pub fn parse(rules: ProxyRules, bytes: &[u8]) -> Result<Option<(usize, Proxied)>, Failure> {
    let parsed = if rules.v2 { parse_v2(bytes)? } else { parse_v1(bytes)? };
    let Some((len, proxied)) = parsed else {
        return Ok(None);
    };
    if !proxied.local {
        if rules.require_tls && !proxied.tls {
            let what = "the client did not come over TLS (proxy_protocol_v2_require_tls)";
            return Err(refused(what));
        }
        if rules.require_certificate && !proxied.certificate {
            return Err(refused("the client has shown the proxy no valid certificate"));
        }
    }
    Ok(Some((len, proxied)))
}

fn refused(what: impl std::fmt::Display) -> Failure {
    Failure::new("PROXY protocol error", format!("PROXY header: {what}."))
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(usize, Proxied)>, Failure> {
    let start = v1::PROTOCOL_PREFIX.as_bytes();
    let known = bytes.len().min(start.len());
    if bytes[..known] != start[..known] {
        return Err(refused("there is none; is this connection from a proxy?"));
    }
    let head = &bytes[..bytes.len().min(MAX_V1_BYTES)];
    let Some(end) = head.windows(2).position(|two| two == b"\r\n") else {
        return match bytes.len() >= MAX_V1_BYTES {
            true => Err(refused(format_args!("longer than {MAX_V1_BYTES} bytes"))),
            false => Ok(None),
        };
    };
    let len = end + 2;
    let line = &bytes[..len];
    // A receiver takes no notice of what follows UNKNOWN (2.1).
    if line.starts_with(b"PROXY UNKNOWN\r") || line.starts_with(b"PROXY UNKNOWN ") {
        return Ok(Some((len, Proxied::default())));
    }
    let header = v1::Header::try_from(line)
        .map_err(|error| refused(error.to_string().trim_end_matches('.')))?;
    let source = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
    };
    Ok(Some((len, Proxied { source, ..Proxied::default() })))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(usize, Proxied)>, Failure> {
    let known = bytes.len().min(v2::PROTOCOL_PREFIX.len());
    if bytes[..known] != v2::PROTOCOL_PREFIX[..known] {
        return Err(refused("there is none of version 2; is this connection from a proxy?"));
    }
    let Some(&[high, low]) = bytes.get(V2_FIXED_BYTES - 2..V2_FIXED_BYTES) else {
        return Ok(None);
    };
    let len = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_HEADER_BYTES {
        return Err(refused(format_args!("{len} bytes, more than {MAX_HEADER_BYTES}")));
    }
    let Some(bytes) = bytes.get(..len) else {
        return Ok(None);
    };
    let header =
        v2::Header::try_from(bytes).map_err(|e| refused(e.to_string().trim_end_matches('.')))?;
    if header.command == v2::Command::Local {
        return Ok(Some((len, Proxied { local: true, ..Proxied::default() })));
    }
    let source = match header.addresses {
        v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    };
    let mut proxied = Proxied { source, ..Proxied::default() };
    for tlv in header.tlvs() {
        let tlv = tlv.map_err(|e| refused(e.to_string().trim_end_matches('.')))?;
        if tlv.kind == v2::Type::SSL as u8 {
            read_tls(&tlv.value, &mut proxied)?;
        }
    }
    Ok(Some((len, proxied)))
}

/// PP2_TYPE_SSL (2.2.5): a byte of flags, the result of verifying, and fields of its own.
fn read_tls(value: &[u8], proxied: &mut Proxied) -> Result<(), Failure> {
    const CLIENT_SSL: u8 = 1;
    const CLIENT_CERT: u8 = 2 | 4; // on this connection, or on the session it resumes
    let Some((&[flags, v0, v1, v2, v3], mut rest)) = value.split_first_chunk() else {
        return Err(refused("its TLS field is cut short"));
    };
    proxied.tls = flags & CLIENT_SSL != 0;
    proxied.certificate = flags & CLIENT_CERT != 0 && [v0, v1, v2, v3] == [0; 4];
    while let Some((&[kind, high, low], behind)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let Some((value, behind)) = behind.split_at_checked(len) else {
            return Err(refused("its TLS field is cut short"));
        };
        if kind == v2::Type::SSLCommonName as u8 && proxied.certificate {
            let name = std::str::from_utf8(value).ok().filter(|name| !name.contains('\0'));
            let name = name.ok_or_else(|| refused("its common name is no text"))?;
            proxied.common_name = Some(name.to_owned());
        }
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: ProxyRules = ProxyRules { v2: false, require_tls: false, require_certificate: false };
    const V2: ProxyRules = ProxyRules { v2: true, ..V1 };
    /// 9.8.7.6:4444 to 5.6.7.8:1883.
    const ADDRESSES: [u8; 12] = [9, 8, 7, 6, 5, 6, 7, 8, 0x11, 0x5C, 0x07, 0x5B];

    fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((rest.len() as u16).to_be_bytes());
        header.extend(rest);
        header
    }

    fn tls_field(flags: u8, verify: u8, name: &[u8]) -> Vec<u8> {
        let mut value = vec![flags, 0, 0, 0, verify, 0x22, 0, name.len() as u8];
        value.extend(name);
        let mut field = ADDRESSES.to_vec();
        field.extend([0x20, 0, value.len() as u8]);
        field.extend(value);
        field
    }

    fn source(rules: ProxyRules, bytes: &[u8]) -> Option<String> {
        let (_, proxied) = parse(rules, bytes).expect("a header").expect("a whole one");
        proxied.source.map(|source| source.to_string())
    }

    #[test]
    fn version_1_is_a_line() {
        let line = b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\nrest";
        for end in 0..line.len() - 4 {
            assert_eq!(parse(V1, &line[..end]), Ok(None), "{end}");
        }
        let (len, _) = parse(V1, line).expect("a header").expect("a whole one");
        assert_eq!(&line[len..], b"rest");
        assert_eq!(source(V1, line).as_deref(), Some("1.2.3.4:1111"));
        let six = b"PROXY TCP6 2001:db8::1 ::2 1111 2222\r\n";
        assert_eq!(source(V1, six).as_deref(), Some("[2001:db8::1]:1111"));
        for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN a b c d e f g h\r\n"] {
            assert_eq!(source(V1, unknown.as_bytes()), None);
        }
    }

    #[test]
    fn what_is_no_header_of_version_1_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        let bad = [
            "\x10\x0d\0\x04MQTT",
            "PROXX",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1111 99999\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            &long,
        ];
        for bytes in bad {
            assert!(parse(V1, bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn version_2_is_binary() {
        let header = v2_header(1, 0x11, &ADDRESSES);
        for end in 0..header.len() {
            assert_eq!(parse(V2, &header[..end]), Ok(None), "{end}");
        }
        assert_eq!(source(V2, &header).as_deref(), Some("9.8.7.6:4444"));
        assert_eq!(source(V2, &v2_header(1, 0, &[])), None);
        assert_eq!(source(V2, &v2_header(0, 0x11, &ADDRESSES)), None, "LOCAL is no relay");
        assert_eq!(source(V2, &v2_header(1, 0x31, &[0; 216])), None);
        assert!(parse(V2, b"PROXY UNKNOWN\r\n").is_err());
        assert!(parse(V2, &v2_header(1, 0x11, &[0; 4])).is_err(), "no room for the addresses");
        assert!(parse(V2, &v2_header(1, 0x11, &[0; 5000])).is_err());
        assert!(parse(V2, &v2_header(3, 0x11, &ADDRESSES)).is_err());
    }

    #[test]
    fn tls_before_the_proxy_is_asked_for_and_its_name_known() {
        let tls = ProxyRules { require_tls: true, ..V2 };
        let certificate = ProxyRules { require_certificate: true, ..V2 };
        let header = |flags, verify| v2_header(1, 0x11, &tls_field(flags, verify, b"alice"));
        let plain = v2_header(1, 0x11, &ADDRESSES);
        assert!(parse(tls, &plain).is_err());
        assert!(parse(tls, &header(0, 0)).is_err());
        assert!(parse(tls, &header(1, 0)).is_ok());
        assert!(parse(certificate, &header(1, 0)).is_err());
        assert!(parse(certificate, &header(3, 1)).is_err(), "not verified");
        let name = |rules, bytes: &[u8]| {
            parse(rules, bytes).expect("let in").expect("whole").1.common_name
        };
        assert_eq!(name(certificate, &header(3, 0)).as_deref(), Some("alice"));
        assert_eq!(name(certificate, &header(5, 0)).as_deref(), Some("alice"));
        assert_eq!(name(V2, &header(3, 1)), None, "a name nobody verified is nobody's");
        assert!(parse(V2, &v2_header(1, 0x11, &tls_field(3, 0, b"a\0b"))).is_err());
        assert!(parse(tls, &v2_header(0, 0, &[])).is_ok(), "the proxy's own health check");
    }
}
