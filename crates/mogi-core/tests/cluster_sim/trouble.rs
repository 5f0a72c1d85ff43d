//! What goes wrong, and how it goes on: crashes, hung nodes, cut links, leases.

use crate::link::Peer;
use crate::plan::LEASE_MS;
use crate::site::{Life, Site};
use crate::store::of_client;
use crate::trace::note;
use crate::world::World;
use mogi_core::cluster::NOWHERE;
use mogi_core::cluster::roster::ShadowRecord;
use mogi_core::{EntryNo, SessionNo};
use std::sync::Arc;

impl World {
    /// kill -9.
    pub(crate) fn crash(&mut self, site: usize) {
        if self.sites[site].life == Life::Down {
            return;
        }
        note(|| format!("site {site} crashes"));
        self.outcome.crashes += 1;
        self.drop_site(site);
        self.sites[site].life = Life::Down;
        // Sometimes all others notice before it is back.
        if self.rng.percent(50) {
            self.start_site(site);
        }
    }

    /// Nothing is left of what a site had in memory.
    fn drop_site(&mut self, site: usize) {
        self.store.forget_site(site, &mut self.rng, self.now_ms);
        for conn in self.sites[site].conns.values_mut() {
            conn.ended = true;
            conn.at_door = false;
            conn.up.clear();
            conn.down_closed = true;
            if self.rng.percent(50) {
                // Some of what left may be lost: whole packets only are looked at.
                conn.down.clear();
            }
        }
        self.outcome.adopted += self.sites[site].adopted;
        let conns = std::mem::take(&mut self.sites[site].conns);
        let (incarnation, lease_ms) = (self.sites[site].incarnation, self.sites[site].lease_ms);
        let seed = self.seed ^ self.now_ms;
        self.note_waived(site);
        self.sites[site] = Site::new(site, &self.plan, seed);
        let new = &mut self.sites[site];
        (new.incarnation, new.lease_ms, new.conns) = (incarnation, lease_ms, conns);
    }

    fn start_site(&mut self, site: usize) {
        note(|| format!("site {site} starts"));
        let now_ms = self.now_ms;
        let new = &mut self.sites[site];
        new.incarnation += 1;
        (new.life, new.lease_ms) = (Life::Up, now_ms + LEASE_MS);
    }

    /// SIGSTOP.
    pub(crate) fn hang(&mut self, site: usize) {
        if self.sites[site].life == Life::Up && self.sites[site].ready {
            note(|| format!("site {site} hangs"));
            self.outcome.hangs += 1;
            self.sites[site].life = Life::Hung;
        }
    }

