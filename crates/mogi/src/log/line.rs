//! The form of a line: the time, and text that cannot do harm.

use super::LogConfig;
use jiff::Zoned;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A line is cut off behind this many bytes, its time included, as Mosquitto does.
const MAX_BYTES: usize = 999;

/// What a line begins with: the time and ": ", or nothing.
pub(super) fn stamp(config: &LogConfig) -> String {
    if !config.timestamp {
        return String::new();
    }
    let Some(format) = &config.timestamp_format else {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
        return format!("{}: ", elapsed.map_or(0, |elapsed| elapsed.as_secs()));
    };
    format!("{}: ", local_time(format, &Zoned::now()))
}

/// The line behind its stamp, without control characters: client ids and topics come from
/// strangers, who must not write lines of their own or move the cursor of whoever reads the log.
/// Tabs do neither.
pub(super) fn whole(stamp: &str, line: &str) -> String {
    let mut out = stamp.to_owned();
    for character in line.chars() {
        if character.is_control() && character != '\t' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
        if out.len() > MAX_BYTES {
            break;
        }
    }
    let mut end = out.len().min(MAX_BYTES);
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
    out
}

/// Why the system refused something, in the words of the C library, without Rust's around them.
pub(crate) fn why(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// Why a file could not be read: where the system only says that it is forbidden, also whose it is,
/// who the broker is, and what helps.
pub(crate) fn why_unread(path: &Path, error: &io::Error) -> String {
    let text = why(error);
    if error.kind() != io::ErrorKind::PermissionDenied {
        return text;
    }
    let own = nix::unistd::geteuid();
    match std::fs::metadata(path) {
        Ok(found) => {
            let (owner, mode, name) = (found.uid(), found.mode() & 0o777, path.display());
            format!(
                "{text}. It belongs to user {owner} with mode {mode:03o}, and the broker is user \
                 {own}: 'chown {own} {name}' lets it in"
            )
        }
        Err(_) => format!("{text}. User {own}, which is the broker, may not enter its folder"),
    }
}

/// `log_timestamp_format`: strftime(3).
fn local_time(format: &str, now: &Zoned) -> String {
    let mut out = Vec::new();
    let mut bytes = format.bytes();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.clone().next()) {
            (b'%', Some(conversion)) => {
                bytes.next();
                mogi_tools::strftime(&mut out, conversion, now);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_told_with_its_owner() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let told = why_unread(&here, &denied);
        assert!(told.contains(" with mode 6") && told.contains("Cargo.toml' lets it in"), "{told}");
        let told = why_unread(Path::new("/nonexistent/x"), &denied);
        assert!(told.contains("may not enter its folder"), "{told}");
        let missing = io::Error::from_raw_os_error(nix::libc::ENOENT);
        assert_eq!(why_unread(&here, &missing), "No such file or directory");
    }

    #[test]
    fn strangers_cannot_write_lines() {
        assert_eq!(whole("", "a\x1b[2Jb\rc\n\u{9b}"), "a\\u{1b}[2Jb\\rc\\n\\u{9b}");
        assert_eq!(whole("7: ", "\tfilter"), "7: \tfilter");
    }

    #[test]
    fn lines_are_cut_off_between_characters() {
        assert_eq!(whole("7: ", &"x".repeat(5000)).len(), 999);
        assert_eq!(whole("7: ", &"x".repeat(996)).len(), 999);
        assert_eq!(whole("7: ", &"é".repeat(5000)).len(), 999);
        assert_eq!(whole("", &"é".repeat(5000)).len(), 998);
        assert_eq!(whole("", &"\x1b".repeat(5000)).len(), 999);
    }

    #[test]
    fn errors_are_told_in_the_words_of_the_c_library() {
        let error = std::fs::File::open("/no/such/file").expect_err("it is not there");
        assert_eq!(why(&error), "No such file or directory");
        assert_eq!(why(&io::Error::other("a reason")), "a reason");
    }

    #[test]
    fn times_are_strftimes() {
        let now: Zoned = "2026-11-21T06:07:08[UTC]".parse().expect("a time");
        let told = |format: &str| local_time(format, &now);
        assert_eq!(told("%Y-%m-%dT%H:%M:%S%z"), "2026-11-21T06:07:08+0000");
        assert_eq!(told("[%s] 100%"), "[1795241228] 100%");
        assert_eq!(told("%% %Q ü"), "% %Q ü");
        let stamped = |timestamp, format: Option<&str>| {
            stamp(&LogConfig {
                timestamp,
                timestamp_format: format.map(str::to_owned),
                ..LogConfig::default()
            })
        };
        assert_eq!(stamped(false, Some("x")), "");
        assert_eq!(stamped(true, Some("x")), "x: ");
        let seconds = stamped(true, None);
        assert!(seconds.trim_end_matches(": ").bytes().all(|byte| byte.is_ascii_digit()));
    }
}
