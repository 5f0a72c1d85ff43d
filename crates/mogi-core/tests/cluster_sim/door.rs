//! How a CONNECT is served: claimed, told to all, read, and then let in; one after the other.
//!
//! ```text
//!  Idle ─► Claiming ─► Rolling ─► Telling ─► Reading ─► in
//! ```

use crate::site::Site;
use crate::store::{Answer, Ask, Claim, Reply, Store, Turn, of_client, of_topic};
use crate::trace::note;
use mogi_core::cluster::{Claim as Wanted, Claimed, Settled};
use mogi_core::handshake::admit;
use mogi_core::{Arrival, CoreConfig, ListenerConfig, SessionNo, StoreOp};
use std::collections::VecDeque;
use std::sync::Arc;

/// How far the first in the queue is.
#[derive(Debug, Default)]
pub(crate) enum Stage {
    #[default]
    Idle,
    Claiming(u64),
    /// What was left undone is done first: requests that are out; whether it lived here, and
    /// whether nobody else had the client since.
    Rolling(usize, (bool, bool), Box<Claim>),
    /// All others are to know: changes, session, epoch; and turns that write for it.
    Telling(u64, SessionNo, u64, Vec<Turn>),
    Reading(u64, u64),
}

/// Who wants in as a client id; no connection: its session is adopted.
#[derive(Debug, Default)]
pub(crate) struct Door {
    pub(crate) stage: Stage,
    pub(crate) queue: VecDeque<Option<(u32, Vec<u8>)>>,
}

/// The worker of requests that belong to a door.
pub(crate) const DOOR: u16 = u16::MAX;

impl Site {
    /// A CONNECT arrived.
    pub(crate) fn knock(&mut self, store: &mut Store, token: u32, packet: Vec<u8>, now_ms: u64) {
        let cfg = CoreConfig::default();
        let fresh = || unreachable!("all clients have ids");
        let admitted = admit(&packet, &cfg, &ListenerConfig::default(), fresh).expect("admitted");
        let client: Arc<str> = admitted.client_id.into();
        let door = self.doors.entry(Arc::clone(&client)).or_default();
        door.queue.push_back(Some((token, packet)));
        self.serve(store, &client, now_ms);
    }

    /// A session that is nowhere comes here.
    pub(crate) fn adopt(&mut self, store: &mut Store, client: &Arc<str>, now_ms: u64) {
        self.doors.entry(Arc::clone(client)).or_default().queue.push_back(None);
        self.serve(store, client, now_ms);
    }

    /// Goes on with doors that waited for changes before; whether there was one.
    pub(crate) fn serve_waiting(&mut self, store: &mut Store, now_ms: u64) -> bool {
        let waits = |door: &Door| matches!(door.stage, Stage::Idle);
        let doors =
            self.doors.iter().filter(|(client, door)| waits(door) && !self.holds_will(client));
        let clients: Vec<Arc<str>> = doors.map(|(client, _)| Arc::clone(client)).collect();
        clients.iter().for_each(|client| self.serve(store, client, now_ms));
        !clients.is_empty()
    }

    /// Goes on with a door where nobody is being served.
    fn serve(&mut self, store: &mut Store, client: &Arc<str>, now_ms: u64) {
        loop {
            let Some(door) = self.doors.get_mut(client) else { return };
            if !matches!(door.stage, Stage::Idle) {
                return;
            }
            let Some(front) = door.queue.front().cloned() else {
                self.doors.remove(client);
                self.caught_up(store, client);
                return;
            };
            let wanted = match &front {
                Some((_, packet)) => self.worker_of(client).wants_claim(client, packet),
                None => Wanted::Needed,
            };
            if wanted == Wanted::NotNeeded {
                self.let_in(store, client, 0, now_ms);
                continue;
            }
            let worker = self.node.owner(client);
            self.end_turn(store, worker, now_ms);
            if self.holds_will(client) {
                // What was changed before is to be in the store, or the claim finds it undone.
                return;
            }
            self.worker_of(client).claiming(client);
            let request = store.ask(self.index, &of_client(client), Ask::Claim, None);
            if let Some(door) = self.doors.get_mut(client) {
                door.stage = Stage::Claiming(request);
            }
            return;
        }
    }

