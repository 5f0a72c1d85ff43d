//! The disk below a durable broker: how fast it takes small writes, and how much of it is used.

use super::options::Options;
use super::procfs;
use super::report::Report;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

/// Appends `options.size` bytes to a file in `options.data_dir` and calls fdatasync(2), again and
/// again for the duration: what a broker could do at best that handles one message at a time and
/// has it on disk before it says so.
///
/// # Errors
/// When the file cannot be made or written.
pub(super) fn run(options: &Options) -> Result<Report, String> {
    let dir = options.data_dir.as_deref().ok_or("mode disk needs --data-dir")?;
    let path = dir.join(format!("mogi-bench-{}.tmp", std::process::id()));
    let say = |err: std::io::Error| format!("cannot write {}: {err}", path.display());
    let mut file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(say)?;
    // On every way out of here the file goes; that it went does not change what was measured.
    let result = append(options, &mut file).map_err(say);
    let _ = fs::remove_file(&path);
    result
}

fn append(options: &Options, file: &mut fs::File) -> std::io::Result<Report> {
    let mut latency = Histogram::new_with_bounds(1000, 60_000_000_000, 3)
        .map_err(|err| std::io::Error::other(err.to_string()))?;
    let bytes = vec![b'm'; options.size];
    let (own, started) = (procfs::own_usage(), Instant::now());
    let mut report = Report::new(options, "disk");
    loop {
        let before = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        let ns = u64::try_from(before.elapsed().as_nanos()).unwrap_or(u64::MAX);
        latency.saturating_record(ns);
        report.measured.published += 1;
        if started.elapsed() >= options.duration {
            break;
        }
    }
    report.measured.seconds = started.elapsed().as_secs_f64();
    report.measured.generator_cpu_s = procfs::own_usage().cpu_s - own.cpu_s;
    report.set_latency(&latency);
    Ok(report)
}

/// What a folder takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Space {
    /// The lengths of its files.
    pub(super) apparent: u64,
    /// The blocks they have: fewer where a file has holes, more where space is reserved.
    pub(super) allocated: u64,
}

/// What everything below `dir` takes.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn space(dir: &Path) -> Result<Space, String> {
    let mut sum = Space::default();
    add(dir, &mut sum).map_err(|err| format!("--data-dir {}: {err}", dir.display()))?;
    Ok(sum)
}

fn add(dir: &Path, sum: &mut Space) -> std::io::Result<()> {
    /// `st_blocks` counts in these, whatever the file system's own block size (stat(3type)).
    const BLOCK: u64 = 512;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A store at work removes files between the listing and the look.
        let meta = match entry.metadata() {
            Err(err) if err.kind() == ErrorKind::NotFound => continue,
            meta => meta?,
        };
        if meta.is_dir() {
            match add(&entry.path(), sum) {
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                result => result?,
            }
        } else {
            sum.apparent += meta.len();
            sum.allocated += meta.blocks() * BLOCK;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder of its own for a test.
    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("mogi-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        dir
    }

    #[test]
    fn space_is_that_of_all_files_below() {
        let dir = folder("space");
        fs::create_dir_all(dir.join("deep")).expect("a folder");
        fs::write(dir.join("a"), [1; 1000]).expect("written");
        fs::write(dir.join("deep/b"), [1; 24]).expect("written");
        let hole = fs::File::create(dir.join("hole")).expect("made");
        hole.set_len(1 << 20).expect("a hole");
        let space = space(&dir).expect("counted");
        fs::remove_dir_all(&dir).expect("removed");
        assert_eq!(space.apparent, 1024 + (1 << 20));
        assert!(space.allocated < 1 << 20, "{space:?}");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let err = space(Path::new("/nowhere/at all")).expect_err("missing");
        assert!(err.contains("/nowhere/at all"), "{err}");
    }

    #[test]
    fn every_write_is_counted_and_the_file_goes() {
        let dir = folder("disk");
        let name = dir.to_str().expect("UTF-8");
        let options = Options::parse(["disk", "-d", "0", "--data-dir", name]).expect("good");
        let report = run(&options).expect("measured");
        assert_eq!((report.measured.published, report.clean()), (1, true));
        assert!(report.latency_us.is_some());
        fs::remove_dir(&dir).expect("empty again");
    }
}
