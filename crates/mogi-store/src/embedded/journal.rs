//! Looks through fjall's journals before fjall does.
//!
//! A power failure leaves the last batches of a journal in any state: fjall takes some of these for
//! damage and does not open, and cuts others off without a word, whatever stands behind them. So a
//! journal is read first; what does not belong to a whole batch is copied and cut off, and told.
//! ```text
//!  batch  = | 1 | items 4 | sequence number 8 |  items …  | 3 | xxh3 of the items 8 | "FJL" 3 |
//!  item   = | 2 | type 1 | compression 1 | keyspace 8 | key len 2 | len 4 | stored len 4 |
//!           | key | value |
//!         or | 4 | keyspace 8 |
//! ```

use super::options::OnDamage;
use super::place::Place;
use super::snapshot::copy_sparse;
use crate::error::{ErrorKind, StoreError};
use std::fs::{self, File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8; 4] = b"FJL\x03";
static ZEROS: [u8; 4096] = [0; 4096];

/// What was cut off.
#[derive(Debug, Default)]
pub(super) struct Torn {
    /// Bytes of a last batch that is not whole.
    pub(super) tail_bytes: u64,
    /// Bytes with whole batches behind a damaged one.
    pub(super) lost_bytes: u64,
    /// Where those were, in words.
    pub(super) places: Vec<String>,
    /// Copies of those.
    pub(super) set_aside: Vec<PathBuf>,
}

/// Leaves only whole batches in the journals. Where damage is to stop the start, nothing but a torn
/// tail is touched.
pub(super) fn mend(place: &Place, on_damage: OnDamage, torn: &mut Torn) -> Result<(), StoreError> {
    let data = place.data();
    let Ok(entries) = fs::read_dir(&data) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "jnl") {
            let failed = |error| StoreError::io(&path, "look through this journal", &error);
            let bytes = mend_one(place, &path, on_damage, torn).map_err(failed)?;
            if bytes > 0 {
                let what = format!("{bytes} bytes of this journal are damaged");
                return Err(StoreError::new(ErrorKind::Damaged, &path, what));
            }
        }
    }
    Ok(())
}

/// Copies the journals, and syncs the copies: after a sync that failed, what the page cache shows
/// of them need not be on the disk, and no later sync of the same file would say so.
pub(super) fn renew(place: &Place) -> Result<(), StoreError> {
    let renew_all = || {
        for path in place.journals()? {
            let copy = path.with_extension("jnl-copy");
            copy_sparse(&path, &copy, usize::MAX)?;
            File::open(&copy)?.sync_all()?;
            fs::rename(copy, &path)?;
        }
        File::open(place.data())?.sync_all()
    };
    renew_all().map_err(|error| StoreError::io(&place.data(), "copy the journals", &error))
}

/// Whether there are whole batches behind what does not belong to one.
pub(super) fn is_damaged(path: &Path) -> io::Result<bool> {
    Ok(behind(path, whole_batches(path)?)?.is_some_and(|(_, more)| more))
}

/// Mends one; how many damaged bytes were left as they are.
fn mend_one(place: &Place, path: &Path, on_damage: OnDamage, torn: &mut Torn) -> io::Result<u64> {
    let whole = whole_batches(path)?;
    let Some((bytes, more)) = behind(path, whole)? else { return Ok(0) };
    if more && on_damage == OnDamage::Stop {
        return Ok(bytes);
    }
    if more {
        let aside = place.make_aside().map_err(|error| io::Error::other(error.to_string()))?;
        let copy = aside.join(path.file_name().unwrap_or(path.as_os_str()));
        fs::copy(path, &copy)?;
        torn.set_aside.push(copy);
        torn.lost_bytes += bytes;
        let name = path.file_name().unwrap_or_default().display();
        torn.places.push(format!("the journal {name} is damaged at byte {whole} ({bytes} bytes)"));
    } else {
        torn.tail_bytes += bytes;
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(whole)?;
    file.sync_all()?;
    Ok(0)
}

/// Where the last whole batch ends that has only whole ones before it.
fn whole_batches(path: &Path) -> io::Result<u64> {
    let mut input = Counted { file: BufReader::with_capacity(1 << 17, File::open(path)?), at: 0 };
    let mut buffer = Vec::new();
    let mut end = 0;
    loop {
        match batch(&mut input, &mut buffer) {
            Ok(true) => end = input.at,
            Ok(false) => return Ok(end),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(end),
            Err(error) => return Err(error),
        }
    }
}

/// Reads a batch; whether it is whole.
fn batch(input: &mut Counted, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let [START] = input.array()? else { return Ok(false) };
    let items = u32::from_le_bytes(input.array()?);
    let _sequence_number: [u8; 8] = input.array()?;
    let mut sum = Xxh3::new();
    for _ in 0..items {
        if !item(input, buffer)? {
            return Ok(false);
        }
        sum.update(buffer);
    }
    let [END] = input.array()? else { return Ok(false) };
    let expected = u64::from_le_bytes(input.array()?);
    let trailer: [u8; TRAILER.len()] = input.array()?;
    Ok(expected == sum.finish() && trailer == *TRAILER)
}

/// Reads an item into `buffer`; whether it can be one.
fn item(input: &mut Counted, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.clear();
    let tag = input.array::<1>()?;
    buffer.extend_from_slice(&tag);
    let rest = match tag[0] {
        CLEAR => 8,
        ITEM => {
            let head: [u8; 20] = input.array()?;
            buffer.extend_from_slice(&head);
            let key_len = u64::from(u16::from_le_bytes([head[10], head[11]]));
            let len = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
            key_len + u64::from(len)
        }
        _ => return Ok(false),
    };
    let before = buffer.len() as u64;
    input.append(rest, buffer)?;
    Ok(buffer.len() as u64 == before + rest)
}

/// How many bytes that are not zero are behind `end` (up to the last of them), and whether there is
/// the end of another batch behind the first; `None`: nothing but zeros.
fn behind(path: &Path, end: u64) -> io::Result<Option<(u64, bool)>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(end))?;
    let mut input = BufReader::with_capacity(1 << 17, file);
    let (mut at, mut last, mut ends) = (0_u64, 0, 0);
    let mut kept = Vec::with_capacity((1 << 17) + TRAILER.len());
    loop {
        let len = input.by_ref().take(1 << 17).read_to_end(&mut kept)?;
        if len == 0 {
            break;
        }
        at += len as u64;
        // Most of it is zeros, which compare faster than they are searched.
        let zeros = kept.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()]);
        let back = if zeros { None } else { kept.iter().rev().position(|byte| *byte != 0) };
        if let Some(back) = back {
            last = last.max(at.saturating_sub(back as u64));
            ends += kept.windows(TRAILER.len()).filter(|it| it == TRAILER).count();
        }
        // A trailer may stand across the border.
        kept.drain(..kept.len() - kept.len().min(TRAILER.len() - 1));
    }
    Ok((last > 0).then_some((last, ends > 1)))
}

struct Counted {
    file: BufReader<File>,
    at: u64,
}

impl Counted {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.file.read_exact(&mut array)?;
        self.at += N as u64;
        Ok(array)
    }

    /// As many of `len` bytes as there are.
    fn append(&mut self, len: u64, out: &mut Vec<u8>) -> io::Result<()> {
        self.at += self.file.by_ref().take(len).read_to_end(out)? as u64;
        Ok(())
    }
}
