//! What only one node of the cluster does at a time: carrying a bridge.
//!
//! Whoever carries it has a lease in the store, beside the node's own: a node that hangs, or cannot
//! reach the store, stops carrying when its lease has ended, and another one begins. Two bridges
//! between the same brokers with the same topics are one, whatever they are called.

use super::links::Links;
use crate::net::shared::Shared;
use mogi_core::LogKind;
use mogi_store::StoreError;
use mogi_store::redis::{DutyKey, Nodes};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A bridge that this node would carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Duty {
    /// `connection`.
    pub(crate) name: String,
    /// The same for bridges between the same brokers with the same topics.
    pub(crate) job: String,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Duties {
    list: Mutex<Vec<Wanted>>,
    /// Leases this node has no use for any more.
    dropped: Mutex<Vec<Duty>>,
    ring: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct Wanted {
    duty: Duty,
    /// When this node's lease ends; 0: it has none.
    until_ms: u64,
    /// What the log was told last.
    told: String,
}

/// A duty, and whoever has the lease if it is not this node.
type Outcome = (Duty, Option<String>);

impl Duties {
    /// These, and no others.
    pub(crate) fn want(&self, duties: Vec<Duty>) {
        let mut list = self.list();
        let (kept, gone): (Vec<_>, Vec<_>) =
            list.drain(..).partition(|wanted| duties.contains(&wanted.duty));
        *list = kept;
        for duty in duties {
            if !list.iter().any(|wanted| wanted.duty == duty) {
                list.push(Wanted { duty, until_ms: 0, told: String::new() });
            }
        }
        drop(list);
        let gone = gone.into_iter().filter(|wanted| wanted.until_ms > 0);
        self.dropped().extend(gone.map(|wanted| wanted.duty));
    }

    /// Calls `ring` whenever this node gets a lease or loses one.
    pub(crate) fn on_change(&self, ring: Box<dyn Fn() + Send + Sync>) {
        // There is one thread that wants to know.
        let _ = self.ring.set(ring);
    }

    /// Until when this node has the lease, if it has it now.
    pub(crate) fn until_ms(&self, name: &str, now_ms: u64) -> Option<u64> {
        let list = self.list();
        let wanted = list.iter().find(|wanted| wanted.duty.name == name)?;
        Some(wanted.until_ms).filter(|until_ms| now_ms < *until_ms)
    }

    /// Gives all leases back: this node ends.
    pub(crate) fn leave(&self, links: &Links, store: &Nodes) {
        self.want(Vec::new());
        for duty in std::mem::take(&mut *self.dropped()) {
            // If Redis does not hear it, the lease ends.
            let _ = release(&duty, &links.plan.node, store);
        }
    }

    fn is_idle(&self) -> bool {
        self.list().is_empty() && self.dropped().is_empty()
    }

    /// Asks for all leases; what could not be asked is left out.
    fn ask(&self, links: &Links, store: &Nodes) -> Vec<Outcome> {
        let node = &links.plan.node;
        let lease = Duration::from_millis(links.plan.lease_ms);
        for duty in std::mem::take(&mut *self.dropped()) {
            // If Redis does not hear it, the lease ends.
            let _ = release(&duty, node, store);
        }
        let duties: Vec<Duty> = self.list().iter().map(|wanted| wanted.duty.clone()).collect();
        let ask = |duty: Duty| hold(&duty, node, store, lease).ok().map(|by| (duty, by));
        duties.into_iter().filter_map(ask).collect()
    }

    /// Takes note of what was asked at `asked_ms`; lines for the log.
    fn note(&self, links: &Links, asked_ms: u64, outcomes: Vec<Outcome>) -> Vec<(LogKind, String)> {
        let mut lines = Vec::new();
        let mut changed = false;
        let mut list = self.list();
        for (duty, by) in outcomes {
            let Some(wanted) = list.iter_mut().find(|wanted| wanted.duty == duty) else {
                continue;
            };
            let had = wanted.until_ms > asked_ms;
            changed |= had != by.is_none();
            wanted.until_ms = if by.is_none() { asked_ms + links.plan.lease_ms } else { 0 };
            let (kind, line) = line(&duty, by.as_deref());
            if wanted.told != line {
                wanted.told.clone_from(&line);
                lines.push((kind, line));
            }
        }
        drop(list);
        if let Some(ring) = self.ring.get().filter(|_| changed) {
            ring();
        }
        lines
    }

    fn list(&self) -> MutexGuard<'_, Vec<Wanted>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dropped(&self) -> MutexGuard<'_, Vec<Duty>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews the leases of all duties, and asks for those that others have.
pub(super) async fn keep(links: &Arc<Links>, store: &Nodes, shared: &Shared) {
    if links.duties.is_idle() {
        return;
    }
    let (asking, store) = (Arc::clone(links), store.clone());
    let asked_ms = shared.now_ms();
    let asked = tokio::task::spawn_blocking(move || asking.duties.ask(&asking, &store)).await;
    for (kind, line) in links.duties.note(links, asked_ms, asked.unwrap_or_default()) {
        shared.log.log(kind, &line);
    }
}

impl Duty {
    fn keys(&self) -> [DutyKey<'_>; 2] {
        [DutyKey::Job(&self.job), DutyKey::Name(&self.name)]
    }

    /// What stands in the place of the lease.
    fn text(&self, node: &str) -> String {
        format!("node={node} job={} connection={}", self.job, self.name)
    }
}

/// Takes or renews both leases of a duty, or none; who has one, if this node has not.
fn hold(
    duty: &Duty,
    node: &str,
    store: &Nodes,
    lease: Duration,
) -> Result<Option<String>, StoreError> {
    let text = duty.text(node);
    let [job, name] = duty.keys();
    if let Some(by) = store.hold(job, &text, lease)? {
        return Ok(Some(by));
    }
    let by = store.hold(name, &text, lease)?;
    if by.is_some() {
        store.release(job, &text)?;
    }
    Ok(by)
}

fn release(duty: &Duty, node: &str, store: &Nodes) -> Result<(), StoreError> {
    let text = duty.text(node);
    duty.keys().into_iter().try_for_each(|key| store.release(key, &text))
}

/// What the log is told about who carries a bridge.
fn line(duty: &Duty, by: Option<&str>) -> (LogKind, String) {
    let name = &duty.name;
    let Some(by) = by else {
        return (LogKind::Notice, format!("Bridge {name}: this node carries it now."));
    };
    let parts = by.strip_prefix("node=").and_then(|rest| rest.split_once(" job="));
    let parts = parts.and_then(|(node, rest)| Some((node, rest.split_once(" connection=")?)));
    let Some((node, (job, other))) = parts else {
        return (LogKind::Warning, format!("Bridge {name} stands by: '{by}' has its lease."));
    };
    if other != name {
        let line = format!(
            "Bridge {name} stands by: bridge {other} of node {node} goes to the same broker with \
             the same topics. With one name they would share one queue."
        );
        return (LogKind::Warning, line);
    }
    if job != duty.job {
        let line = format!(
            "Bridge {name} stands by: the one of that name on node {node} has another address or \
             other topics. One of them needs another name."
        );
        return (LogKind::Warning, line);
    }
    (LogKind::Notice, format!("Bridge {name}: node {node} carries it, this one stands by."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_why_a_bridge_stands_by() {
        let duty = Duty { name: "up".to_owned(), job: "ab".to_owned() };
        let said = |by: &str| line(&duty, Some(by));
        let (kind, same) = said(&duty.text("n1"));
        assert_eq!(
            (kind, &*same),
            (LogKind::Notice, "Bridge up: node n1 carries it, this one stands by.")
        );
        let (kind, other) = said("node=n1 job=ab connection=upstream two");
        assert_eq!(kind, LogKind::Warning);
        assert!(other.starts_with("Bridge up stands by: bridge upstream two of node n1 goes"));
        let (kind, other) = said("node=n1 job=cd connection=up");
        assert_eq!(kind, LogKind::Warning);
        assert!(other.contains("the one of that name on node n1 has another address"), "{other}");
        assert!(said("?").1.contains("'?' has its lease"));
        assert_eq!(line(&duty, None).1, "Bridge up: this node carries it now.");
    }

    #[test]
    fn what_is_not_wanted_any_more_is_given_back() {
        let duty = |name: &str| Duty { name: name.to_owned(), job: "ab".to_owned() };
        let duties = Duties::default();
        duties.want(vec![duty("a"), duty("b")]);
        assert_eq!(duties.until_ms("a", 0), None);
        duties.list()[0].until_ms = 10;
        duties.want(vec![duty("a"), duty("c")]);
        assert_eq!(duties.until_ms("a", 9), Some(10), "it goes on");
        assert_eq!(duties.until_ms("a", 10), None, "a lease ends");
        assert!(duties.dropped().is_empty(), "there was no lease");
        duties.want(Vec::new());
        assert_eq!(*duties.dropped(), [duty("a")]);
    }
}
