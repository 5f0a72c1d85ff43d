//! The store of the process: opened, read at the start, its troubles told, closed at the end.

use crate::broker::plan::StorePlan;
use crate::broker::retained;
use crate::log::why;
use crate::net::event_loop::EventLoop;
use crate::net::mailbox::Mail;
use crate::net::shared::{LogSink, Shared};
use mogi_core::store::StoredWill;
use mogi_core::{Fetch, LogKind};
use mogi_store::committer::{OnAnswer, OnNotice};
use mogi_store::embedded::migration;
use mogi_store::redis::{self, RedisOptions, RedisStore};
use mogi_store::{
    Answer, Committer, Damage, EmbeddedOptions, EmbeddedStore, LoadReport, Loaded, Notice,
    OnDamage, Progress, Store, StoreError, mosquitto_db,
};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Opens the store, gives the workers what it holds, and has it take their changes from now on.
///
/// # Errors
/// A line for the log: why the broker cannot start.
pub(super) fn start(
    plan: &StorePlan,
    shared: &Arc<Shared>,
    loops: &mut [EventLoop],
) -> Result<(), String> {
    if let Some(options) = &plan.redis {
        return start_redis(options, shared, loops);
    }
    let begun = Instant::now();
    let options = EmbeddedOptions { dir: reachable(&plan.options.dir), ..plan.options.clone() };
    let alive = options.dir.join(ALIVE);
    let dir = options.dir.clone();
    let mut store = EmbeddedStore::open(options).map_err(|error| error.to_string())?;
    migration::refuse_unfinished(&dir).map_err(|error| error.to_string())?;
    let seen_ms = seen_alive_ms(&alive);
    let mut report =
        restore(&mut store, seen_ms, shared, loops).map_err(|error| error.to_string())?;
    // A store that has lost something is none that never had anything.
    let nothing = report.loaded == Progress::default() && report.wills == 0;
    let is_new = report.alive_at_ms.is_none() && nothing && !report.damage.any();
    if is_new && import(&mut store, plan, shared)? {
        begin_anew(shared, loops);
        report = restore(&mut store, seen_ms, shared, loops).map_err(|error| error.to_string())?;
    }
    if let Ok(file) = File::create(&alive) {
        // Until what follows from it is written down, the last time it ran is what it was.
        let last_ms = report.alive_at_ms.max(seen_ms).unwrap_or_else(|| shared.now_ms());
        let _ = file.set_modified(UNIX_EPOCH + Duration::from_millis(last_ms));
        // It is the first: nobody else starts a store.
        let _ = shared.alive.set(file);
    }
    tell(shared.log, &plan.options.dir.display().to_string(), &report, true, begun);
    let (answers, notices) = (answers(shared), notices(shared.log));
    let committer = Committer::start(Box::new(store), answers, notices);
    let committer = committer.map_err(|error| error.to_string())?;
    // It is the first: nobody else starts a store.
    let _ = shared.store.set(Box::new(committer));
    Ok(())
}

/// Starts with a store in Redis.
///
/// # Errors
/// As of [`start`].
fn start_redis(
    options: &RedisOptions,
    shared: &Arc<Shared>,
    loops: &mut [EventLoop],
) -> Result<(), String> {
    let begun = Instant::now();
    let log = shared.log;
    let mut store = RedisStore::open(options).map_err(|error| error.to_string())?;
    store.listen(move |notice| log.log(LogKind::Notice, &format!("{notice}.")));
    let mut restoring = Restoring::new(None, shared, loops);
    let report = store.load_sessions(&mut |loaded, _| restoring.take(loaded));
    let report = report.and_then(|report| {
        restoring.finish(&mut store, &report)?;
        Ok(report)
    });
    let mut report = report.map_err(|error| error.to_string())?;
    let all = retained::read(&store, &mut report, shared)?;
    tell(log, store.place(), &report, all, begun);
    warn_of_loss(log, &store);
    let committer = redis::Committer::start(store, answers(shared), notices(log));
    let committer = committer.map_err(|error| error.to_string())?;
    // It is the first: nobody else starts a store.
    let _ = shared.store.set(Box::new(committer));
    Ok(())
}

/// Says so if acknowledgements do not wait for the replicas there are.
pub(super) fn warn_of_loss(log: &dyn LogSink, store: &RedisStore) {
    if store.unawaited_replicas() > 0 {
        let line = "Warning: Redis has replicas, and redis_wait is 0: when a master dies, what it \
                    took and its replica does not have yet is lost, though it was acknowledged. \
                    With 'redis_wait 1 1000' acknowledgements wait for a replica.";
        log.log(LogKind::Warning, line);
    }
}

