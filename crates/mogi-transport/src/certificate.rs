//! Names and dates of X.509 certificates.

use x509_parser::der_parser::asn1_rs::{Oid, Tag};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

/// What a certificate says about its owner, and how long it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The first common name of the subject, if there is one of text.
    pub common_name: Option<String>,
    /// The subject as RFC 2253 writes it, as OpenSSL does.
    pub subject: String,
    /// Seconds since 1970 from which on it is valid.
    pub not_before_s: i64,
    /// Seconds since 1970 after which it is not valid any more.
    pub not_after_s: i64,
}

/// Reads a certificate.
///
/// # Errors
/// It is none: why.
pub fn names(der: &[u8]) -> Result<Names, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let subject = certificate.subject();
    let common_name = subject.iter_common_name().next().and_then(text);
    let validity = certificate.validity();
    let mut parts = Vec::new();
    let relative: Vec<_> = subject.iter_rdn().collect();
    for names in relative.iter().rev() {
        let mut values: Vec<String> = names.iter().map(attribute).collect();
        values.reverse();
        parts.push(values.join("+"));
    }
    Ok(Names {
        common_name,
        subject: parts.join(","),
        not_before_s: validity.not_before.timestamp(),
        not_after_s: validity.not_after.timestamp(),
    })
}

/// The value as text, unless it is of a kind that is none or has a NUL in it.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            std::str::from_utf8(value.data).ok()?.to_owned()
        }
        // Latin 1, as everybody uses it.
        Tag::T61String => value.data.iter().map(|&byte| char::from(byte)).collect(),
        Tag::BmpString => {
            let (pairs, []) = value.data.as_chunks::<2>() else { return None };
            String::from_utf16(&pairs.iter().map(|&it| u16::from_be_bytes(it)).collect::<Vec<_>>())
                .ok()?
        }
        _ => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let name = short_name(attribute.attr_type());
    match (name, text(attribute)) {
        (Some(name), Some(text)) => format!("{name}={}", escape(&text)),
        (name, _) => {
            // What has no name of its own is shown as it is encoded. (RFC 2253 2.4)
            let name = name.map_or_else(|| attribute.attr_type().to_id_string(), str::to_owned);
            let value = attribute.attr_value();
            let len = value.data.len();
            let mut hex = format!("{name}=#{:02X}", value.tag().0);
            if len < 128 {
                hex.push_str(&format!("{len:02X}"));
            } else {
                hex.push_str(&format!("82{len:04X}"));
            }
            hex.extend(value.data.iter().map(|byte| format!("{byte:02X}")));
            hex
        }
    }
}

fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    Some(match oid.to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.17" => "postalCode",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "2.5.4.97" => "organizationIdentifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

/// RFC 2253 2.4, and everything that is not printable ASCII as `\XX`, as OpenSSL does.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let last = text.len().wrapping_sub(1);
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                escaped.extend(['\\', char::from(byte)]);
            }
            b'#' if at == 0 => escaped.push_str("\\#"),
            b' ' if at == 0 || at == last => escaped.push_str("\\ "),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    fn of(subject: &[(DnType, DnValue)]) -> Names {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let key = KeyPair::generate().expect("a key");
        names(params.self_signed(&key).expect("a certificate").der()).expect("it reads")
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn subjects_are_written_as_openssl_does() {
        let subject = [
            (DnType::CountryName, utf8("DE")),
            (DnType::OrganizationName, utf8("Acme, Inc.")),
            (DnType::CommonName, utf8("alice")),
        ];
        let names = of(&subject);
        assert_eq!(names.subject, "CN=alice,O=Acme\\, Inc.,C=DE");
        assert_eq!(names.common_name.as_deref(), Some("alice"));
        let strange = of(&[(DnType::CommonName, utf8("# \"ä\" "))]);
        assert_eq!(strange.subject, "CN=\\# \\\"\\C3\\A4\\\"\\ ");
        let own = of(&[(DnType::CustomDnType(vec![1, 2, 3, 4]), utf8("ab"))]);
        assert_eq!(own.subject, "1.2.3.4=#0C026162");
        assert_eq!(own.common_name, None);
    }

    #[test]
    fn a_name_with_a_nul_is_none() {
        assert_eq!(of(&[(DnType::CommonName, utf8("a\0b"))]).common_name, None);
        let wide = DnValue::BmpString("zoë".try_into().expect("it fits"));
        assert_eq!(of(&[(DnType::CommonName, wide)]).common_name.as_deref(), Some("zoë"));
    }

    #[test]
    fn garbage_is_no_certificate() {
        assert!(names(b"").is_err());
        assert!(names(&[0x30; 40]).is_err());
    }
}
