//! Dynamic security: where it is kept, how requests change it, how changes come into force.
//!
//! It is kept in a file, or, with the state in Redis, there as a document all brokers share. A
//! change is then made of what Redis has, and kept only if that has not changed meanwhile; who was
//! outrun carries its request out again. Other brokers are told over their links, and have it in
//! force when the request is answered; besides, each looks every second.

use super::control::{enforce, tell};
use super::files;
use super::plan::DynsecPlan;
use crate::log::why;
use crate::net::shared::{LogSink, Shared};
use mogi_auth::Who;
use mogi_auth::dynsec::{Context, Dynsec, Kick, Outcome};
use mogi_auth::rules::{RuleSet, Source};
use mogi_core::{Control, Judgement, LogKind, Standing};
use mogi_store::redis::RedisOptions;
use mogi_store::redis::document::{Document, Mark, Replaced, Seen};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often brokers look whether others have changed it.
const LOOK: Duration = Duration::from_secs(1);
/// How long Redis may be silent before requests do not wait for it.
const SILENCE: Duration = Duration::from_secs(2);
/// How long an answer waits until other brokers have the change in force: longer than one that
/// cannot be told takes to look.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a request is carried out that others outrun.
const TRIES: u32 = 50;

/// Dynamic security, and where it is kept.
pub(super) struct Keeping {
    place: Place,
    state: Mutex<State>,
    /// Since when Redis has been asked and has not answered.
    asked: Mutex<Option<Instant>>,
}

enum Place {
    File(PathBuf),
    Redis(Arc<Document>),
}

/// Dynamic security as it was saved last.
pub(super) struct State {
    pub(super) dynsec: Arc<Dynsec>,
    /// Which state of the document it is.
    mark: Option<Mark>,
    /// One that cannot be used, and was told of.
    unusable: Option<Mark>,
}