/// Takes answers to the workers.
pub(super) fn answers(shared: &Arc<Shared>) -> OnAnswer {
    let shared = Arc::clone(shared);
    Box::new(move |worker, answer| {
        let mail = match answer {
            Answer::Stored { turn } => Mail::Stored { turn },
            Answer::Fetched { token, entries, .. } => Mail::Fetched { token, entries },
            Answer::StoredOne { turn } => Mail::StoredOne { turn },
            Answer::NotStored { turn, session, cause } => Mail::NotStored { turn, session, cause },
            Answer::Claimed { token, claimed } => Mail::Claimed { token, claimed },
            Answer::Read { token, session } => Mail::Read { token, session },
            Answer::Fenced { client, session, epoch } => {
                let line = format!("Another broker has taken over the client {client}.");
                shared.log.log(LogKind::Notice, &line);
                let owner = usize::from(shared.node.owner(&client));
                if let Some(mailbox) = shared.mailboxes.get(owner) {
                    mailbox.send(Mail::Fenced(client, session, epoch), false);
                }
                return;
            }
        };
        if let Some(mailbox) = shared.mailboxes.get(usize::from(worker)) {
            mailbox.send(mail, false);
        }
    })
}

/// Takes notices to the log.
pub(super) fn notices(log: &'static dyn LogSink) -> OnNotice {
    Box::new(move |notice| match notice {
        Notice::Failing { error } => log.log(
            LogKind::Error,
            &format!("Error: {error}. Nothing that is to be kept is acknowledged until it works."),
        ),
        Notice::Partly { error } => log.log(
            LogKind::Error,
            &format!("Error: {error}. What is kept there is acknowledged when it works."),
        ),
        Notice::Said { what } => log.log(LogKind::Notice, &format!("{what}.")),
        Notice::Recovered { after_ms } => log.log(
            LogKind::Notice,
            &format!("The store works again, after {after_ms} ms; what waited is acknowledged."),
        ),
        Notice::Lost { ops, error } => log.log(
            LogKind::Error,
            &format!("Error: {ops} changes that nobody was promised were not kept: {error}"),
        ),
    })
}

/// The file in the store's folder whose time of change says when the broker was last seen to run.
/// A store that is not written to does not say that, and clients that were connected all the time
/// are not to be away since its last change.
const ALIVE: &str = "alive";

fn seen_alive_ms(alive: &Path) -> Option<u64> {
    let seen = alive.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(seen.as_millis()).ok()
}

/// A path by which the store's folder can be opened. Whoever was root when it was started may
/// stand in a folder whose parents are closed to who it is now; the way from here is open.
fn reachable(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    match absolute.metadata() {
        Err(error) if dir.is_relative() && error.kind() == io::ErrorKind::PermissionDenied => {
            Path::new("/proc/self/cwd").join(dir)
        }
        _ => dir.to_owned(),
    }
}

/// Begins a new store with what Mosquitto has left; whether it has left something.
///
/// # Errors
/// A line for the log: the file cannot be read, and a start without it would look like a loss.
fn import(store: &mut dyn Store, plan: &StorePlan, shared: &Shared) -> Result<bool, String> {
    let path = plan.import.display();
    let bytes = match std::fs::read(&plan.import) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(format!(
                "Cannot read {path}: {}. Make it readable for the broker's user, or move it away \
                 to start without it.",
                why(&error)
            ));
        }
    };
    let lossy = plan.options.on_damage == OnDamage::SetAside;
    let (db, damages) = match mosquitto_db::read(&bytes) {
        Ok(db) => (db, Vec::new()),
        Err(error) => match mosquitto_db::read_lossy(&bytes) {
            Ok(recovered) if lossy => (recovered.db, recovered.skipped),
            _ => {
                return Err(format!(
                    "{path} cannot be imported: {error}. Move it away to start without it."
                ));
            }
        },
    };
    let imported = mogi_store::import::import(&db, shared.now_ms());
    if imported.ops.is_empty() {
        return Ok(false);
    }
    store.commit(&[&imported.ops]).map_err(|error| error.to_string())?;
    for damage in damages {
        shared.log.log(LogKind::Error, &format!("Error: {path} is damaged: {damage}. Skipped."));
    }
    shared.log.log(
        LogKind::Notice,
        &format!(
            "Imported {} sessions with {} subscriptions, {} messages for them and {} retained \
             messages from {path}, which stays as it is.",
            imported.sessions, imported.subscriptions, imported.entries, imported.retained
        ),
    );
    Ok(true)
}

/// Gives the workers what the store holds.
fn restore(
    store: &mut dyn Store,
    seen_ms: Option<u64>,
    shared: &Shared,
    loops: &mut [EventLoop],
) -> Result<LoadReport, StoreError> {
    let now_ms = shared.now_ms();
    let mut restoring = Restoring::new(seen_ms, shared, loops);
    let report = store.load(&mut |loaded| restoring.take(loaded))?;
    restoring.finish(store, &report)?;
    if let Some(first) = loops.first_mut() {
        first.worker_mut().purge_retained(now_ms);
    }
    Ok(report)
}

/// What is read of the store of a broker of its own.
struct Restoring<'a> {
    shared: &'a Shared,
    loops: &'a mut [EventLoop],
    now_ms: u64,
    /// When it was seen to run, by something else than the store.
    seen_ms: Option<u64>,
    alive_at_ms: u64,
    wills: Vec<(Arc<str>, StoredWill)>,
}

