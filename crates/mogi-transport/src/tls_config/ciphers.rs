//! Lists of ciphers, as OpenSSL writes them. [openssl-ciphers(1)]
//!
//! rustls has six suites of TLS 1.2, all with elliptic curves and authenticated encryption. So much
//! of OpenSSL's language is understood that the lists in use choose among these; what names others
//! is left out and told.

use rustls::{CipherSuite, SupportedCipherSuite};

/// Chooses suites of TLS 1.3 by their names.
///
/// # Errors
/// None is left: why.
pub(super) fn tls13(
    list: &str,
    suites: &[SupportedCipherSuite],
    doubts: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen = Vec::new();
    for name in list.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        match suites.iter().find(|suite| name_of_tls13(suite.suite()) == name) {
            Some(suite) if !chosen.contains(suite) => chosen.push(*suite),
            Some(_) => {}
            None => doubts.push(format!("'ciphers_tls1.3': there is no '{name}' here.")),
        }
    }
    if chosen.is_empty() {
        return Err("TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384 and \
                    TLS_CHACHA20_POLY1305_SHA256 are there to choose from"
            .to_owned());
    }
    Ok(chosen)
}

const fn name_of_tls13(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        _ => "",
    }
}

/// Chooses suites of TLS 1.2 by a list in OpenSSL's notation.
///
/// # Errors
/// None is left: why.
pub(super) fn tls12(
    list: &str,
    suites: &[SupportedCipherSuite],
    doubts: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    let mut banned: Vec<CipherSuite> = Vec::new();
    for item in list.split([':', ',', ' ', ';']).filter(|item| !item.is_empty()) {
        // @STRENGTH sorts, @SECLEVEL=n limits key sizes: these suites are all strong.
        let item = item.split('@').next().unwrap_or_default();
        let (sign, words) = match item.as_bytes().first() {
            None => continue,
            Some(sign @ (b'!' | b'-' | b'+')) => (*sign, &item[1..]),
            Some(_) => (b' ', item),
        };
        let matching: Vec<_> =
            suites.iter().copied().filter(|suite| matches(suite.suite(), words)).collect();
        match sign {
            b'!' => {
                banned.extend(matching.iter().map(SupportedCipherSuite::suite));
                chosen.retain(|suite| !matching.contains(suite));
            }
            b'-' => chosen.retain(|suite| !matching.contains(suite)),
            b'+' => chosen.sort_by_key(|suite| matching.contains(suite)),
            _ if matching.is_empty() => {
                doubts.push(format!("'ciphers': there is no '{item}' here."));
            }
            _ => {
                for suite in matching {
                    if !chosen.contains(&suite) && !banned.contains(&suite.suite()) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    if chosen.is_empty() {
        let names: Vec<_> = suites.iter().map(|suite| name_of_tls12(suite.suite())).collect();
        return Err(format!("{} are there to choose from", names.join(", ")));
    }
    Ok(chosen)
}

/// Whether a suite has the name, or all of the properties joined by `+`.
fn matches(suite: CipherSuite, words: &str) -> bool {
    let name = name_of_tls12(suite);
    let has = |part: &str| name.split('-').any(|it| it == part);
    name == words
        || !words.is_empty()
            && words.split('+').all(|word| match word {
                "ALL" | "DEFAULT" | "HIGH" | "ECDHE" | "EECDH" | "kECDHE" | "kEECDH"
                | "TLSv1.2" => true,
                "AESGCM" => has("GCM"),
                "AES" => has("GCM"),
                "aRSA" => has("RSA"),
                "ECDSA" | "aECDSA" => has("ECDSA"),
                "AES128" | "AES256" | "CHACHA20" => has(word),
                _ => false,
            })
}

const fn name_of_tls12(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs::default_provider;

    fn choose(list: &str) -> (Result<Vec<&'static str>, ()>, usize) {
        let suites = default_provider().cipher_suites;
        let tls12: Vec<_> = suites.into_iter().filter(|it| it.tls13().is_none()).collect();
        assert_eq!(tls12.len(), 6);
        let mut doubts = Vec::new();
        let names = super::tls12(list, &tls12, &mut doubts);
        let names = names.map(|it| it.iter().map(|it| name_of_tls12(it.suite())).collect());
        (names.map_err(drop), doubts.len())
    }

    #[test]
    fn lists_choose_in_their_order() {
        let (a, b) = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305");
        assert_eq!(choose(&format!("{a}:{b}")), (Ok(vec![a, b]), 0));
        assert_eq!(choose(&format!("{b},DHE-RSA-AES128-SHA {a}")), (Ok(vec![b, a]), 1));
        for all in ["HIGH", "DEFAULT@SECLEVEL=2:!aNULL", "ALL:!MD5:!RC4:@STRENGTH", "ECDHE"] {
            let (names, _) = choose(all);
            assert_eq!(names.map(|it| it.len()), Ok(6), "{all}");
        }
        let (names, _) = choose("ECDHE+AESGCM:!aRSA:+AES128");
        let expected = vec!["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"];
        assert_eq!(names, Ok(expected));
        assert_eq!(choose("!aRSA:HIGH:-CHACHA20").0.map(|it| it.len()), Ok(2));
        for none in ["nope", "AES256-SHA:DES-CBC3-SHA", "HIGH:!ALL", "PSK", ""] {
            assert_eq!(choose(none).0, Err(()), "{none}");
        }
    }

    #[test]
    fn suites_of_tls_13_are_chosen_by_name() {
        let suites = default_provider().cipher_suites;
        let mut doubts = Vec::new();
        let list = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256";
        let chosen = tls13(list, &suites, &mut doubts).expect("two of them");
        assert_eq!((chosen.len(), doubts.len()), (2, 1));
        assert!(tls13("nope", &suites, &mut doubts).is_err());
    }
}