impl Keeping {
    /// Reads it, or makes the first one. `redis`: where the state is, if it is there.
    ///
    /// # Errors
    /// It cannot be read or written: a line for the log.
    pub(super) fn open(
        plan: &DynsecPlan,
        redis: Option<&RedisOptions>,
        log: &dyn LogSink,
    ) -> Result<Self, String> {
        let (place, dynsec, mark) = match redis {
            None => (Place::File(plan.file.clone()), files::load_dynsec(plan, log)?, None),
            Some(options) => {
                let document = Document::dynsec(options).map_err(|error| error.to_string())?;
                let (dynsec, mark) = open_document(&document, plan, log)?;
                (Place::Redis(Arc::new(document)), dynsec, Some(mark))
            }
        };
        let state = State { dynsec: Arc::new(dynsec), mark, unusable: None };
        Ok(Self { place, state: Mutex::new(state), asked: Mutex::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Redis has. Where it has been silent for a while nobody waits for it.
    fn see(&self, document: &Document) -> Result<Seen, String> {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_some_and(|since| since.elapsed() > SILENCE) {
            return Err(format!("{}: no answer", document.place()));
        }
        document.read().map_err(|error| error.to_string())
    }

    fn set_asked(&self, asked: Option<Instant>) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}

/// Looks at what other brokers change, from now on.
///
/// # Errors
/// A line for the log: there is no thread for it.
pub(crate) fn watch(shared: &Arc<Shared>) -> Result<(), String> {
    let Some(Place::Redis(document)) = shared.access.dynsec.as_ref().map(|it| &it.place) else {
        return Ok(());
    };
    let (document, own) = (Arc::clone(document), Arc::downgrade(shared));
    let look = move || {
        while let Some(shared) = own.upgrade() {
            let Some(keeping) = &shared.access.dynsec else { return };
            keeping.set_asked(Some(Instant::now()));
            let (told, tells) = mpsc::channel();
            document.look(move |mark| drop(told.send(mark)));
            let mark = tells.recv();
            keeping.set_asked(None);
            let known = keeping.lock().mark.clone();
            // If somebody has removed it, it stays in force, and is there again with a change.
            if let Ok(Some(mark)) = mark
                && Some(mark) != known
            {
                refresh(&shared);
            }
            drop(shared);
            std::thread::sleep(LOOK);
        }
    };
    let thread = std::thread::Builder::new().name("dynsec".to_owned()).spawn(look);
    thread.map(drop).map_err(|error| format!("Error: no thread: {}.", why(&error)))
}

/// Puts in force what another broker has changed, if it has.
pub(crate) fn refresh(shared: &Arc<Shared>) {
    let Some(keeping) = &shared.access.dynsec else { return };
    let Place::Redis(document) = &keeping.place else { return };
    let mut state = keeping.lock();
    // What is wrong with Redis the store tells; what is wrong with the document is told there.
    if let Ok(seen) = keeping.see(document) {
        let _ = follow(shared, document, &mut state, &seen);
    }
}

/// Answers a request on `$CONTROL/dynamic-security/v1`.
pub(super) fn answer(shared: &Arc<Shared>, worker: u16, control: &Control) {
    let access = &shared.access;
    let Some(keeping) = &access.dynsec else { return };
    let mut state = keeping.lock();
    let (outcome, changed) = match &keeping.place {
        Place::File(path) => {
            let (changed, mut outcome) = carry_out(&state.dynsec, control);
            if outcome.changed
                && let Err(error) = files::save_dynsec(path, &changed)
            {
                let what = format!("Unable to save {}: {}", path.display(), why(&error));
                fail(shared, &mut outcome, &what);
            }
            (outcome, changed)
        }
        Place::Redis(document) => change(shared, keeping, document, &mut state, control),
    };
    for line in &outcome.logs {
        shared.log.log(LogKind::Information, line);
    }
    let rights = outcome.changed.then(|| {
        state.dynsec = Arc::new(changed);
        access.replace(with_dynsec(access.sets(), &state.dynsec))
    });
    drop(state);
    // Whoever hears that it is done finds it in force; who has to leave hears of it before.
    if let Some(rights) = &rights {
        enforce(shared, rights, None);
        if let Some(links) = shared.links.get() {
            links.tell_rights(PATIENCE);
        }
    }
    tell(shared, worker, control, outcome.response);
    if let Some(rights) = rights {
        let kicks = outcome.kicks;
        enforce(shared, &rights, Some(Arc::new(move |standing| kicked(&kicks, standing))));
    }
}

/// What a request makes of it, saved nowhere.
fn carry_out(dynsec: &Dynsec, control: &Control) -> (Dynsec, Outcome) {
    let mut changed = dynsec.clone();
    let who = Who { client_id: &control.client_id, username: control.username.as_deref() };
    let mut salt = files::fresh_salt;
    // Connections belong to workers, who are not asked for this.
    let mut context = Context { salt: &mut salt, connections: &|_| Vec::new() };
    let outcome = changed.handle(&who, &control.payload, &mut context);
    (changed, outcome)
}

/// Carries a request out on what Redis has now, and saves it there. What only asks is answered
/// without Redis as well.
fn change(
    shared: &Arc<Shared>,
    keeping: &Keeping,
    document: &Document,
    state: &mut State,
    control: &Control,
) -> (Outcome, Dynsec) {
    let mut tries = 0;
    loop {
        tries += 1;
        let seen = keeping.see(document);
        let seen = seen.and_then(|seen| follow(shared, document, state, &seen).map(|()| seen));
        let (changed, mut outcome) = carry_out(&state.dynsec, control);
        if !outcome.changed {
            return (outcome, changed);
        }
        let text = changed.to_json();
        let saved = seen.and_then(|seen| {
            let name = files::random_text().ok_or("the system gives no random numbers")?;
            document.replace(&seen, &name, &text).map_err(|error| error.to_string())
        });
        // As others read it: the order in which clients were added to groups is not in the text.
        let read_back = Dynsec::parse(&text).map_err(|error| error.to_string());
        match (saved, read_back) {
            (Ok(Replaced::Done(mark)), Ok(changed)) => {
                state.mark = Some(mark);
                return (outcome, changed);
            }
            (Ok(Replaced::Outrun), _) if tries < TRIES => {}
            (Ok(_), read_back) => {
                let what =
                    read_back.err().unwrap_or_else(|| "others change it all the time".into());
                fail(shared, &mut outcome, &format!("Unable to save {}: {what}", document.place()));
                return (outcome, changed);
            }
            (Err(error), _) => {
                fail(shared, &mut outcome, &format!("Unable to save dynamic security: {error}"));
                return (outcome, changed);
            }
        }
    }
}

/// Puts in force what another broker has changed, if it has.
///
/// # Errors
/// What Redis has cannot be used, in words; what was in force stays.
fn follow(
    shared: &Arc<Shared>,
    document: &Document,
    state: &mut State,
    seen: &Seen,
) -> Result<(), String> {
    let Some((mark, text)) = &seen.edition else { return Ok(()) };
    if state.mark.as_ref() == Some(mark) {
        return Ok(());
    }
    let dynsec = Dynsec::parse(text).map_err(|error| {
        let what = format!("{}: {error}", document.place());
        if state.unusable.replace(mark.clone()).as_ref() != Some(mark) {
            let line = format!("Error: dynsec: {what}. What was in force stays.");
            shared.log.log(LogKind::Error, &line);
        }
        what
    })?;
    let kicks = dynsec.concerned_since(&state.dynsec);
    *state = State { dynsec: Arc::new(dynsec), mark: Some(mark.clone()), unusable: None };
    let access = &shared.access;
    let rights = access.replace(with_dynsec(access.sets(), &state.dynsec));
    let line = format!("dynsec: version {}, changed by another broker, is in force.", mark.version);
    shared.log.log(LogKind::Information, &line);
    enforce(shared, &rights, Some(Arc::new(move |standing| kicked(&kicks, standing))));
    Ok(())
}

/// What Redis has, or, where it has nothing, what the file has, or a first one.
fn open_document(
    document: &Document,
    plan: &DynsecPlan,
    log: &dyn LogSink,
) -> Result<(Dynsec, Mark), String> {
    let failed = |error: mogi_store::StoreError| error.to_string();
    let (place, file) = (document.place(), plan.file.display());
    loop {
        let seen = document.read().map_err(failed)?;
        if let Some((mark, text)) = seen.edition {
            let dynsec = Dynsec::parse(&text).map_err(|error| format!("{place}: {error}."))?;
            let line =
                format!("dynsec: read from {place}, version {}; not from {file}.", mark.version);
            log.log(LogKind::Information, &line);
            return Ok((dynsec, mark));
        }
        let (first, secret) = match files::read_dynsec(plan, log)? {
            Some(dynsec) => (dynsec, None),
            None => files::first_dynsec(plan, log)?,
        };
        let name = files::random_text().ok_or("the system gives no random numbers.")?;
        // As others read it.
        let text = first.to_json();
        let saved = document.replace(&seen, &name, &text);
        match (&saved, &secret) {
            (Ok(Replaced::Done(_)), _) | (_, None) => {}
            // It is nobody's password.
            (_, Some(secret)) => drop(std::fs::remove_file(secret)),
        }
        if let Replaced::Done(mark) = saved.map_err(failed)? {
            let dynsec = Dynsec::parse(&text).map_err(|error| format!("{place}: {error}."))?;
            let line = format!("dynsec: from now on in {place}; {file} stays as it is.");
            log.log(LogKind::Notice, &line);
            return Ok((dynsec, mark));
        }
    }
}

fn kicked(kicks: &BTreeSet<Kick>, standing: &Standing<'_>) -> Judgement {
    let kick = match standing.username {
        Some(name) => Kick::User(name.into()),
        None => Kick::Anonymous,
    };
    if kicks.contains(&kick) { Judgement::Leave } else { Judgement::Stay }
}

/// Nothing of a request came into force: what is not saved would be gone after the next start.
fn fail(shared: &Shared, outcome: &mut Outcome, what: &str) {
    shared.log.log(LogKind::Error, &format!("Error: dynsec: {what}."));
    outcome.changed = false;
    outcome.kicks.clear();
    let Ok(mut response) = serde_json::from_slice::<Value>(&outcome.response) else {
        return;
    };
    for one in response["responses"].as_array_mut().into_iter().flatten() {
        let told = one.get("data").is_some() || one.get("error").is_some();
        if let (Some(one), false) = (one.as_object_mut(), told) {
            one.insert("error".to_owned(), json!(what));
        }
    }
    outcome.response = response.to_string().into_bytes();
}

/// The rules with dynamic security as it is now.
fn with_dynsec(sets: Vec<Arc<RuleSet>>, dynsec: &Arc<Dynsec>) -> Vec<Arc<RuleSet>> {
    let replaced = |set: Arc<RuleSet>| {
        let sources = set.sources.iter().map(|source| match source {
            Source::Dynsec(_) => Source::Dynsec(Arc::clone(dynsec)),
            other => other.clone(),
        });
        let sources = sources.collect();
        Arc::new(RuleSet { sources, allow_anonymous: set.allow_anonymous })
    };
    sets.into_iter().map(replaced).collect()
}
