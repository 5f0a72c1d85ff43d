//! Retained messages of a store in Redis: there may be millions, so they are read while clients are
//! served. Who subscribes meanwhile gets them when all are there.

use crate::broker::store::tell_damage;
use crate::log::why;
use crate::net::mailbox::Mail;
use crate::net::shared::Shared;
use mogi_core::LogKind;
use mogi_store::redis::{Nodes, RedisStore};
use mogi_store::{LoadReport, Loaded, Store, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two attempts to read them.
const PAUSE: Duration = Duration::from_secs(1);

/// So many are read in less time than anybody would notice: clients need not be served meanwhile.
const FEW: u64 = 10_000;

/// Reads them, or, if they are many, has a thread of its own do so; whether they are there, and in
/// the report. Whatever changes from now on has to be known here without the store, or be told by
/// other nodes.
///
/// # Errors
/// A line for the log: Redis does not answer, or the operating system gives no thread.
pub(super) fn read(
    store: &RedisStore,
    report: &mut LoadReport,
    shared: &Arc<Shared>,
) -> Result<bool, String> {
    let nodes = store.nodes();
    if store.usage().retained <= FEW {
        let read = read_all(&nodes, shared).map_err(|error| error.to_string())?;
        report.loaded.retained = read.loaded.retained;
        return Ok(true);
    }
    read_aside(nodes, shared).map(|()| false)
}

/// # Errors
/// A line for the log: the operating system gives no thread.
fn read_aside(store: Nodes, shared: &Arc<Shared>) -> Result<(), String> {
    shared.node.retained.set_loading(true);
    let shared = Arc::clone(shared);
    let reading = move || {
        let (begun, mut told) = (Instant::now(), false);
        let report = loop {
            match read_all(&store, &shared) {
                Ok(report) => break report,
                Err(_) if told => {}
                Err(error) => {
                    told = true;
                    let line = "Retained messages cannot be read, subscribers wait";
                    shared.log.log(LogKind::Warning, &format!("{line}: {error}"));
                }
            }
            std::thread::sleep(PAUSE);
        };
        let (count, took_ms) = (report.loaded.retained, begun.elapsed().as_millis());
        let line = format!("Restored {count} retained messages in {took_ms} ms.");
        shared.log.log(LogKind::Information, &line);
        shared.node.retained.set_loading(false);
        shared.send_all(|| Mail::RetainedLoaded);
    };
    let thread = std::thread::Builder::new().name("retained".to_owned()).spawn(reading);
    thread.map(drop).map_err(|error| format!("Error: no thread: {}.", why(&error)))
}

fn read_all(store: &Nodes, shared: &Shared) -> Result<LoadReport, StoreError> {
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
    tell_damage(shared.log, store.place(), &report.damage);
    Ok(report)
}
