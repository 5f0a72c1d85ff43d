//! A store: what a turn hands over counts at once for what is fetched, and is reported later.

use mogi_core::store::StoredDelivery;
use mogi_core::{EntryNo, Fetch, SessionNo, StoreOp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

#[derive(Default)]
pub struct Store {
    sessions: BTreeSet<SessionNo>,
    entries: BTreeMap<(SessionNo, EntryNo), StoredDelivery>,
    wills: BTreeSet<Arc<str>>,
    /// Questions, and the workers that asked.
    questions: VecDeque<(usize, Fetch)>,
}

impl Store {
    pub fn apply(&mut self, ops: Vec<StoreOp>) {
        for op in ops {
            match op {
                StoreOp::SessionSet { session, .. } => drop(self.sessions.insert(session)),
                StoreOp::SessionEnd { session } => {
                    self.sessions.remove(&session);
                    self.entries.retain(|key, _| key.0 != session);
                }
                StoreOp::Enqueued { session, entry, delivery } => {
                    if self.sessions.contains(&session) {
                        let before = self.entries.insert((session, entry), delivery);
                        assert!(before.is_none(), "{entry:?} twice");
                    }
                }
                StoreOp::Delivered { session, entry }
                | StoreOp::HandedOver { session, entry, .. } => {
                    self.entries.remove(&(session, entry));
                }
                StoreOp::WillSet { client, .. } => drop(self.wills.insert(client)),
                StoreOp::WillEnd { client } | StoreOp::WillTaken { client, .. } => {
                    self.wills.remove(&client);
                }
                _ => {}
            }
        }
    }

    pub fn ask(&mut self, worker: usize, fetch: Fetch) {
        self.questions.push_back((worker, fetch));
    }

    /// The oldest question, and its answer.
    pub fn answer(&mut self) -> Option<(usize, Fetch, Vec<(EntryNo, StoredDelivery)>)> {
        let (worker, fetch) = self.questions.pop_front()?;
        let find = |&entry: &EntryNo| {
            let found = self.entries.get(&(fetch.session, entry))?;
            Some((entry, found.clone()))
        };
        let found = fetch.entries.iter().filter_map(find).collect();
        Some((worker, fetch, found))
    }

    pub fn is_idle(&self) -> bool {
        self.questions.is_empty()
    }

    /// All clients are gone, and their sessions have ended.
    pub fn check_empty(&self) {
        assert!(self.sessions.is_empty(), "sessions left in the store: {:?}", self.sessions);
        assert!(self.wills.is_empty(), "wills left in the store: {:?}", self.wills);
        assert!(self.entries.is_empty(), "messages left in the store");
    }
}
