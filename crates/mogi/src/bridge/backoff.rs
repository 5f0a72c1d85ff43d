//! How long a bridge waits before it tries again: `restart_timeout` of mosquitto.conf(5).

use super::plan::Restart;

/// The waits between attempts: always the same, or growing with "decorrelated jitter", so that
/// many bridges do not come back in the same instant.
#[derive(Debug)]
pub(crate) struct Backoff {
    restart: Restart,
    last_ms: u64,
    dice: u64,
}

impl Backoff {
    /// `seed`: what makes it differ from other bridges.
    pub(crate) const fn new(restart: Restart, seed: u64) -> Self {
        Self { restart, last_ms: restart.base_s as u64 * 1000, dice: seed }
    }

    /// Milliseconds to wait now.
    pub(crate) fn next_ms(&mut self) -> u64 {
        let base_ms = u64::from(self.restart.base_s) * 1000;
        let Some(cap_s) = self.restart.cap_s else {
            return base_ms;
        };
        let most_ms = (self.last_ms * 3).max(base_ms);
        let wait_ms = base_ms + self.random() % (most_ms - base_ms + 1);
        self.last_ms = wait_ms.min(u64::from(cap_s) * 1000);
        self.last_ms
    }

    /// A connection has lasted for so long.
    pub(crate) fn lasted(&mut self, for_ms: u64) {
        if for_ms >= u64::from(self.restart.stable_s) * 1000 {
            self.last_ms = u64::from(self.restart.base_s) * 1000;
        }
    }

    /// SplitMix64.
    const fn random(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.dice ^ self.dice >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_what_it_is() {
        let restart = Restart { base_s: 20, cap_s: None, stable_s: 0 };
        let mut backoff = Backoff::new(restart, 1);
        assert!((0..100).all(|_| backoff.next_ms() == 20_000));
    }

    #[test]
    fn jitter_stays_between_base_and_cap_and_begins_anew() {
        for seed in 0..50 {
            let mut backoff = Backoff::new(Restart { stable_s: 10, ..Restart::default() }, seed);
            let mut waits = Vec::new();
            for _ in 0..100 {
                waits.push(backoff.next_ms());
            }
            assert!(waits.iter().all(|wait| (5_000..=30_000).contains(wait)), "{waits:?}");
            assert!(waits[0] <= 15_000 && waits.contains(&30_000), "{waits:?}");
            let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
            assert!(distinct.len() > 10);
            backoff.last_ms = 30_000;
            backoff.lasted(9_999);
            assert_eq!(backoff.last_ms, 30_000);
            backoff.lasted(10_000);
            assert!(backoff.next_ms() <= 15_000);
        }
    }
}