    /// The store has answered a claim.
    fn claimed(&mut self, store: &mut Store, client: &Arc<str>, claim: Claim, now_ms: u64) {
        let number = claim.session.as_ref().map(|session| session.session);
        let here = number.is_some_and(|it| self.cluster().log().epoch_of(it).is_some());
        let known = self.epoch(client);
        let again = claim.before == (Some(self.index), known);
        let ours = again && here;
        if again {
            store.restamp(self.index, &of_client(client), known, claim.epoch);
            self.epochs.insert(Arc::clone(client), claim.epoch);
        }
        let mut left = 0;
        // What this node does itself is not undone.
        let undone = claim.undone.iter().filter(|_| !ours);
        for op in undone.flat_map(|(_, ops)| ops) {
            let (key, ask) = match op {
                StoreOp::Enqueued { session, .. } => match self.clients.get(session) {
                    Some(client) => (of_client(client), Ask::Add(op.clone())),
                    None => continue,
                },
                StoreOp::Retained { message, .. } => {
                    (of_topic(message.topic()), Ask::Retain(op.clone()))
                }
                StoreOp::RetainedEnd { topic, .. } => (of_topic(topic), Ask::Retain(op.clone())),
                other => unreachable!("{other:?} follows nothing"),
            };
            left += 1;
            store.ask(self.index, &key, ask, Some((DOOR, claim.epoch)));
        }
        if let Some(door) = self.doors.get_mut(client) {
            door.stage = Stage::Rolling(left, (ours, again), Box::new(claim));
        }
        self.rolled(store, client, now_ms);
    }

    /// What was left undone is done: others are to know.
    fn tell_rolled(&mut self, store: &mut Store, client: &Arc<str>, claim: &Claim, now_ms: u64) {
        let cluster = self.cluster();
        for op in claim.undone.iter().flat_map(|(_, ops)| ops) {
            let Some(session) = crate::parts::entry_of(op) else { continue };
            match cluster.log().client_of(session) {
                Some(client) => self.catch_up(store, &client),
                None => cluster.tell_waiting(session),
            }
        }
        self.spread_retained(claim.undone.iter().flat_map(|(_, ops)| ops), now_ms);
        let session = claim.session.as_ref().map(|it| it.session);
        for (cause, _) in &claim.undone {
            let session = session.unwrap_or(SessionNo::NONE);
            let settled = Ask::Settled { epoch: claim.epoch, session, cause: cause.clone() };
            self.unsettled.push((cluster.log().seq(), of_client(client), settled));
        }
    }

    /// Goes on when nothing is left undone.
    fn rolled(&mut self, store: &mut Store, client: &Arc<str>, now_ms: u64) {
        let Some(door) = self.doors.get_mut(client) else { return };
        let Stage::Rolling(0, ..) = door.stage else { return };
        let Stage::Rolling(_, (ours, again), claim) = std::mem::take(&mut door.stage) else {
            return;
        };
        if !ours {
            // What is left here of an earlier stay is changed under the claim of that stay.
            self.end_turn(store, self.node.owner(client), now_ms);
            if !again {
                self.drop_stay(store, client);
            }
            self.epochs.insert(Arc::clone(client), claim.epoch);
            self.tell_rolled(store, client, &claim, now_ms);
        }
        let epoch = claim.epoch;
        let number = claim.session.as_ref().map(|session| session.session);
        let claimed = match claim.session {
            Some(_) if ours => Claimed::Ours,
            None => Claimed::Nothing { will: claim.will.as_deref().cloned() },
            Some(session) => {
                let will = claim.will.as_deref().cloned();
                Claimed::Moved { session: Box::new(session), will }
            }
        };
        note(|| format!("site {}: {client}: {claimed:?} as of {epoch}", self.index));
        if let Some(number) = number {
            self.clients.insert(number, Arc::clone(client));
        }
        let claimed = self.worker_of(client).as_of_now(client, claimed, again);
        let told = self.worker_of(client).claimed(now_ms, client, claimed, epoch);
        self.note_closes(self.node.owner(client));
        // What was changed so far goes before what is changed under this claim.
        self.end_turn(store, self.node.owner(client), now_ms);
        match (told, number) {
            (Settled::After(seq), Some(number)) => {
                // What was routed here before is written down before it is read.
                for worker in 0..self.workers.len() as u16 {
                    self.end_turn(store, worker, now_ms);
                }
                let turns = self.writes_for(number);
                if let Some(door) = self.doors.get_mut(client) {
                    door.stage = Stage::Telling(seq, number, epoch, turns);
                }
                self.told_doors(store);
            }
            _ => {
                self.let_in(store, client, epoch, now_ms);
                self.serve(store, client, now_ms);
            }
        }
    }

    /// Reads what waits, where all others know of the move.
    pub(crate) fn told_doors(&mut self, store: &mut Store) {
        let (confirmed, index) = (self.confirmed(), self.index);
        for (client, door) in &mut self.doors {
            if let Stage::Telling(seq, number, epoch, turns) = &door.stage
                && *seq <= confirmed
                && turns.iter().all(|turn| self.pending.get(turn).is_none_or(|it| it.left == 0))
            {
                let request = store.ask(index, &of_client(client), Ask::Waiting(*number), None);
                door.stage = Stage::Reading(request, *epoch);
            }
        }
    }

