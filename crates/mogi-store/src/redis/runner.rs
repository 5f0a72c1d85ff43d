//! What the committer's thread does.

use super::claim::Claiming;
use super::committer::{Pending, Question, Shared, Whose, claimed};
use super::fetch::Search;
use super::health::Health;
use super::keys::Tag;
use super::lanes::{Fenced, Lanes, Out};
use super::leaving::Leaving;
use super::link::Link;
use super::store::{Marks, RedisStore};
use super::wire::{Commands, Request, Value};
use crate::clock::now_ms;
use crate::committer::{Answer, Notice, OnAnswer, OnNotice};
use crate::ops::{Batch, Cause, EntryNo, SessionNo, StoreOp};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mogi_core::Wait;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How long it waits for Redis while closing.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// How often marks are written, and what is settled, while there is work.
const TICK_EVERY: Duration = Duration::from_millis(500);

/// How often it is written down that this node lives while there is nothing to write.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Under load with subscribers that are there, how long a group gathers: each message that is
/// acknowledged within that time need not be written.
const GATHER: Duration = Duration::from_millis(2);

/// Changes from which on that is load.
const GATHER_OPS: u64 = 500;

/// What Redis says it will never do is tried again after so long: somebody may repair it.
const REPAIRED: Duration = Duration::from_secs(1);

/// The worker that changes of the committer itself belong to.
const OWN: u16 = u16::MAX;

pub(super) struct Runner {
    shared: Arc<Shared>,
    link: Link,
    node: Arc<str>,
    lanes: Lanes,
    on_answer: OnAnswer,
    health: Arc<Health>,
    marks: Marks,
    marks_out: bool,
    marked: Option<Instant>,
    /// The last marks are written.
    ended: bool,
    /// Something was written since the marks were.
    wrote: bool,
    searches: HashMap<u64, Asked, RandomState>,
    claims: HashMap<u64, Claim, RandomState>,
    last_id: u64,
    /// The last turn of its own.
    last_roll: u64,
    /// Clients that were elsewhere and are claimed, until their workers know.
    unsettled: HashMap<Arc<str>, Arrived, RandomState>,
    /// Questions that wait for changes to arrive.
    waiting: Vec<Question>,
    leaving: Leaving,
    /// Slots whose request Redis does not take, and when it is tried again.
    broken: Vec<(Instant, u16)>,
    /// Claims Redis does not take, and when they are tried again.
    denied: Vec<(Instant, u64)>,
    ticked: Instant,
    gathers: bool,
    round: (u64, u64),
}

struct Asked {
    worker: u16,
    token: u64,
    session: SessionNo,
    search: Search,
}

struct Claim {
    worker: u16,
    token: u64,
    claiming: Claiming,
    /// Whether the client was here before, and nobody else had it since; `None`: not known yet.
    ours: Option<bool>,
    /// The turn of the committer's own with what the owner before left undone.
    rolls: Option<u64>,
    /// Of what that is done, and sessions that got something by it.
    done: Vec<Cause>,
    reached: Vec<SessionNo>,
    retained: Vec<StoreOp>,
}

/// A client that was elsewhere. What is changed here before its worker knows is of an earlier stay,
/// and changed under the claim of that one.
struct Arrived {
    epoch: u64,
    session: Option<SessionNo>,
    /// What the owner before had left undone.
    done: Vec<Cause>,
}

