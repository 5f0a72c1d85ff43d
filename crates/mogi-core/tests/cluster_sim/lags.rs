//! What is slow for a while: nothing gets lost by that, and nothing overtakes what is before it,
//! but everything else goes far ahead meanwhile.

use crate::plan::Plan;
use crate::rng::Rng;
use crate::store::{SHARDS, shard_of};
use crate::trace::note;

/// Something slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    /// A link in one direction.
    Link(usize, usize),
    /// What a site asks of the store.
    Asks(usize),
    /// What the store answers a site.
    Replies(usize),
    /// A master.
    Shard(usize),
}

/// All that is slow.
#[derive(Debug)]
pub(crate) struct Lags {
    /// Chance of its own, so that storms without lags stay as they are.
    rng: Rng,
    step: usize,
    chance: usize,
    /// The most steps something is slow for.
    steps: usize,
    /// Until which step, and until when.
    slow: Vec<(Slow, usize, u64)>,
}

/// The most milliseconds something is slow for, per step it may be.
const MS_PER_STEP: u64 = 12;

impl Lags {
    pub(crate) const fn new(seed: u64, chance: usize, steps: usize) -> Self {
        Self { rng: Rng::new(seed ^ 0x1A65), step: 0, chance, steps, slow: Vec::new() }
    }

    /// A step begins.
    pub(crate) fn begin_step(&mut self, plan: &Plan, now_ms: u64) {
        self.step += 1;
        let step = self.step;
        self.slow.retain(|(_, until, until_ms)| *until > step && *until_ms > now_ms);
        if self.chance == 0 || self.rng.below(10_000) >= self.chance {
            return;
        }
        let (a, b) = (self.rng.below(plan.sites), self.rng.below(plan.sites));
        let what = match self.rng.below(6) {
            0..=2 if a != b => Slow::Link(a, b),
            3 => Slow::Asks(a),
            4 => Slow::Replies(a),
            5 => Slow::Shard(self.rng.below(SHARDS)),
            _ => return,
        };
        let until = step + self.rng.below(self.steps);
        note(|| format!("{what:?} for {} steps", until - step));
        self.slow.push((what, until, now_ms + MS_PER_STEP * self.steps as u64));
    }

    pub(crate) fn is_slow(&self, what: Slow) -> bool {
        self.slow.iter().any(|(slow, ..)| *slow == what)
    }

    /// Whether what a site asks of a slot waits.
    pub(crate) fn holds(&self, (site, key): &(usize, std::sync::Arc<str>)) -> bool {
        self.is_slow(Slow::Asks(*site)) || self.is_slow(Slow::Shard(shard_of(key)))
    }

    /// Nothing is slow any more.
    pub(crate) fn end(&mut self) {
        self.slow.clear();
    }
}