    /// Connects the first in the queue.
    fn let_in(&mut self, store: &mut Store, client: &Arc<str>, epoch: u64, now_ms: u64) {
        let Some(door) = self.doors.get_mut(client) else { return };
        door.stage = Stage::Idle;
        let Some(Some((token, packet))) = door.queue.pop_front() else {
            self.adopted += 1;
            return;
        };
        // It may have gone on to another node meanwhile; whoever came in now would end it.
        let cluster = self.cluster();
        let gone = || cluster.has_shadow(client) || cluster.is_stale(client, epoch);
        let stale = epoch != 0 && gone();
        let Some(conn) = self.conns.get_mut(&token).filter(|conn| !conn.ended) else { return };
        if stale {
            note(|| format!("site {}: {token} comes too late", self.index));
            (conn.ended, conn.down_closed, conn.at_door) = (true, true, false);
            return;
        }
        let owner = self.node.owner(client);
        let listener = ListenerConfig::default();
        let arrival = Arrival {
            token,
            packet: &packet,
            client_id: client,
            assigned: false,
            address: "127.0.0.1:1",
            listener: &listener,
            epoch,
            bridge: None,
            pass: mogi_core::Pass::default(),
        };
        let worker = &mut self.workers[usize::from(owner)];
        let key = worker.connect(now_ms, &arrival).expect("room for all");
        note(|| format!("site {}: {token} is {client}, worker {owner}, key {key}", self.index));
        if let Some(conn) = self.conns.get_mut(&token) {
            conn.place = Some((owner, key));
            conn.at_door = false;
        }
        self.note_closes(owner);
        let _ = store;
    }

    /// A reply of the store.
    pub(crate) fn reply(&mut self, store: &mut Store, reply: Reply, now_ms: u64) {
        let Reply { request, answer } = reply;
        if matches!(request.ask, Ask::Claim) {
            store.heard(self.index, &request.key);
        }
        match answer {
            Answer::Done => match request.turn {
                Some((DOOR, epoch)) => self.one_rolled(store, epoch, now_ms),
                Some(turn) => {
                    self.follow(store, turn, request.number, true);
                    self.one_done(store, turn);
                }
                None => {}
            },
            Answer::Fenced => self.fenced(store, &request, now_ms),
            Answer::Gone => self.refused(store, &request),
            Answer::Claimed(claim) => {
                let waits = |door: &Door| match door.stage {
                    Stage::Claiming(number) => number == request.number,
                    _ => false,
                };
                let found = self.doors.iter().find(|(_, door)| waits(door));
                if let Some(client) = found.map(|(client, _)| Arc::clone(client)) {
                    self.claimed(store, &client, *claim, now_ms);
                }
            }
            Answer::Waiting(waiting) => {
                let read = self.reading.iter().find(|(_, number)| **number == request.number);
                if let Some(client) = read.map(|(client, _)| Arc::clone(client)) {
                    self.reading.remove(&client);
                    self.worker_of(&client).catch_up(now_ms, &client, waiting);
                    self.note_closes(self.node.owner(&client));
                    return self.caught_up(store, &client);
                }
                let found = self.doors.iter().find_map(|(client, door)| match door.stage {
                    Stage::Reading(number, epoch) if number == request.number => {
                        Some((Arc::clone(client), epoch))
                    }
                    _ => None,
                });
                if let Some((client, epoch)) = found {
                    self.worker_of(&client).catch_up(now_ms, &client, waiting);
                    self.let_in(store, &client, epoch, now_ms);
                    self.serve(store, &client, now_ms);
                }
            }
            Answer::Found(worker, fetch, found) => {
                let at = usize::from(worker);
                let (key, generation) = (fetch.key, fetch.generation);
                self.workers[at].fetched(now_ms, key, generation, fetch.question, found);
                self.note_closes(worker);
            }
        }
    }

    fn one_rolled(&mut self, store: &mut Store, epoch: u64, now_ms: u64) {
        let found = self.doors.iter_mut().find_map(|(client, door)| match &mut door.stage {
            Stage::Rolling(left, _, claim) if claim.epoch == epoch => {
                *left = left.saturating_sub(1);
                Some(Arc::clone(client))
            }
            _ => None,
        });
        if let Some(client) = found {
            self.rolled(store, &client, now_ms);
        }
    }

    /// A change was refused because another node has the session.
    fn fenced(&mut self, store: &mut Store, request: &crate::store::Request, now_ms: u64) {
        note(|| format!("site {}: fenced: {}", self.index, request.key));
        if let Ask::Own { ops, epoch, .. } = &request.ask
            && let Some(client) = request.key.strip_prefix("c:")
        {
            let session = ops.first().and_then(crate::kept::session_of);
            let session = session.unwrap_or(SessionNo::NONE);
            self.worker_of(client).fenced(now_ms, client, session, *epoch);
            self.note_closes(self.node.owner(client));
        }
        self.refused(store, request);
    }

    /// What is to follow from a change does not.
    fn refused(&mut self, store: &mut Store, request: &crate::store::Request) {
        if let Some(turn) = request.turn {
            if let Ask::Own { ops, .. } = &request.ask
                && let Some((session, cause)) = ops.first().and_then(crate::parts::cause_of)
            {
                let worker = &mut self.workers[usize::from(turn.0)];
                worker.not_stored(turn.1, session, cause);
            }
            self.follow(store, turn, request.number, false);
            self.one_done(store, turn);
        }
    }
}