impl Runner {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: RedisStore,
        on_answer: OnAnswer,
        on_notice: OnNotice,
    ) -> Self {
        let RedisStore { link, directory, node, marks, .. } = store;
        let health = Arc::new(Health::new(Arc::clone(&shared), link.place.clone(), on_notice));
        let listening = Arc::clone(&health);
        link.listen(move |notice| listening.hear(notice));
        Self {
            shared,
            link,
            node,
            lanes: Lanes::new(directory),
            on_answer,
            health,
            marks,
            marks_out: false,
            marked: None,
            ended: false,
            wrote: false,
            searches: HashMap::default(),
            claims: HashMap::default(),
            last_id: 0,
            last_roll: 0,
            unsettled: HashMap::default(),
            waiting: Vec::new(),
            leaving: Leaving::default(),
            broken: Vec::new(),
            denied: Vec::new(),
            ticked: Instant::now(),
            gathers: false,
            round: (0, 0),
        }
    }

    /// Works until it is to end.
    pub(super) fn run(mut self) {
        let mut closing_since = None;
        loop {
            if self.gathers {
                std::thread::sleep(GATHER);
            }
            let closing = closing_since.is_some();
            let taken = self.take(closing);
            if taken.closing {
                closing_since.get_or_insert_with(Instant::now);
            }
            self.work(taken);
            if closing_since.is_some() {
                // The workers are gone.
                self.lanes.claims_end();
            }
            if self.ticked.elapsed() >= TICK_EVERY || closing_since.is_some() {
                self.tick(closing_since.is_some());
            }
            if let Some(since) = closing_since {
                let done = self.lanes.tickets.is_empty() && self.ended && !self.marks_out;
                if done || since.elapsed() >= CLOSING_MAX {
                    break;
                }
            }
        }
        let ops = self.shared.ops.load(Ordering::Relaxed);
        if ops > 0 {
            let error = self.link.told("it did not answer in time");
            self.health.tell(Notice::Lost { ops, error });
        }
    }

    /// What is due; waits for it.
    fn take(&self, closing: bool) -> Pending {
        let mut pending = self.shared.pending();
        let tick = self.ticked + TICK_EVERY;
        loop {
            if pending.has_news() || (pending.closing && !closing) {
                break;
            }
            let now = Instant::now();
            let broken = !self.broken.is_empty() || !self.denied.is_empty();
            let waits = !self.lanes.tickets.is_empty() || broken;
            let busy = self.wrote || closing || waits;
            let idle = now + ALIVE_EVERY;
            let tick = if busy { tick } else { self.marked.map_or(idle, |at| at + ALIVE_EVERY) };
            let tick = Some(tick.saturating_duration_since(now));
            let tick = if closing { Some(Duration::from_millis(10)) } else { tick };
            let wait = match (pending.patience(), tick) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            if wait == Some(Duration::ZERO) {
                break;
            }
            pending.sleeping = true;
            let wake = &self.shared.wake;
            let timed_out;
            (pending, timed_out) = match wait {
                Some(length) => {
                    let woken = wake.wait_timeout(pending, length);
                    let (pending, result) = woken.unwrap_or_else(PoisonError::into_inner);
                    (pending, result.timed_out())
                }
                None => (wake.wait(pending).unwrap_or_else(PoisonError::into_inner), false),
            };
            pending.sleeping = false;
            if timed_out {
                break;
            }
        }
        pending.take_due()
    }

    fn work(&mut self, taken: Pending) {
        let now_ms = now_ms();
        for (whose, outcome) in taken.replies {
            // Closed: that is the end.
            let Ok(reply) = outcome else { continue };
            match whose {
                Whose::Lane(slot) => self.lane_returned(slot, &reply.values, now_ms),
                Whose::Freeing(slot) => self.lanes.freed(slot, &reply.values),
                Whose::Search(id) => self.search_returned(id, &reply.values),
                Whose::Claim(id) => self.claim_returned(id, &reply.values),
                Whose::Marks => self.marks_out = false,
            }
        }
        // What waited for changes to leave may go, before there are more.
        for question in std::mem::take(&mut self.waiting) {
            self.ask(question);
        }
        // Who was told of a session may have written for it at once: first it has to be known.
        let learns = |it: &_| matches!(it, Question::Learn { .. } | Question::Forget { .. });
        let (learned, questions): (Vec<_>, _) = taken.questions.into_iter().partition(learns);
        learned.into_iter().for_each(|question| self.ask(question));
        let (settles, questions): (Vec<_>, Vec<_>) =
            questions.into_iter().partition(|it| matches!(it, Question::Settle { .. }));
        let mut settles = settles.into_iter().peekable();
        let mut ops = 0;
        for (at, turn) in taken.turns.into_iter().enumerate() {
            // What comes behind is of the claim.
            while let Some(settle) = settles.next_if(|it| it.is_before(at)) {
                self.ask(settle);
            }
            ops += turn.batch.len() as u64;
            turn.batch.iter().for_each(|op| self.marks.see(op));
            self.lanes.submit(turn.worker, turn.turn, turn.batch, turn.wait, turn.bytes);
        }
        settles.for_each(|settle| self.ask(settle));
        self.waiting.extend::<Vec<_>>(questions);
        std::mem::take(&mut self.waiting).into_iter().for_each(|question| self.ask(question));
        for client in taken.releases {
            self.leaving.add(client, &mut self.lanes.directory);
        }
        self.leaving.forget_some(&mut self.lanes);
        self.shared.claims.store(self.lanes.directory.claims() as u64, Ordering::Relaxed);
        let before = self.lanes.counts;
        self.send_all(now_ms);
        if self.wrote {
            self.mark(false);
        }
        let after = self.lanes.counts;
        self.measure_load(ops, after.compacted - before.compacted);
        self.answer();
    }

    /// Whether the last round made up for itself to a good part: a larger one would even more.
    fn measure_load(&mut self, ops: u64, dropped: u64) {
        self.round = (self.round.0 + ops, self.round.1 + dropped);
        if ops > 0 {
            self.gathers = self.round.0 >= GATHER_OPS && self.round.1 >= self.round.0 / 4;
            self.round = (0, 0);
        }
    }

    fn send_all(&mut self, now_ms: u64) {
        while let Some(Out { slot, commands, frees }) = self.lanes.next(now_ms) {
            if frees {
                let request = Request { durable: true, frees, ..Request::new(slot, commands) };
                self.send(request, Whose::Freeing(slot));
            } else {
                self.send_lane(slot, commands);
            }
        }
    }

    fn send_lane(&mut self, slot: u16, commands: Commands) {
        self.wrote = true;
        let request = Request { durable: true, ..Request::new(slot, commands) };
        self.send(request, Whose::Lane(slot));
    }

    fn send(&self, request: Request, whose: Whose) {
        let shared = Arc::clone(&self.shared);
        self.link.cluster.send(request, move |outcome| {
            shared.push(|pending| {
                pending.replies.push((whose, outcome));
                true
            });
        });
    }

    fn lane_returned(&mut self, slot: u16, values: &[Value], now_ms: u64) {
        match self.lanes.returned(slot, values, now_ms) {
            Ok(Some(commands)) => self.send_lane(slot, commands),
            Ok(None) => self.health.works(slot),
            Err(what) => {
                self.health.breaks(slot, what);
                self.broken.push((Instant::now() + REPAIRED, slot));
            }
        }
    }

    fn tick(&mut self, closing: bool) {
        self.ticked = Instant::now();
        self.lanes.settle();
        let now = Instant::now();
        let due: Vec<u16> =
            self.broken.extract_if(.., |(at, _)| *at <= now).map(|(_, slot)| slot).collect();
        for slot in due {
            if let Some(commands) = self.lanes.again(slot) {
                self.send_lane(slot, commands);
            }
        }
        let denied = self.denied.extract_if(.., |(at, _)| *at <= now);
        for (_, id) in denied.collect::<Vec<_>>() {
            self.claim_on(id);
        }
        self.lanes.look_at_stuck(now_ms());
        self.send_all(now_ms());
        self.mark(closing && self.lanes.tickets.is_empty());
    }

    /// Writes down that this node lives, and what numbers it has used, unless that was done just
    /// now. `last`: it will use no more.
    fn mark(&mut self, last: bool) {
        let passed = self.marked.map_or(Duration::MAX, |at| at.elapsed());
        let due = if self.wrote { TICK_EVERY } else { ALIVE_EVERY };
        if self.marks_out || (passed < due && !last) || self.ended {
            return;
        }
        (self.wrote, self.marks_out, self.ended) = (false, true, last);
        self.marked = Some(Instant::now());
        self.marks.alive(now_ms());
        let request = self.marks.request(&self.lanes.directory.keys, &self.node, !last);
        self.send(request, Whose::Marks);
    }

    fn ask(&mut self, question: Question) {
        match question {
            Question::Fetch { worker, token, session, entries } => {
                self.fetch(worker, token, session, entries);
            }
            Question::Claim { worker, token, client } => {
                // What was changed before is to be in the store, or the claim finds it undone.
                if self.lanes.gathers(Tag::of(&client).slot) || self.lanes.holds_will(&client) {
                    return self.waiting.push(Question::Claim { worker, token, client });
                }
                self.lanes.claim_begins(Tag::of(&client).slot, &client);
                self.begin_claim(worker, token, Claiming::new(&client));
            }
            Question::Read { worker, token, client } => {
                if self.lanes.gathers(Tag::of(&client).slot) {
                    return self.waiting.push(Question::Read { worker, token, client });
                }
                self.begin_claim(worker, token, Claiming::reading(&client));
            }
            Question::Settle { client, .. } => self.settle(&client),
            Question::Learn { session, client } => {
                let owner = self.lanes.directory.epoch(&client) > 0;
                self.lanes.directory.learn_owned(session, &client, 0, owner);
            }
            Question::Forget { session } => self.lanes.directory.forget_far(session),
        }
    }

    fn fetch(&mut self, worker: u16, token: u64, session: SessionNo, entries: Vec<EntryNo>) {
        let Some(home) = self.lanes.directory.home(session) else {
            return (self.on_answer)(worker, Answer::Fetched { token, session, entries: vec![] });
        };
        if self.lanes.holds(&entries) || !self.lanes.is_quiet(home.tag.slot) {
            return self.waiting.push(Question::Fetch { worker, token, session, entries });
        }
        self.last_id += 1;
        let search = Search::new(home, &entries);
        self.searches.insert(self.last_id, Asked { worker, token, session, search });
        self.search_on(self.last_id);
    }

    fn search_on(&mut self, id: u64) {
        let Some(asked) = self.searches.get(&id) else { return };
        if let Some(commands) = asked.search.commands(&self.lanes.directory) {
            let request = Request { aside: true, ..Request::new(asked.search.slot(), commands) };
            return self.send(request, Whose::Search(id));
        }
        let Some(Asked { worker, token, session, search }) = self.searches.remove(&id) else {
            return;
        };
        let entries = search.finish();
        self.shared.status().0.fetched += entries.len() as u64;
        (self.on_answer)(worker, Answer::Fetched { token, session, entries });
    }

    fn search_returned(&mut self, id: u64, values: &[Value]) {
        if let Some(asked) = self.searches.get_mut(&id) {
            asked.search.take(values);
        }
        self.search_on(id);
    }

    fn begin_claim(&mut self, worker: u16, token: u64, claiming: Claiming) {
        self.last_id += 1;
        self.claims.insert(
            self.last_id,
            Claim {
                worker,
                token,
                claiming,
                ours: None,
                rolls: None,
                done: Vec::new(),
                reached: Vec::new(),
                retained: Vec::new(),
            },
        );
        self.claim_on(self.last_id);
    }

    /// The claim goes behind all changes of its slot.
    fn claim_on(&mut self, id: u64) {
        let Some(claim) = self.claims.get(&id) else { return };
        if !claim.claiming.is_complete(&self.lanes.directory) {
            let commands = claim.claiming.commands(&self.lanes.directory, &self.node);
            let request = Request::new(claim.claiming.tag.slot, commands);
            let request = Request { durable: true, ..request };
            return self.send(request, Whose::Claim(id));
        }
        let Some(Claim { worker, token, claiming, done, reached, retained, .. }) =
            self.claims.remove(&id)
        else {
            return;
        };
        let (only_read, slot) = (claiming.only_reads(), claiming.tag.slot);
        if let Some(mut found) = claiming.finish() {
            let session = found.session.as_ref().map(|session| session.session);
            match self.unsettled.get_mut(&found.client).filter(|_| !only_read) {
                Some(arrived) => arrived.done.extend(done),
                None if !done.is_empty() => self.lanes.rolled(slot, session, done),
                None => {}
            }
            (found.reached, found.retained) = (reached, retained);
            let answer = match only_read {
                true => Answer::Read { token, session: found.session.map(Box::new) },
                false => claimed(token, found),
            };
            (self.on_answer)(worker, answer);
        }
    }

    fn claim_returned(&mut self, id: u64, values: &[Value]) {
        let Some(claim) = self.claims.get_mut(&id) else { return };
        if let Err(what) = claim.claiming.take(values) {
            // The client is not let in as long as nobody knows whose it is.
            self.health.breaks(claim.claiming.tag.slot, what);
            claim.claiming.begin_anew();
            return self.denied.push((Instant::now() + REPAIRED, id));
        }
        if claim.claiming.only_reads() {
            return self.claim_on(id);
        }
        let client = Arc::clone(&claim.claiming.client);
        let session = claim.claiming.partial.as_ref().map(|it| it.session.session);
        let (epoch, directory) = (claim.claiming.epoch(), &mut self.lanes.directory);
        let known = directory.epoch(&client);
        if *claim.ours.get_or_insert_with(|| claim.claiming.was_with(&self.node, known)) {
            directory.claimed(&client, epoch, session);
        } else {
            session.inspect(|it| directory.learn_owned(*it, &client, 0, known > 0));
            let arrived = Arrived { epoch, session, done: Vec::new() };
            self.unsettled.insert(Arc::clone(&client), arrived);
        }
        let mut left = Batch::new();
        for (cause, parts) in claim.claiming.take_undone() {
            if claim.done.contains(&cause) {
                continue;
            }
            claim.done.push(cause);
            for (client, op) in parts {
                if let StoreOp::Enqueued { session, .. } = &op {
                    claim.reached.push(*session);
                }
                if let StoreOp::Retained { .. } | StoreOp::RetainedEnd { .. } = &op {
                    claim.retained.push(op.clone());
                }
                if let (Some(client), Some(session)) = (client, super::directory::session_of(&op)) {
                    let owner = self.lanes.directory.epoch(&client) > 0;
                    self.lanes.directory.learn_owned(session, &client, 0, owner);
                }
                left.push(op);
            }
        }
        if left.is_empty() {
            return self.claim_on(id);
        }
        // What the one before left undone comes first; then the session is read anew.
        claim.claiming.begin_anew();
        self.last_roll += 1;
        claim.rolls = Some(self.last_roll);
        // Some of it may be for this slot, and nothing else of the session was changed here.
        self.lanes.claim_ends(claim.claiming.tag.slot, &client);
        self.shared.ops.fetch_add(left.len() as u64, Ordering::Relaxed);
        self.lanes.submit(OWN, self.last_roll, left, Wait::ForThis, 0);
    }

    /// A worker knows of its claim: what it had before of the client, from an earlier stay, counts
    /// for nothing.
    fn settle(&mut self, client: &Arc<str>) {
        let slot = Tag::of(client).slot;
        if let Some(Arrived { epoch, session, done }) = self.unsettled.remove(client) {
            self.lanes.drop_stay(slot, client);
            self.lanes.directory.claimed(client, epoch, session);
            if !done.is_empty() {
                self.lanes.rolled(slot, session, done);
            }
        }
        self.lanes.claim_ends(slot, client);
    }

    fn answer(&mut self) {
        let mut answers = Vec::new();
        for fenced in self.lanes.fenced.drain(..) {
            let Fenced { client, session, epoch } = fenced;
            answers.push((OWN, Answer::Fenced { session, client, epoch }));
        }
        for (worker, turn, session, cause) in self.lanes.refused.drain(..) {
            answers.push((worker, Answer::NotStored { turn, session, cause }));
        }
        self.lanes.answers(&mut answers);
        let (bytes, ops) = self.lanes.tickets.take_done();
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.ops.fetch_sub(ops, Ordering::Relaxed);
        {
            let counts = std::mem::take(&mut self.lanes.counts);
            let (status, usage) = &mut *self.shared.status();
            status.ops_written += counts.written;
            status.ops_compacted += counts.compacted;
            status.commits += counts.requests;
            usage.sessions = usage.sessions.saturating_add_signed(counts.sessions);
            usage.flights = usage.flights.saturating_add_signed(counts.flights);
            usage.retained = usage.retained.saturating_add_signed(counts.retained);
        }
        for (worker, answer) in answers {
            match answer {
                Answer::Stored { turn } if worker == OWN => self.rolled(|rolls| rolls <= turn),
                // Others before it may wait for Redis nodes that do not answer.
                Answer::StoredOne { turn } if worker == OWN => self.rolled(|rolls| rolls == turn),
                answer => (self.on_answer)(worker, answer),
            }
        }
    }

    /// What the owner before left undone is done, of claims with these turns.
    fn rolled(&mut self, is_done: impl Fn(u64) -> bool) {
        let ready: Vec<u64> = self
            .claims
            .iter_mut()
            .filter_map(|(id, claim)| claim.rolls.take_if(|turn| is_done(*turn)).map(|_| *id))
            .collect();
        ready.into_iter().for_each(|id| self.claim_on(id));
    }
}
