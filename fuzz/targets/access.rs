//! Files of users and rights, and requests to dynamic security: nothing in them leads to a panic,
//! what is read is written and read again the same, and nobody is allowed what nobody may do.
//!
//! Input: `p` and a password file; `a` and an ACL file; `d` and a file of dynamic security, with a
//! request behind a line of `---`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mogi_auth::acl_file::AclFile;
use mogi_auth::dynsec::{Context, Dynsec};
use mogi_auth::password_file::PasswordFile;
use mogi_auth::{Access, SALT_BYTES, Verdict, Who};

const TOPICS: [&str; 6] = ["a", "a/b", "$SYS/x", "$CONTROL/x", "a/#", "$share/g/+/b"];
const ALL: [Access; 4] = [Access::Read, Access::Write, Access::Subscribe, Access::Unsubscribe];

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    match kind {
        b'p' => passwords(rest),
        b'a' => acl(rest),
        b'd' => dynsec(rest),
        _ => {}
    }
});

fn passwords(file: &[u8]) {
    if let Ok(read) = PasswordFile::parse(file) {
        assert_eq!(read.get(""), None);
    }
}

fn acl(file: &[u8]) {
    for strict in [false, true] {
        let Ok((acl, _)) = AclFile::parse(file, strict) else {
            return;
        };
        for username in [None, Some("ann"), Some("#")] {
            let who = Who { client_id: "c", username };
            for topic in TOPICS {
                let all = ALL.map(|access| acl.allows(&who, access, topic));
                assert!(all[3] && (strict || all[2]));
            }
        }
    }
}

fn dynsec(input: &[u8]) {
    let at = input.windows(5).position(|part| part == b"\n---\n");
    let (file, request) = match at {
        Some(at) => (&input[..at], &input[at + 5..]),
        None => (input, &b"{}"[..]),
    };
    let Ok(mut dynsec) = Dynsec::parse(file) else {
        return;
    };
    // A password that takes seconds to hash is no finding.
    if request.windows(10).any(|part| part == b"iterations") {
        return;
    }
    let who = Who { client_id: "c", username: Some("ann") };
    let mut salt = || Some([0; SALT_BYTES]);
    let mut context = Context { salt: &mut salt, connections: &|_| Vec::new() };
    let outcome = dynsec.handle(&who, request, &mut context);
    assert!(outcome.response.starts_with(b"{\"responses\":["));
    let saved = dynsec.to_json();
    let again = Dynsec::parse(&saved).expect("what was saved is read");
    for topic in TOPICS {
        for access in ALL {
            let verdict = dynsec.decide(&who, access, topic);
            assert_eq!(verdict, again.decide(&who, access, topic));
            let nobody = Who { client_id: "c", username: Some("\u{1}nobody") };
            if dynsec.client_count() == 0 {
                assert_eq!(dynsec.decide(&nobody, access, topic), Verdict::Defer);
            }
        }
    }
}
