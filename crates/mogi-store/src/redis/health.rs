//! What is wrong with the connection to Redis, told when it begins and when it is over.

use super::committer::{Shared, failing};
use super::wire;
use crate::committer::{Notice, OnNotice};
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// What is told of the connection.
pub(super) struct Health {
    shared: Arc<Shared>,
    place: String,
    on_notice: Mutex<OnNotice>,
    troubles: Mutex<(HashSet<String, RandomState>, Option<Instant>)>,
}

impl Health {
    pub(super) fn new(shared: Arc<Shared>, place: String, on_notice: OnNotice) -> Self {
        Self { shared, place, on_notice: Mutex::new(on_notice), troubles: Mutex::default() }
    }

    /// The connection tells something.
    pub(super) fn hear(&self, notice: &wire::Notice) {
        match notice {
            wire::Notice::Degraded { node, why, .. } => {
                self.bad(format!("{node} {}", kind(why)), notice.to_string());
            }
            wire::Notice::Recovered { node, why, .. } => {
                self.good(&format!("{node} {}", kind(why)));
            }
            wire::Notice::Topology { .. } => {}
        }
    }

    /// Redis says it will never carry out a slot's request.
    pub(super) fn breaks(&self, slot: u16, what: String) {
        self.bad(format!("slot {slot}"), what);
    }

    pub(super) fn works(&self, slot: u16) {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.0.is_empty() {
            return;
        }
        drop(troubles);
        self.good(&format!("slot {slot}"));
    }

    fn bad(&self, key: String, what: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let new = troubles.0.insert(key);
        troubles.1.get_or_insert_with(Instant::now);
        drop(troubles);
        let notice = failing(&self.place, what);
        if let Notice::Failing { error } = &notice {
            let status = &mut self.shared.status().0;
            status.last_error = Some(error.clone());
            status.failing_since.get_or_insert_with(SystemTime::now);
        }
        if new {
            self.tell(notice);
        }
    }

    fn good(&self, key: &str) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if !troubles.0.remove(key) || !troubles.0.is_empty() {
            return;
        }
        let since = troubles.1.take();
        drop(troubles);
        self.shared.status().0.failing_since = None;
        let after_ms = since.map_or(0, |since| since.elapsed().as_millis() as u64);
        self.tell(Notice::Recovered { after_ms });
    }

    pub(super) fn tell(&self, notice: Notice) {
        (self.on_notice.lock().unwrap_or_else(PoisonError::into_inner))(notice);
    }
}

/// Troubles of one kind are one, whatever their words.
const fn kind(why: &wire::Trouble) -> &'static str {
    match why {
        wire::Trouble::Unreachable(_) => "unreachable",
        wire::Trouble::Refused(..) => "refuses",
        wire::Trouble::Replicas { .. } | wire::Trouble::Unsynced { .. } => "replicas",
        wire::Trouble::NoTopology(_) => "topology",
    }
}
