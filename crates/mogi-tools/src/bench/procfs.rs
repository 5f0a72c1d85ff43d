//! What a process has used, as proc(5) tells it.

use std::fs;
use std::path::Path;

/// What a process had used at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// User and system time of all its threads, living and ended, in seconds.
    pub(super) cpu_s: f64,
    /// Resident set, in bytes.
    pub(super) rss_bytes: u64,
    /// Bytes it caused to be written to storage, the page cache's included; nothing where
    /// the system does not tell.
    pub(super) written_bytes: Option<u64>,
}

/// Reads the usage of process `pid`.
///
/// # Errors
/// In words, where there is no such process or its files are not as proc(5) says.
pub(super) fn usage(pid: u32) -> Result<Usage, String> {
    read_usage(&Path::new("/proc").join(pid.to_string()))
        .map_err(|what| format!("pid {pid}: {what}"))
}

/// The usage of this process.
pub(super) fn own_usage() -> Usage {
    read_usage(Path::new("/proc/self")).unwrap_or_default()
}

fn read_usage(dir: &Path) -> Result<Usage, String> {
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read_to_string(&path).map_err(|err| format!("cannot read {}: {err}", path.display()))
    };
    let ticks = cpu_ticks(&read("stat")?).ok_or("unexpected contents of its stat file")?;
    let rss_bytes = rss_bytes(&read("status")?).ok_or("unexpected contents of its status file")?;
    // Only the process's own user may read this one.
    let written_bytes = read("io").ok().and_then(|io| written_bytes(&io));
    Ok(Usage { cpu_s: ticks as f64 / TICKS_PER_S, rss_bytes, written_bytes })
}

/// `USER_HZ`, the unit of the times in /proc: 100 on every architecture Linux has.
const TICKS_PER_S: f64 = 100.0;

/// Fields 14 and 15 of /proc/PID/stat. The name in field 2 may itself hold blanks and brackets,
/// so counting starts after the last bracket.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// `VmRSS` of /proc/PID/status, in bytes. A process that is about to end has none: 0.
fn rss_bytes(status: &str) -> Option<u64> {
    let Some(line) = status.lines().find(|line| line.starts_with("VmRSS:")) else {
        return status.starts_with("Name:").then_some(0);
    };
    let mut words = line.split_ascii_whitespace().skip(1);
    let kib: u64 = words.next()?.parse().ok()?;
    (words.next()? == "kB").then_some(kib * 1024)
}

/// `write_bytes` of /proc/PID/io: unlike `wchar` it leaves out what goes into sockets.
fn written_bytes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_fields_14_and_15_whatever_the_name() {
        let stat = "4711 (a) R (b c) S 1 4711 4711 0 -1 4194560 900 0 0 0 123 45 7 9 20 0 3 0 1 2";
        assert_eq!(cpu_ticks(stat), Some(168));
        assert_eq!(cpu_ticks("4711 (x) S 1"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn resident_set_is_in_kibibytes() {
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(rss_bytes("Name:\tx\nState:\tZ (zombie)\n"), Some(0));
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t many kB\n"), None);
        assert_eq!(rss_bytes("nonsense"), None);
    }

    #[test]
    fn written_bytes_are_those_of_the_storage() {
        let io = "rchar: 1\nwchar: 2\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(written_bytes(io), Some(4096));
        assert_eq!(written_bytes("wchar: 2\n"), None);
    }

    #[test]
    fn reads_this_very_process_and_names_a_missing_one() {
        let usage = usage(std::process::id()).expect("this process runs");
        assert!(usage.rss_bytes > 0 && usage.cpu_s >= 0.0);
        let err = super::usage(u32::MAX).expect_err("no such pid");
        assert!(err.contains("pid 4294967295"), "{err}");
    }
}
