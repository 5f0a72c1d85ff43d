use super::*;
use crate::conformance::{self, Open};
use std::cell::RefCell;
use tempfile::TempDir;

fn options(dir: &TempDir) -> EmbeddedOptions {
    EmbeddedOptions { sync: Sync::Off, ..EmbeddedOptions::new(dir.path()) }
}

#[test]
fn it_conforms() {
    let dir = RefCell::new(TempDir::new().expect("a directory"));
    conformance::run(&mut |open| {
        if open == Open::Empty {
            dir.replace(TempDir::new().expect("a directory"));
        }
        Box::new(EmbeddedStore::open(options(&dir.borrow())).expect("a store"))
    });
}
