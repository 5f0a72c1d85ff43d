//! What is wrong with the connection to Redis, told when it begins and when it is over.

use super::committer::Shared;
use super::wire::{self, SLOTS};
use crate::committer::{Notice, OnNotice};
use crate::error::{ErrorKind, StoreError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// What is told of the connection.
pub(super) struct Health {
    shared: Arc<Shared>,
    place: String,
    on_notice: Mutex<OnNotice>,
    troubles: Mutex<Troubles>,
}

/// What is wrong now.
#[derive(Default)]
struct Troubles {
    open: BTreeMap<String, StoreError>,
    since: Option<Instant>,
}

impl Health {
    pub(super) fn new(shared: Arc<Shared>, place: String, on_notice: OnNotice) -> Self {
        Self { shared, place, on_notice: Mutex::new(on_notice), troubles: Mutex::default() }
    }

    /// The connection tells something.
    pub(super) fn hear(&self, notice: &wire::Notice) {
        match notice {
            wire::Notice::Degraded { node, slots, why } => {
                // One that has lost its slots holds nothing up but what was on its way.
                let whole = matches!(why, wire::Trouble::NoTopology(_)) || *slots >= SLOTS;
                self.bad(format!("{node} {}", kind(why)), notice.to_string(), !whole);
            }
            wire::Notice::Recovered { node, why, .. } => {
                self.good(&format!("{node} {}", kind(why)), &notice.to_string());
            }
            wire::Notice::Topology { .. } | wire::Notice::Alone { .. } => {
                self.tell(Notice::Said { what: notice.to_string() });
            }
        }
    }

    /// Redis says it will never carry out a slot's request.
    pub(super) fn breaks(&self, slot: u16, what: String) {
        self.bad(format!("slot {slot}"), what, true);
    }

    pub(super) fn works(&self, slot: u16) {
        if self.troubles().open.is_empty() {
            return;
        }
        self.good(&format!("slot {slot}"), &format!("Slot {slot} of Redis works again"));
    }

    /// `part`: other slots work, as far as that goes.
    fn bad(&self, key: String, what: String, part: bool) {
        let error = StoreError::new(ErrorKind::Unreachable, Path::new(&self.place), what);
        let mut troubles = self.troubles();
        let new = troubles.open.insert(key, error.clone()).is_none();
        troubles.since.get_or_insert_with(Instant::now);
        drop(troubles);
        let status = &mut self.shared.status().0;
        status.last_error = Some(error.clone());
        status.failing_since.get_or_insert_with(SystemTime::now);
        if new {
            self.tell(if part { Notice::Partly { error } } else { Notice::Failing { error } });
        }
    }

    fn good(&self, key: &str, what: &str) {
        let mut troubles = self.troubles();
        if troubles.open.remove(key).is_none() {
            return;
        }
        if let Some(left) = troubles.open.values().next().cloned() {
            drop(troubles);
            self.shared.status().0.last_error = Some(left);
            return self.tell(Notice::Said { what: what.to_owned() });
        }
        let since = troubles.since.take();
        drop(troubles);
        self.shared.status().0.failing_since = None;
        let after_ms = since.map_or(0, |since| since.elapsed().as_millis() as u64);
        self.tell(Notice::Recovered { after_ms });
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::super::wire::{Address, Refusal, Trouble};
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_is_still_wrong_is_what_is_said() {
        let (told, notices) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let on_notice = Box::new(move |notice| drop(told.send(notice)));
        let health = Health::new(Arc::clone(&shared), "redis://x".to_owned(), on_notice);
        let node = |port| Address { host: "h".to_owned(), port };
        let why = || Trouble::Refused(Refusal::OutOfMemory, "OOM".to_owned());
        let bad = |port, slots| {
            health.hear(&wire::Notice::Degraded { node: node(port), slots, why: why() });
            notices.recv().expect("told")
        };
        let good = |port| {
            let (node, why) = (node(port), why());
            health.hear(&wire::Notice::Recovered { node, why, after_ms: 1, replaced: false });
            notices.recv().expect("told")
        };
        let last = || shared.status().0.last_error.as_ref().map(ToString::to_string);
        assert!(matches!(bad(1, 5461), Notice::Partly { .. }));
        assert!(matches!(bad(2, 5461), Notice::Partly { .. }));
        assert!(last().is_some_and(|error| error.contains("h:2")));
        assert!(matches!(good(2), Notice::Said { what } if what.contains("h:2")));
        assert!(last().is_some_and(|error| error.contains("h:1")), "{:?}", last());
        assert!(shared.status().0.failing_since.is_some());
        assert!(matches!(good(1), Notice::Recovered { .. }));
        assert!(shared.status().0.failing_since.is_none());
        assert!(matches!(bad(1, SLOTS), Notice::Failing { .. }));
        assert!(matches!(bad(2, 0), Notice::Partly { .. }));
    }
}
