//! What is to be durable goes to the store, and what was asked of it comes back.

use super::EventLoop;
use mogi_core::store::StoredDelivery;
use mogi_core::{Changes, EntryNo, Fetch};
use mogi_store::Keeper;

impl EventLoop {
    /// Hands the turn's changes to the store, then its questions, which are to see them.
    pub(super) fn hand_to_store(&mut self) {
        let Some(store) = self.shared.store.get() else {
            return;
        };
        let effects = self.worker.effects();
        if let Some(Changes { turn, batch, wait, told }) = effects.store.take() {
            self.gate.expect(turn, told);
            store.submit(self.index, turn, batch, wait);
        }
        for fetch in effects.fetches.drain(..) {
            let Fetch { key, generation, question, session, entries } = fetch;
            let token = self.questions.insert((key, generation, question));
            store.fetch(self.index, token as u64, session, entries);
        }
        self.release_gone();
    }

    /// Ends the turn if it has changes and parts of the store can fail by themselves: who is read
    /// next is not to wait for changes of this client, which may need a part that is gone.
    pub(super) fn part(&mut self, now_ms: u64) {
        let in_parts = |store: &dyn Keeper| store.cluster().is_some();
        if self.worker.has_changes() && self.shared.store.get().is_some_and(|it| in_parts(&**it)) {
            self.finish_turn(now_ms);
        }
    }

    /// The store has answered.
    pub(super) fn fetched(
        &mut self,
        now_ms: u64,
        token: u64,
        entries: Vec<(EntryNo, StoredDelivery)>,
    ) {
        if let Some((key, generation, question)) = self.questions.try_remove(token as usize) {
            self.worker.fetched(now_ms, key, generation, question, entries);
        }
    }

    /// While the store is behind, those who wait for it are not read; QoS 0 goes on.
    pub(super) fn look_at_store(&mut self, now_ms: u64) {
        let full = self.shared.store_is_full();
        self.worker.set_store_full(full);
        if !full {
            for place in std::mem::take(&mut self.stalled) {
                self.resume(now_ms, place);
            }
        }
    }
}
