//! What other workers have sent.

use super::EventLoop;
use crate::access::Judge;
use crate::net::mailbox::Mail;
use mogi_codec::QoS;
use mogi_core::cluster::FIRST_NODE;
use mogi_core::{CoreConfig, MessageView, Rights};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EventLoop {
    /// Whether there is mail it has not seen, for the thread that runs several loops.
    pub(crate) fn has_mail(&self) -> bool {
        self.shared.mailboxes[usize::from(self.index)].has_mail()
    }

    /// Deals with what peers sent, until that has caused `flushes` flushes.
    pub(super) fn take_batches(&mut self, now_ms: u64, flushes: usize) {
        let mut left = flushes;
        while let Some((from, bytes, done)) = self.batches.pop_front() {
            let done = done
                + match from >= FIRST_NODE {
                    true => self.worker.far_batch(now_ms, &bytes[done..]),
                    false => self.worker.peer_batch(now_ms, &bytes[done..]),
                };
            if done < bytes.len() {
                self.batches.push_front((from, bytes, done));
                self.finish_turn(now_ms);
                left -= 1;
                if left == 0 {
                    return;
                }
                continue;
            }
            let mut waiting =
                self.shared.mailboxes[usize::from(self.index)].dealt_with(bytes.len());
            self.worker.recycle(bytes);
            while waiting != 0 {
                let peer = waiting.trailing_zeros() as usize;
                waiting &= waiting - 1;
                if let Some(mailbox) = self.shared.mailboxes.get(peer) {
                    mailbox.ring(self.together);
                }
            }
        }
    }

    /// The configuration was read again.
    fn reconfigure(&mut self, core: Arc<CoreConfig>) {
        self.worker.set_config(core);
        self.rates = self.shared.tuning().rates;
        // What is due at times of the configuration is reckoned anew.
        self.chores_ms = Some(0);
    }

    fn rights_changed(&mut self, now_ms: u64, (rights, judge): (Rights, Option<Judge>)) {
        self.worker.set_rights(rights);
        if let Some(judge) = judge {
            self.worker.enforce(now_ms, &*judge);
        }
    }

    fn retained_loaded(&mut self, now_ms: u64) {
        self.worker.retained_loaded(now_ms);
        // Where there are other nodes, none is to remove what another has renewed.
        if self.index == 0 && self.shared.links.get().is_none() {
            self.worker.purge_retained(now_ms);
        }
    }

    pub(super) fn open_mail(&mut self, now_ms: u64) {
        let mut mail = std::mem::take(&mut self.mail);
        self.shared.mailboxes[usize::from(self.index)].take(&mut mail);
        for mail in mail.drain(..) {
            match mail {
                Mail::Batch { from, bytes } => self.batches.push_back((from, bytes, 0)),
                Mail::Arrival(moved) => self.arrive(now_ms, *moved),
                Mail::Stored { turn } => self.stored(now_ms, turn),
                Mail::StoredOne { turn } => self.stored_one(now_ms, turn),
                Mail::Fenced(id, session, at) => self.worker.fenced(now_ms, &id, session, at),
                Mail::Barrier(barrier) => self.barrier(now_ms, barrier),
                Mail::Told => self.told(now_ms),
                Mail::Passed { client } => self.read_if_told(&client),
                Mail::Evict(eviction) => {
                    self.worker.evict(now_ms, &eviction);
                }
                Mail::Disown => self.disown(now_ms),
                Mail::CatchUp => self.catch_up_all(),
                Mail::CatchUpOne { client } => self.catch_up(client),
                Mail::NotStored { turn, session, cause } => {
                    self.worker.not_stored(turn, session, cause);
                }
                Mail::AdoptWill { client } => self.adopt_will(client),
                Mail::Adopt { client } => self.adopt(client),
                Mail::Claimed { token, claimed } => self.claimed(now_ms, token, *claimed),
                Mail::Read { token, session } => self.session_read(now_ms, token, session),
                Mail::Fetched { token, entries } => self.fetched(now_ms, token, entries),
                Mail::Publish { topic, payload } => {
                    let view = MessageView::internal(&topic, &payload, QoS::AtLeastOnce, true);
                    self.worker.publish_internal(now_ms, &view);
                }
                Mail::Verified { place, serial, login } => {
                    self.verified(now_ms, place, serial, *login);
                }
                Mail::Answered { place, key, generation } => {
                    self.answered(now_ms, place, key, generation);
                }
                Mail::RetainedLoaded => self.retained_loaded(now_ms),
                Mail::Config(core) => self.reconfigure(core),
                Mail::Rights(rights) => self.rights_changed(now_ms, *rights),
                Mail::Tell { key, generation, topic, payload } => {
                    let view = MessageView::internal(&topic, &payload, QoS::AtMostOnce, false);
                    self.worker.tell(now_ms, key, generation, &view);
                    // It leaves before what it may cause.
                    self.finish_turn(now_ms);
                }
                Mail::Measure => self.worker.measure(),
                Mail::PublishWills => {
                    self.worker.publish_wills(now_ms);
                    self.finish_turn(now_ms);
                    let shared = &self.shared;
                    let done = shared.wills_published.fetch_add(1, Ordering::AcqRel) + 1;
                    if done == shared.mailboxes.len() {
                        shared.send_all(|| Mail::Stop);
                    }
                }
                Mail::Stop => {
                    // What the others sent before they stopped is still delivered.
                    self.take_batches(now_ms, usize::MAX);
                    self.finish_turn(now_ms);
                    self.stopping = true;
                }
            }
        }
        self.mail = mail;
    }
}