impl<'a> Restoring<'a> {
    fn new(seen_ms: Option<u64>, shared: &'a Shared, loops: &'a mut [EventLoop]) -> Self {
        let now_ms = shared.now_ms();
        Self { shared, loops, now_ms, seen_ms, alive_at_ms: now_ms, wills: Vec::new() }
    }

    fn take(&mut self, loaded: Loaded) {
        let node = &self.shared.node;
        match loaded {
            Loaded::Alive { at_ms } => {
                self.alive_at_ms = at_ms.max(self.seen_ms).unwrap_or(self.now_ms);
            }
            Loaded::Anew => {
                begin_anew(self.shared, self.loops);
                self.wills.clear();
            }
            Loaded::Session(session) => {
                let owner = usize::from(node.owner(&session.record.client));
                if let Some(owner) = self.loops.get_mut(owner) {
                    owner.worker_mut().restore(self.now_ms, session, self.alive_at_ms);
                }
            }
            Loaded::Retained { message, version } => {
                node.retained.restore(message, version);
            }
            Loaded::Will { client, will } => self.wills.push((client, will)),
            // It is among what is loaded, and nobody else has to be told.
            Loaded::Redone(_) | Loaded::RetainedEnd { .. } => {}
            Loaded::Progress(so_far) => tell_progress(self.shared.log, so_far),
        }
    }

    /// All is read, as the report says.
    fn finish(self, store: &mut dyn Store, report: &LoadReport) -> Result<(), StoreError> {
        let Self { shared, loops, now_ms, alive_at_ms, wills, .. } = self;
        let node = &shared.node;
        node.continue_from(report.last_session, report.last_entry, report.last_version);
        for (client, will) in wills {
            if let Some(owner) = loops.get_mut(usize::from(node.owner(&client))) {
                owner.worker_mut().restore_will(now_ms, &client, &will, alive_at_ms);
            }
        }
        answer_questions(store, now_ms, loops)
    }
}

/// Says how far the reading is.
pub(super) fn tell_progress(log: &dyn LogSink, so_far: Progress) {
    log.log(
        LogKind::Information,
        &format!(
            "Loading: {} sessions, {} messages for them and {} retained messages so far.",
            so_far.sessions, so_far.entries, so_far.retained
        ),
    );
}

/// Messages of groups belong in memory. They are read before anybody is served: a client may end
/// its session with its first packet, and then they are to go to the others.
pub(super) fn answer_questions(
    store: &mut dyn Store,
    now_ms: u64,
    loops: &mut [EventLoop],
) -> Result<(), StoreError> {
    for event_loop in loops {
        let worker = event_loop.worker_mut();
        for fetch in std::mem::take(&mut worker.effects().fetches) {
            let Fetch { key, generation, question, session, entries } = fetch;
            let mut found = Vec::with_capacity(entries.len());
            store.fetch(session, &entries, &mut found)?;
            worker.fetched(now_ms, key, generation, question, found);
        }
    }
    Ok(())
}

/// Empties the workers: what they were given so far is to come again.
fn begin_anew(shared: &Shared, loops: &mut [EventLoop]) {
    shared.node.forget_all();
    loops.iter_mut().for_each(EventLoop::renew_worker);
}

/// Says what was found; `retained`: where retained messages were among it.
pub(super) fn tell(
    log: &dyn LogSink,
    dir: &str,
    report: &LoadReport,
    retained: bool,
    begun: Instant,
) {
    let loaded = report.loaded;
    let (sessions, subscriptions) = (loaded.sessions, report.subscriptions);
    let entries = loaded.entries;
    let all = match retained {
        true => format!(
            "{sessions} sessions with {subscriptions} subscriptions, {entries} messages for them \
             and {} retained messages",
            loaded.retained
        ),
        false => format!(
            "{sessions} sessions with {subscriptions} subscriptions and {entries} messages for them"
        ),
    };
    let took_ms = begun.elapsed().as_millis();
    let line = format!("Restored {all} from {dir} in {took_ms} ms.");
    log.log(LogKind::Information, &line);
    tell_damage(log, dir, &report.damage);
}

/// Says what could not be read, if there is something.
pub(super) fn tell_damage(log: &dyn LogSink, dir: &str, damage: &Damage) {
    if !damage.any() {
        return;
    }
    let first = damage.found.first().map_or("", String::as_str);
    let line = if damage.started_anew {
        format!("Error: The store in {dir} could not be read; a new one was started. {first}")
    } else {
        format!(
            "Error: The store in {dir} is damaged: {} records and {} bytes of a journal are lost, \
             the rest is served. {first}",
            damage.records, damage.lost_journal_bytes
        )
    };
    log.log(LogKind::Error, &line);
    for path in &damage.set_aside {
        log.log(LogKind::Error, &format!("Error: What is damaged was kept in {}.", path.display()));
    }
}
