//! Records that cannot be read: counted, copied to a file for people, and removed.

use super::keys;
use super::place::Place;
use crate::store::Damage;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Damaged records kept in memory until they are written down; more are only counted.
const KEPT: usize = 10_000;

/// What was found since it was last disposed of.
#[derive(Debug, Default)]
pub(super) struct Rubbish {
    found: Vec<Record>,
    count: u64,
}

/// Keyspace, key and record.
type Record = (&'static str, Box<[u8]>, Box<[u8]>);

impl Rubbish {
    pub(super) fn add(&mut self, keyspace: &'static str, key: &[u8], record: &[u8]) {
        self.count += 1;
        if self.found.len() < KEPT {
            self.found.push((keyspace, key.into(), record.into()));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Copies what was found to a file, notes it, and gives the keys that can be removed now.
    pub(super) fn dispose(
        &mut self,
        place: &Place,
        damage: &mut Damage,
    ) -> Vec<(&'static str, Box<[u8]>)> {
        let count = std::mem::take(&mut self.count);
        let found = std::mem::take(&mut self.found);
        damage.records += count;
        let mut text = String::new();
        for (keyspace, key, record) in &found {
            damage.note(|| format!("{} is damaged", keys::in_words(keyspace, key)));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{keyspace} {} {}", hex(key), hex(record));
        }
        let copied = place.make_aside().ok().and_then(|aside| {
            let path = aside.join("records.txt");
            let mut file = OpenOptions::new().create(true).append(true).open(&path).ok()?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).ok()?;
            Some(path)
        });
        match copied {
            Some(path) => {
                damage.set_aside.push(path);
                found.into_iter().map(|(keyspace, key, _)| (keyspace, key)).collect()
            }
            // They stay until they can be copied.
            None => Vec::new(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // As above.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
