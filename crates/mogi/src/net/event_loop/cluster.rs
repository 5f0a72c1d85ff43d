//! Sessions that come here from other nodes, and messages that go there.
//!
//! ```text
//!  CONNECT ─► claim ─► other nodes are told ─► waiting entries ─► let in
//! ```
//! Of several connections that wait for one session the last gets it.

use super::EventLoop;
use super::gate::Done;
use crate::cluster::{Barrier, Links};
use crate::net::mailbox::{Hello, Mail};
use crate::net::socket::State;
use mogi_core::cluster::{Claim, Claimed, Cluster, FarBatch, Settled, retained_items};
use mogi_core::store::{SessionNo, StoreOp, StoredSession};
use mogi_store::redis;
use slab::Slab;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Sessions on their way here, by client id.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pending: HashMap<Arc<str>, Pending>,
    /// Those of them that other nodes are yet to know of, by the change they have to know: there
    /// may be as many as a dead node had sessions.
    telling: BTreeSet<(u64, Arc<str>)>,
    /// What the store was asked, by token: about whom.
    asked: Slab<Arc<str>>,
    /// Sessions to be read once more when that has ended which goes on.
    again: HashSet<Arc<str>>,
    /// Clients that were claimed, and may not be here.
    gone: Vec<Arc<str>>,
    /// Who waits until this node has heard what the others have to tell.
    held: Vec<Waiting>,
}

#[derive(Debug)]
struct Pending {
    stage: Stage,
    epoch: u64,
    /// Who waits for it; nobody does where the session was adopted.
    newcomer: Option<Waiting>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The store was asked for it.
    Claiming,
    /// Other nodes are to know of so many changes before the entries are read, and what the
    /// workers of this one decided before is to be in the store.
    Telling(u64, Arc<Barrier>),
    /// The store was asked for the entries.
    Reading,
}

/// A newcomer that waits.
#[derive(Debug)]
struct Waiting {
    place: u32,
    serial: u64,
    hello: Hello,
}

impl EventLoop {
    /// Whether the client's session has to come first; then the newcomer waits.
    pub(super) fn needs_claim(&mut self, place: u32, hello: &Hello) -> bool {
        let Some(links) = self.shared.links.get() else {
            return false;
        };
        if links.is_hearing() {
            self.hold(place, hello);
            return true;
        }
        let client = hello.client_id.as_str();
        let packet = &hello.bytes[..hello.connect_len];
        let pending = self.claims.pending.contains_key(client);
        if !pending && self.worker.wants_claim(client, packet) == Claim::NotNeeded {
            return false;
        }
        let Some(socket) = self.sockets.get_mut(place as usize) else {
            return true;
        };
        socket.state = State::Claiming;
        let waiting = Waiting { place, serial: socket.serial, hello: hello.clone() };
        let client: Arc<str> = client.into();
        match self.claims.pending.get_mut(&client) {
            Some(pending) => {
                if let Some(Waiting { place, serial, .. }) = pending.newcomer.replace(waiting) {
                    self.give_up(place, serial);
                }
            }
            None => self.claim(client, Some(waiting)),
        }
        true
    }

    /// Has a newcomer wait until this node has heard what the others have to tell.
    fn hold(&mut self, place: u32, hello: &Hello) {
        if let Some(socket) = self.sockets.get_mut(place as usize) {
            socket.state = State::Claiming;
            let serial = socket.serial;
            self.claims.held.push(Waiting { place, serial, hello: hello.clone() });
        }
    }

    /// Lets those in who waited for what other nodes have to tell.
    fn begin_held(&mut self, now_ms: u64) {
        if self.shared.links.get().is_some_and(|links| links.is_hearing()) {
            return;
        }
        for Waiting { place, serial, hello } in std::mem::take(&mut self.claims.held) {
            if self.sockets.get(place as usize).is_some_and(|socket| socket.serial == serial) {
                self.begin(now_ms, place, &hello);
                self.list(place);
            }
        }
    }

    /// Looks after a session that is nowhere.
    pub(super) fn adopt(&mut self, client: Arc<str>) {
        let nowhere = self.shared.node.cluster().is_some_and(|it| it.has_shadow(&client));
        if nowhere && !self.claims.pending.contains_key(&client) {
            self.claim(client, None);
        }
    }

