//! Retained messages of a store in Redis: there may be millions, so they are read while clients are
//! served. Who subscribes meanwhile gets them when all are there.

use crate::broker::store::tell_damage;
use crate::log::why;
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_core::LogKind;
use mogi_store::redis::Nodes;
use mogi_store::{Loaded, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two attempts to read them.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads them on a thread of its own. Whatever changes from now on has to be known here without
/// the store, or be told by other nodes.
///
/// # Errors
/// A line for the log: the operating system gives no thread.
pub(super) fn read(store: Nodes, shared: &Arc<Shared>) -> Result<(), String> {
    shared.node.retained.set_loading(true);
    let shared = Arc::clone(shared);
    let reading = move || {
        let mut told = false;
        while let Err(error) = read_all(&store, &shared) {
            if !std::mem::replace(&mut told, true) {
                let line = format!("Retained messages cannot be read, subscribers wait: {error}");
                shared.log.log(LogKind::Warning, &line);
            }
            std::thread::sleep(PAUSE);
        }
        shared.node.retained.set_loading(false);
        shared.send_all(|| Mail::RetainedLoaded);
    };
    let thread = std::thread::Builder::new().name("retained".to_owned()).spawn(reading);
    thread.map(drop).map_err(|error| format!("Error: no thread: {}.", why(&error)))
}

fn read_all(store: &Nodes, shared: &Shared) -> Result<(), StoreError> {
    let begun = Instant::now();
    let retained = &shared.node.retained;
    let mut store = store.look();
    let report = store.load_retained(&mut |loaded| match loaded {
        Loaded::Retained { message, version } => {
            retained.restore(message, version);
        }
        Loaded::RetainedEnd { topic, version } => retained.remove_as_of(&topic, version),
        Loaded::Progress(so_far) => shared.log.log(
            LogKind::Information,
            &format!("Loading: {} retained messages so far.", so_far.retained),
        ),
        _ => {}
    })?;
    let (count, place) = (report.loaded.retained, store.place());
    if count > 0 {
        let took_ms = begun.elapsed().as_millis();
        let line = format!("Restored {count} retained messages from {place} in {took_ms} ms.");
        shared.log.log(LogKind::Information, &line);
    }
    tell_damage(shared.log, place, &report.damage);
    Ok(())
}
