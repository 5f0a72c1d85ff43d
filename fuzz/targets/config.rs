//! Configuration files: whatever stands in one, it can be used or is refused with a reason, and
//! what was read is the same when it is read again.
//!
//! Input: a `mosquitto.conf`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;

/// Reads folders of whoever runs this.
const INCLUDES: &[u8] = b"include_dir";

fuzz_target!(|input: &[u8]| {
    if input.windows(INCLUDES.len()).any(|part| part == INCLUDES) {
        return;
    }
    let dir = std::env::temp_dir().join(format!("mogi-fuzz-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder");
    let path = dir.join("mosquitto.conf");
    fs::write(&path, input).expect("a file");
    match mogi::test_config(&path) {
        Ok(said) => assert_eq!(mogi::test_config(&path), Ok(said)),
        Err(why) => assert!(why.iter().any(|line| !line.is_empty())),
    }
});
