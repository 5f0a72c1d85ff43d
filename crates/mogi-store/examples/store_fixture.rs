//! Makes the fixture of a version of the store's format, as the tests open it.
//!
//! ```text
//! cargo run -p mogi-store --example store_fixture -- crates/mogi-store/tests/fixtures/store-v2
//! ```
//! The content is that of `tests/format/content.rs`; the numbers of files and the seed differ each
//! time. Half of it is in the tables, half in the log. Journals are 64 MiB long and mostly zeros:
//! those at the end are cut off, as the store itself does when it finds a journal that is shorter
//! than it made it.

#[path = "../tests/format/content.rs"]
mod content;

use mogi_store::{EmbeddedOptions, EmbeddedStore, Store};
use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("say which folder to make"));
    };
    let dir = Path::new(&dir);
    let failed = |error: mogi_store::StoreError| io::Error::other(error.to_string());
    // What is closed goes to the tables.
    let options = EmbeddedOptions { memtable_bytes: 1, ..EmbeddedOptions::new(dir) };
    let batches = content::batches();
    let (first, rest) = batches.split_at(batches.len() / 2);
    for batch in first {
        let mut store = EmbeddedStore::open(options.clone()).map_err(failed)?;
        store.commit(&[batch]).map_err(failed)?;
    }
    let mut store = EmbeddedStore::open(options).map_err(failed)?;
    for batch in rest {
        store.commit(&[batch]).map_err(failed)?;
    }
    // As if it was killed: the rest stays in the log.
    std::mem::forget(store);
    fs::remove_file(dir.join("lock"))?;
    for entry in fs::read_dir(dir.join("data"))?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "jnl") {
            let bytes = fs::read(entry.path())?;
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            fs::write(entry.path(), &bytes[..end])?;
        }
    }
    Ok(())
}