    /// Looks after the will of a client whose node is gone.
    pub(super) fn adopt_will(&mut self, client: Arc<str>) {
        if !self.worker.knows(&client) && !self.claims.pending.contains_key(&client) {
            self.claim(client, None);
        }
    }

    fn claim(&mut self, client: Arc<str>, newcomer: Option<Waiting>) {
        let pending = Pending { stage: Stage::Claiming, epoch: 0, newcomer };
        self.claims.pending.insert(Arc::clone(&client), pending);
        // What was decided about the session so far is to be in the store before it is claimed.
        let now_ms = self.shared.now_ms();
        self.finish_turn(now_ms);
        self.worker.claiming(&client);
        let token = self.claims.asked.insert(Arc::clone(&client)) as u64;
        if let Some(store) = self.shared.store.get().and_then(|store| store.cluster()) {
            store.claim(self.index, token, client);
        }
    }

    pub(super) fn claimed(&mut self, now_ms: u64, token: u64, claimed: redis::Claimed) {
        let Some(client) = self.claims.asked.try_remove(token as usize) else {
            return;
        };
        let redis::Claimed {
            session, epoch, epoch_before, old_owner, will, reached, retained, ..
        } = claimed;
        self.tell_reached(&reached);
        self.tell_retained(now_ms, &retained);
        let links = self.shared.links.get();
        let was_here = links.is_some_and(|it| old_owner.as_deref() == Some(&*it.plan.node));
        let number = session.as_ref().map_or(SessionNo::NONE, |session| session.session);
        let claimed = match session {
            // Whoever had it before cannot take it any more.
            None => Claimed::Nothing { will },
            Some(_) if was_here && self.worker.holds(&client, number, epoch_before) => {
                Claimed::Ours
            }
            Some(mut session) => {
                // What waits is read when all others know where it is to go.
                session.waiting = Vec::new();
                Claimed::Moved { session: Box::new(session), will }
            }
        };
        let claimed = self.worker.as_of_now(&client, claimed, was_here);
        let moves = matches!(claimed, Claimed::Moved { .. });
        // What was changed so far goes before what is changed under this claim.
        self.finish_turn(now_ms);
        if let Some(store) = self.shared.store.get().and_then(|store| store.cluster()) {
            store.settle(Arc::clone(&client));
        }
        let settled = self.worker.claimed(now_ms, &client, claimed, epoch);
        self.finish_turn(now_ms);
        let Some(pending) = self.claims.pending.get_mut(&client) else {
            return self.claims.gone.push(client);
        };
        pending.epoch = epoch;
        match settled {
            Settled::After(told) => {
                let barrier = self.own_barrier(&client, moves);
                self.tell(&client, told, barrier);
            }
            Settled::Here => self.arrived(now_ms, &client),
            Settled::Stale => self.turn_away(&client),
        }
    }

    /// What its former node left to be retained is known on no node yet.
    fn tell_retained(&mut self, now_ms: u64, retained: &[StoreOp]) {
        let items = retained_items(retained);
        let mut done = 0;
        while done < items.len() {
            done += self.worker.far_batch(now_ms, &items[done..]);
            if done < items.len() {
                // The turn has no more room.
                self.finish_turn(now_ms);
            }
        }
        if let Some(links) = self.shared.links.get().filter(|_| !items.is_empty()) {
            links.send_all(&items);
        }
    }

    /// These sessions got messages of the claimed one's former node, and nobody was told.
    fn tell_reached(&self, reached: &[SessionNo]) {
        let Some(cluster) = self.shared.node.cluster() else { return };
        for session in reached {
            let Some(client) = cluster.log().client_of(*session) else {
                cluster.tell_waiting(*session);
                continue;
            };
            let owner = usize::from(self.shared.node.owner(&client));
            if let Some(mailbox) = self.shared.mailboxes.get(owner) {
                mailbox.send(Mail::CatchUpOne { client }, false);
            }
        }
    }

    fn tell(&mut self, client: &Arc<str>, told: u64, barrier: Arc<Barrier>) {
        if let Some(pending) = self.claims.pending.get_mut(client) {
            pending.stage = Stage::Telling(told, barrier);
        }
        self.read_if_told(client);
    }