    /// The link between two sites breaks.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        note(|| format!("link {a} to {b} is cut"));
        self.outcome.cuts += 1;
        let lost = self.rng.percent(30);
        for (from, to) in [(a, b), (b, a)] {
            let wire = self.wires.entry((from, to)).or_default();
            wire.down = true;
            wire.frames.clear();
            wire.acks.clear();
            let lost = lost && self.sites[from].life == Life::Up;
            if let Some(peer) = self.sites[from].peers.get_mut(&to) {
                peer.broken(lost);
                if lost {
                    self.sites[from].begin_link(&mut self.store, to, self.now_ms);
                }
            }
        }
    }

    /// Links that were cut are whole again.
    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        note(|| format!("link {a} to {b} is whole"));
        for (from, to) in [(a, b), (b, a)] {
            self.wires.entry((from, to)).or_default().down = false;
        }
    }

    /// Something that went wrong ends.
    pub(crate) fn recover(&mut self) {
        let site = self.rng.below(self.sites.len());
        match self.sites[site].life {
            Life::Down => self.start_site(site),
            Life::Hung => {
                note(|| format!("site {site} wakes up"));
                self.sites[site].life = Life::Up;
            }
            Life::Up => {
                let other = self.rng.below(self.sites.len());
                if self.wires.get(&(site, other)).is_some_and(|wire| wire.down) {
                    self.heal(site, other);
                }
            }
        }
    }

    /// Everything that went wrong ends, everybody comes back, and all comes to rest.
    pub(crate) fn calm_down(&mut self) {
        self.lags.end();
        for site in 0..self.sites.len() {
            match self.sites[site].life {
                Life::Down => self.start_site(site),
                Life::Hung => self.sites[site].life = Life::Up,
                Life::Up => {}
            }
            for other in 0..site {
                if self.wires.get(&(site, other)).is_some_and(|wire| wire.down) {
                    self.heal(site, other);
                }
            }
        }
        self.settle("calm");
        for client in 0..self.clients.len() {
            if self.clients[client].token.is_none() {
                let site = self.rng.below(self.sites.len());
                self.connect(client, site, false);
            }
        }
        self.settle("all are back");
    }

    /// Leases, timers.
    pub(crate) fn pass_time(&mut self) {
        for site in 0..self.sites.len() {
            if !self.is_up(site) {
                continue;
            }
            if self.sites[site].lease_ms <= self.now_ms {
                note(|| format!("site {site} has lost its lease"));
                self.drop_site(site);
                self.start_site(site);
                continue;
            }
            let at = &mut self.sites[site];
            at.lease_ms = self.now_ms + LEASE_MS;
            for worker in &mut at.workers {
                if worker.next_timeout_ms().is_some_and(|due_ms| due_ms <= self.now_ms) {
                    worker.tick(self.now_ms);
                }
            }
            for worker in 0..at.workers.len() as u16 {
                at.note_closes(worker);
            }
        }
    }

    /// A site looks who else is there; whether something changed.
    pub(crate) fn look(&mut self, site: usize) -> bool {
        if !self.is_up(site) || self.sites[site].lease_ms <= self.now_ms {
            return false;
        }
        let mut moved = false;
        let now_ms = self.now_ms;
        let members: Vec<(u32, bool)> =
            self.sites.iter().map(|it| (it.incarnation, it.lease_ms > now_ms)).collect();
        for (other, (incarnation, valid)) in members.into_iter().enumerate() {
            let at = &mut self.sites[site];
            let (cluster, node) = (at.cluster(), Arc::clone(&at.node));
            let known = at.peers.get(&other).map(|peer| (peer.incarnation, peer.place));
            let gone = known.filter(|known| !valid || known.0 != incarnation);
            if let Some((_, place)) = gone {
                note(|| format!("site {site}: {other} is gone"));
                cluster.remove_node(&node.interest, place);
                at.peers.remove(&other);
                moved = true;
            }
            if valid && other != site && !at.peers.contains_key(&other) {
                let place = cluster.add_node(&format!("n{other}")).expect("room");
                note(|| format!("site {site}: {other} joins at {place}"));
                at.peers.insert(other, Peer::new(incarnation, place));
                at.begin_link(&mut self.store, other, now_ms);
                moved = true;
            }
        }
        if moved {
            // What somebody wrote down last, and could not tell any more.
            let at = &mut self.sites[site];
            at.catch_up_all(&mut self.store);
            at.read_retained(&self.store, now_ms);
        }
        moved |= self.take_retained(site);
        moved |= self.load_and_hear(site);
        moved |= self.adopt_some(site);
        moved
    }

    /// A site loads the store; when it has heard all others after that, it serves.
    fn load_and_hear(&mut self, site: usize) -> bool {
        if !self.sites[site].loaded {
            self.load(site);
            return true;
        }
        let at = &mut self.sites[site];
        if at.ready || at.peers.values().any(|peer| !peer.known) {
            return false;
        }
        at.ready = true;
        note(|| format!("site {site} is ready"));
        true
    }

    /// A site takes the retained messages it has read; meanwhile they have changed.
    fn take_retained(&mut self, site: usize) -> bool {
        let at = &mut self.sites[site];
        let Some(read) = at.unread.take() else { return false };
        note(|| format!("site {site}: takes {} retained messages", read.len()));
        for (message, version) in read {
            at.node.retained.restore(message, version);
        }
        at.node.retained.set_loading(false);
        at.workers.iter_mut().for_each(|worker| worker.retained_loaded(self.now_ms));
        true
    }

    fn load(&mut self, site: usize) {
        let sessions = self.store.all().filter_map(|(key, kept)| {
            Some((kept.session.as_ref()?.number, key.strip_prefix("c:")?.into()))
        });
        let sessions = sessions.collect();
        let (concerned, redone) = self.store.roll_forward(site, &sessions);
        let (store, now_ms) = (&self.store, self.now_ms);
        let at = &mut self.sites[site];
        let node = Arc::clone(&at.node);
        let cluster = at.cluster();
        let mut wills = Vec::new();
        let mut last = (SessionNo::NONE, EntryNo::NONE);
        let mut unread = Vec::new();
        for (key, kept) in store.all() {
            if let (version, Some(message)) = &kept.retained {
                unread.push((message.clone(), *version));
            }
            let Some(client) = key.strip_prefix("c:") else { continue };
            let client: Arc<str> = client.into();
            let own = kept.owner == Some(site);
            if own {
                at.epochs.insert(Arc::clone(&client), kept.epoch);
            }
            if let Some(will) = kept.will.as_ref().filter(|_| own) {
                wills.push((Arc::clone(&client), Arc::clone(will)));
            }
            let Some(session) = &kept.session else { continue };
            last.0 = last.0.max(session.number);
            last.1 = last.1.max(session.entries.keys().last().copied().unwrap_or_default());
            at.clients.insert(session.number, Arc::clone(&client));
            let mut stored = session.stored();
            if own {
                note(|| format!("site {site}: restores {client} {:?}", session.number));
                stored.waiting = session.waiting();
                at.worker_of(&client).restore_at(now_ms, stored, now_ms, kept.epoch);
                continue;
            }
            // Nobody knows where the sessions are of a node that hung when this one looked.
            let lives = |_: &&Peer| now_ms.is_multiple_of(2);
            let place = kept.owner.and_then(|owner| at.peers.get(&owner)).filter(lives);
            let record = ShadowRecord {
                session: session.number,
                client,
                mount: None,
                epoch: kept.epoch,
                subscriptions: stored.subscriptions,
            };
            cluster.add_shadow(&node.interest, place.map_or(NOWHERE, |it| it.place), &record);
        }
        let newest = unread.iter().map(|(_, version)| *version).max();
        node.continue_from(last.0, last.1, newest.unwrap_or(0));
        node.retained.set_loading(true);
        at.unread = Some(unread);
        let redone = mogi_core::cluster::retained_items(&redone);
        at.workers[0].far_batch(now_ms, &redone);
        cluster.set_redone(redone);
        for (client, will) in wills {
            at.worker_of(&client).restore_will(now_ms, &client, &will, now_ms);
        }
        for session in concerned.into_iter().filter(|it| cluster.log().epoch_of(*it).is_none()) {
            cluster.tell_waiting(session);
        }
        at.loaded = true;
        let others: Vec<usize> = at.peers.keys().copied().collect();
        for other in others {
            at.begin_link(&mut self.store, other, now_ms);
        }
        note(|| format!("site {site} has loaded"));
    }

    /// Takes a session on that is nowhere.
    fn adopt_some(&mut self, site: usize) -> bool {
        let at = &mut self.sites[site];
        if !at.ready {
            return false;
        }
        let homeless = at.cluster().homeless();
        let mut moved = false;
        for client in homeless {
            let kept = self.store.slot(&of_client(&client));
            if kept.is_none_or(|kept| kept.session.is_none()) {
                let at = &self.sites[site];
                at.cluster().forget_shadow(&at.node.interest, &client);
                continue;
            }
            let owner = kept.and_then(|kept| kept.owner);
            let alive = owner.is_some_and(|owner| self.sites[owner].lease_ms > self.now_ms);
            let at = &mut self.sites[site];
            if alive || at.doors.contains_key(&client) {
                continue;
            }
            note(|| format!("site {site}: adopts {client}"));
            at.adopt(&mut self.store, &client, self.now_ms);
            moved = true;
        }
        moved
    }

    /// Moves what is between two sites on, in one direction; whether there was anything.
    pub(crate) fn work_link(&mut self, from: usize, to: usize) -> bool {
        let mut moved = false;
        if self.is_up(from) && self.sites[from].peers.contains_key(&to) {
            moved |= self.sites[from].read_log(to);
            moved |= self.sites[from].send(to, &mut self.wires);
        }
        if self.is_up(to) {
            moved |= self.sites[to].let_go(&mut self.store, self.now_ms);
        }
        let between = (self.sites[from].incarnation, self.sites[to].incarnation);
        let up = self.is_up(to) && self.sites[to].lease_ms > self.now_ms;
        let knows = self.sites[to].peers.get(&from).map(|peer| peer.incarnation);
        let Some(wire) = self.wires.get_mut(&(from, to)) else { return moved };
        if wire.between.1 != between.1 {
            wire.frames.clear();
        }
        if up
            && self.sites[to].loaded
            && knows == Some(wire.between.0)
            && let Some(frame) = wire.frames.pop_front()
        {
            moved = true;
            self.sites[to].take_frame(&mut self.store, from, frame, self.now_ms);
        }
        if up && knows.is_some() {
            moved |= self.sites[to].acknowledge(from, &mut self.wires);
        }
        let Some(wire) = self.wires.get_mut(&(from, to)) else { return moved };
        if self.sites[from].life == Life::Up
            && wire.between == between
            && let Some(number) = wire.acks.pop_front()
        {
            moved = true;
            self.sites[from].acknowledged(to, number);
        }
        moved
    }
}
