//! Takes out of a group what has no effect because of what comes later in it.
//!
//! Subscribers that are there acknowledge within the time of one fsync, so most messages are
//! enqueued and delivered in the same group, and are never written:
//! ```text
//!  Enqueued 7 … Assigned 7 … Released 7 … Delivered 7     nothing is left
//!             … Assigned 7 … Released 7 … Delivered 7     Delivered 7
//!  SessionSet a … Received a 5 … SessionEnd a             SessionEnd a
//!  Retained x 1 … Retained x 2                            Retained x 2
//! ```
//! A group becomes durable as one, so nobody can see that something was missing in between.

use crate::ops::{Batch, EntryNo, SessionNo, StoreOp};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

/// Space for compacting, kept from group to group.
#[derive(Default)]
pub(crate) struct Compactor {
    /// Where each entry's `Delivered` is.
    delivered: HashMap<EntryNo, u32, RandomState>,
    ended: HashSet<SessionNo, RandomState>,
    /// By position from the group's start: whether it stays.
    stays: Vec<bool>,
}

/// The place an operation of the rarer kinds is about; the last one decides what stands there.
#[derive(PartialEq, Eq, Hash)]
enum Place<'a> {
    Subscription(SessionNo, &'a str),
    Received(SessionNo, u16),
    Will(&'a str),
}

type Places<'a> = HashSet<Place<'a>, RandomState>;
type Retained<'a> = HashMap<&'a str, (u64, usize), RandomState>;

impl Compactor {
    /// Compacts the group; how many operations were taken out.
    pub(crate) fn compact(&mut self, group: &mut [Batch]) -> usize {
        self.delivered.clear();
        self.ended.clear();
        self.stays.clear();
        self.stays.resize(group.iter().map(Vec::len).sum(), true);
        self.mark(group);
        let dropped = self.stays.iter().filter(|stays| !**stays).count();
        if dropped > 0 {
            let mut rest = &self.stays[..];
            for batch in group {
                let (stays, others) = rest.split_at(batch.len());
                rest = others;
                if stays.iter().any(|stays| !stays) {
                    let mut stays = stays.iter();
                    batch.retain(|_| stays.next().is_none_or(|stays| *stays));
                }
            }
        }
        dropped
    }

    /// From the last operation to the first: what is later is known then.
    fn mark(&mut self, group: &[Batch]) {
        let mut places = Places::default();
        let mut retained = Retained::default();
        // With queues most of what is delivered was enqueued long ago; it need not be remembered.
        let oldest = oldest(group);
        let ops = group.iter().rev().flat_map(|batch| batch.iter().rev());
        for (op, at) in ops.zip((0..self.stays.len()).rev()) {
            let stays = match op {
                StoreOp::Delivered { session, entry } => {
                    // The same once more says nothing, and does no harm.
                    let says = !self.ended.contains(session) && !self.delivered.contains_key(entry);
                    if says && *entry >= oldest {
                        self.delivered.insert(*entry, at as u32);
                    }
                    says
                }
                StoreOp::Enqueued { session, entry, .. } => match self.delivered.get(entry) {
                    Some(delivered) => {
                        self.stays[*delivered as usize] = false;
                        false
                    }
                    None => !self.ended.contains(session),
                },
                StoreOp::Assigned { session, entry, .. } | StoreOp::Released { session, entry } => {
                    !self.delivered.contains_key(entry) && !self.ended.contains(session)
                }
                StoreOp::Retained { version, .. } | StoreOp::RetainedEnd { version, .. } => {
                    self.mark_retained(&mut retained, topic(op), *version, at)
                }
                other => self.mark_other(&mut places, other),
            };
            self.stays[at] = stays;
        }
    }

    /// The newest version of a topic stays, wherever it is.
    fn mark_retained<'a>(
        &mut self,
        retained: &mut Retained<'a>,
        topic: &'a str,
        version: u64,
        at: usize,
    ) -> bool {
        match retained.get(topic).copied() {
            Some((newest, _)) if newest >= version => false,
            known => {
                if let Some((_, older)) = known {
                    self.stays[older] = false;
                }
                retained.insert(topic, (version, at));
                true
            }
        }
    }

    fn mark_other<'a>(&mut self, places: &mut Places<'a>, op: &'a StoreOp) -> bool {
        let (session, place) = match op {
            // An earlier one stays too: what is between them counts only behind it.
            StoreOp::SessionSet { session, .. } => return !self.ended.contains(session),
            // It stays: it may have to remove what was there before the group.
            StoreOp::SessionEnd { session } => return self.ended.insert(*session),
            StoreOp::SubscriptionSet { session, subscription } => {
                (session, Place::Subscription(*session, &subscription.filter))
            }
            StoreOp::SubscriptionEnd { session, filter } => {
                (session, Place::Subscription(*session, filter))
            }
            StoreOp::Received { session, packet_id, .. }
            | StoreOp::ReceivedEnd { session, packet_id } => {
                (session, Place::Received(*session, *packet_id))
            }
            StoreOp::WillSet { client, .. } | StoreOp::WillEnd { client } => {
                return places.insert(Place::Will(client));
            }
            _ => return true,
        };
        !self.ended.contains(session) && places.insert(place)
    }
}

/// The least number of an entry that something else than its end is said of.
fn oldest(group: &[Batch]) -> EntryNo {
    let of = |op: &StoreOp| match op {
        StoreOp::Enqueued { entry, .. }
        | StoreOp::Assigned { entry, .. }
        | StoreOp::Released { entry, .. } => Some(*entry),
        _ => None,
    };
    group.iter().flatten().filter_map(of).min().unwrap_or(EntryNo(u64::MAX))
}

fn topic(op: &StoreOp) -> &str {
    match op {
        StoreOp::Retained { message, .. } => message.topic(),
        StoreOp::RetainedEnd { topic, .. } => topic,
        _ => "",
    }
}
