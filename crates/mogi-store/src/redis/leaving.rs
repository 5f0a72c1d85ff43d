//! Claims of clients that have left. Each is forgotten when nothing is under way any more that is
//! changed under it.

use super::directory::Directory;
use super::lanes::Lanes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Claims that are looked at together.
const AT_ONCE: usize = 64;

/// Clients this node has nothing to do with any more, and the epochs of their claims. Each claim is
/// here once, so there are no more than [`Directory::claims`].
#[derive(Debug, Default)]
pub(super) struct Leaving {
    queue: VecDeque<(Arc<str>, u64)>,
}

impl Leaving {
    /// The client has left; whatever was changed before is known here.
    pub(super) fn add(&mut self, client: Arc<str>, directory: &mut Directory) {
        if let Some(epoch) = directory.leaves(&client) {
            self.queue.push_back((client, epoch));
        }
    }

    /// Forgets those of which nothing is under way, as far as it looks now.
    pub(super) fn forget_some(&mut self, lanes: &mut Lanes) {
        for _ in 0..AT_ONCE.min(self.queue.len()) {
            let Some((client, epoch)) = self.queue.pop_front() else { break };
            match lanes.concern(&client) {
                true => self.queue.push_back((client, epoch)),
                false => lanes.directory.released(&client, epoch),
            }
        }
    }
}