    /// Passed when nothing more comes for a session by what this node's workers knew before.
    fn own_barrier(&self, client: &Arc<str>, moves: bool) -> Arc<Barrier> {
        let (shared, client) = (Arc::clone(&self.shared), Arc::clone(client));
        let owner = usize::from(self.index);
        // Who had it before has nothing to wait for.
        let workers = if moves { shared.mailboxes.len() } else { 0 };
        let barrier = Arc::new(Barrier::telling(workers, move || {
            if let Some(mailbox) = shared.mailboxes.get(owner) {
                mailbox.send(Mail::Passed { client: Arc::clone(&client) }, false);
            }
        }));
        if workers > 0 {
            self.shared.send_all(|| Mail::Barrier(Arc::clone(&barrier)));
        }
        barrier
    }

    /// Asks for the session's entries once the other nodes know where it is.
    pub(super) fn read_if_told(&mut self, client: &Arc<str>) {
        let Some(pending) = self.claims.pending.get_mut(client) else {
            return;
        };
        let Stage::Telling(told, barrier) = &pending.stage else {
            return;
        };
        if !knows(self.shared.links.get(), *told) {
            self.claims.telling.insert((*told, Arc::clone(client)));
        } else if barrier.is_passed() {
            pending.stage = Stage::Reading;
            self.read(Arc::clone(client));
        }
    }

    /// Asks what the store has of the session, behind all that was decided so far.
    fn read(&mut self, client: Arc<str>) {
        let now_ms = self.shared.now_ms();
        self.finish_turn(now_ms);
        self.ask_for(client);
    }

    fn ask_for(&mut self, client: Arc<str>) {
        let token = self.claims.asked.insert(Arc::clone(&client)) as u64;
        if let Some(store) = self.shared.store.get().and_then(|store| store.cluster()) {
            store.read(self.index, token, client);
        }
    }

    pub(super) fn session_read(
        &mut self,
        now_ms: u64,
        token: u64,
        session: Option<Box<StoredSession>>,
    ) {
        let Some(client) = self.claims.asked.try_remove(token as usize) else {
            return;
        };
        let number = self.worker.session_of(&client);
        let waiting = session.filter(|it| it.session == number).map(|it| it.waiting);
        self.worker.catch_up(now_ms, &client, waiting.unwrap_or_default());
        if self.claims.again.remove(&client) {
            self.catch_up(Arc::clone(&client));
        }
        let pending = self.claims.pending.get(&client);
        if pending.is_some_and(|pending| matches!(pending.stage, Stage::Reading)) {
            self.arrived(now_ms, &client);
        }
    }

    /// The session is here: whoever waits for it comes in.
    fn arrived(&mut self, now_ms: u64, client: &Arc<str>) {
        // It may have gone on to another node meanwhile; whoever came in now would end it.
        let epoch = self.claims.pending.get(client).map_or(0, |pending| pending.epoch);
        let gone = |it: &Arc<Cluster>| it.has_shadow(client) || it.is_stale(client, epoch);
        if self.shared.node.cluster().is_some_and(gone) {
            return self.turn_away(client);
        }
        let pending = self.claims.pending.remove(client);
        self.claims.gone.push(Arc::clone(client));
        let Some(waiting) = pending.and_then(|pending| pending.newcomer) else {
            return;
        };
        let Waiting { place, serial, hello } = waiting;
        if self.sockets.get(place as usize).is_none_or(|socket| socket.serial != serial) {
            return;
        }
        self.let_in(now_ms, place, &hello, epoch);
        self.list(place);
    }

    /// The session went to another node before its client was let in here.
    fn turn_away(&mut self, client: &Arc<str>) {
        let pending = self.claims.pending.remove(client);
        self.claims.gone.push(Arc::clone(client));
        if let Some(Waiting { place, serial, .. }) = pending.and_then(|pending| pending.newcomer) {
            self.give_up(place, serial);
        }
    }

    /// Gives back claims of clients of which nothing is left here. What was changed of them was
    /// handed to the store before.
    pub(super) fn release_gone(&mut self) {
        let Some(store) = self.shared.store.get().and_then(|store| store.cluster()) else {
            return;
        };
        let (worker, claims) = (&mut self.worker, &mut self.claims);
        let forgotten = std::mem::take(&mut worker.effects().forgotten);
        for client in forgotten.into_iter().chain(claims.gone.drain(..)) {
            let comes = claims.pending.contains_key(&client) || worker.is_claiming(&client);
            if !comes && !worker.knows(&client) {
                store.release(client);
            }
        }
    }

