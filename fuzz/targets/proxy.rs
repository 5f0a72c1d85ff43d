//! Headers of the PROXY protocol: whatever comes, it is a header, the beginning of one, or refused;
//! and in how many pieces it comes makes no difference.
//!
//! Input: one byte of rules, then what a proxy sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mogi_transport::proxy::{MAX_HEADER_BYTES, ProxyRules, parse};

fuzz_target!(|input: &[u8]| {
    let Some((&pick, bytes)) = input.split_first() else {
        return;
    };
    let v2 = pick & 1 != 0;
    let rules = ProxyRules {
        v2,
        require_tls: v2 && pick & 2 != 0,
        require_certificate: v2 && pick & 4 != 0,
    };
    let whole = parse(rules, bytes);
    for end in 0..bytes.len().min(MAX_HEADER_BYTES) {
        match parse(rules, &bytes[..end]) {
            // What is complete is not changed by what follows, nor is what is refused.
            Ok(Some((len, proxied))) => {
                assert!(len <= end);
                assert_eq!(whole.as_ref().ok(), Some(&Some((len, proxied))));
            }
            Ok(None) => {}
            Err(_) => assert!(whole.is_err()),
        }
    }
    assert!(whole != Ok(None) || bytes.len() < MAX_HEADER_BYTES, "it waits for ever");
});