    /// Another connection waits for the session now.
    fn give_up(&mut self, place: u32, serial: u64) {
        if self.sockets.get(place as usize).is_some_and(|socket| socket.serial == serial) {
            self.refuse_silently(place, "session taken over");
        }
    }

    /// Has all sessions that live here look into the store for what may have got lost.
    pub(super) fn catch_up_all(&mut self) {
        let now_ms = self.shared.now_ms();
        self.finish_turn(now_ms);
        for client in self.worker.lasting_clients() {
            match self.worker.begin_catch_up(&client) {
                Some(_) => self.ask_for(client),
                None => drop(self.claims.again.insert(client)),
            }
        }
    }

    /// Has a session that lives here look into the store.
    pub(super) fn catch_up(&mut self, client: Arc<str>) {
        if self.worker.begin_catch_up(&client).is_some() {
            self.read(client);
        } else if self.worker.session_of(&client) != SessionNo::NONE {
            self.claims.again.insert(client);
        }
    }

    pub(super) fn stored(&mut self, now_ms: u64, turn: u64) {
        let mut done = Vec::new();
        let links = self.shared.links.get();
        self.gate.stored(turn, |seq| knows(links, seq), &mut done);
        self.answer(now_ms, &done);
    }

    pub(super) fn stored_one(&mut self, now_ms: u64, turn: u64) {
        let mut done = Vec::new();
        let links = self.shared.links.get();
        self.gate.stored_one(turn, |seq| knows(links, seq), &mut done);
        self.answer(now_ms, &done);
    }

    /// Other nodes know of more changes of interest.
    pub(super) fn told(&mut self, now_ms: u64) {
        let mut done = Vec::new();
        let links = self.shared.links.get();
        self.gate.told(|seq| knows(links, seq), &mut done);
        self.answer(now_ms, &done);
        while let Some((told, _)) = self.claims.telling.first()
            && knows(self.shared.links.get(), *told)
            && let Some((_, client)) = self.claims.telling.pop_first()
        {
            self.read_if_told(&client);
        }
        self.begin_held(now_ms);
    }

    /// Tells the worker what was done. A node that may have been taken for dead waits until it
    /// knows better: what it has not told anybody may have been passed by those who came to the
    /// others since.
    fn answer(&mut self, now_ms: u64, done: &[Done]) {
        self.late.extend(done);
        let generation = self.generation;
        let fresh_ms = self.shared.now_ms();
        if self.shared.links.get().is_none_or(|links| links.may_answer(generation, fresh_ms)) {
            for done in std::mem::take(&mut self.late) {
                match done {
                    Done::UpTo(turn) => self.worker.stored(now_ms, turn),
                    Done::One(turn) => self.worker.stored_one(now_ms, turn),
                }
            }
            self.send_stored();
        }
        if self.gate.may_pass() {
            // What waited in the worker for these turns is handed over by then.
            self.finish_turn(now_ms);
        }
        self.gate.pass_barriers();
    }

    /// This node was taken for dead: others have its sessions, and what it took in since nobody is
    /// to be promised. Everybody has to come again.
    pub(super) fn disown(&mut self, now_ms: u64) {
        self.generation += 1;
        self.worker.disown(now_ms);
        self.gate.forget_leaving();
        let waiting: Vec<Arc<str>> = self.claims.pending.keys().map(Arc::clone).collect();
        waiting.iter().for_each(|client| self.turn_away(client));
        self.answer(now_ms, &[]);
    }

    /// Another node wants to know when everything decided so far is in the store.
    pub(super) fn barrier(&mut self, now_ms: u64, barrier: Arc<Barrier>) {
        self.worker.flush_all();
        self.finish_turn(now_ms);
        self.gate.stand_before(barrier);
    }

    /// Takes messages for other nodes: those that may leave at once, leave.
    pub(super) fn send_far(&mut self, batches: Vec<FarBatch>) {
        let Some(links) = self.shared.links.get() else {
            return;
        };
        for batch in batches {
            match batch.stored {
                true => self.gate.hold(batch),
                false => links.send(batch.peer, batch.bytes),
            }
        }
    }

    fn send_stored(&mut self) {
        let Some(links) = self.shared.links.get() else {
            return;
        };
        while let Some(FarBatch { peer, bytes, .. }) = self.gate.leaving() {
            links.send(peer, bytes);
        }
    }
}

fn knows(links: Option<&Arc<Links>>, seq: u64) -> bool {
    links.is_none_or(|links| links.know(seq))
}
