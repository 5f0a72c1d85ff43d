//! How many connections come from where, how many have not said who they are, and how many come in
//! a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// What the crowd at the door is kept within; 0: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CrowdLimits {
    /// Connections from one address (`max_connections_per_address`).
    pub(crate) per_address: u32,
    /// Connections whose CONNECT was not accepted yet (`max_pending_connections`).
    pub(crate) pending: usize,
    /// New connections in a second (`max_connection_rate`).
    pub(crate) per_second: u32,
    /// Milliseconds they may wait for that before those beyond it are turned away
    /// (`max_connection_wait`); 0: for ever.
    pub(crate) wait_ms: u64,
}

impl Default for CrowdLimits {
    fn default() -> Self {
        Self { per_address: 0, pending: 0, per_second: 0, wait_ms: 10_000 }
    }
}

/// Connections by address.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<HashMap<IpAddr, u32>>);

impl Crowd {
    /// Counts a connection in; `false`: there are so many from its address already (0: any).
    pub(crate) fn enter(&self, address: IpAddr, limit: u32) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.entry(network(address)).or_insert(0);
        let room = limit == 0 || *count < limit;
        // One that is refused was counted in before, so this leaves no entry of 0.
        *count += u32::from(room);
        room
    }

    /// Counts one out that was counted in.
    pub(crate) fn leave(&self, address: IpAddr) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if let Some(count) = known.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                known.remove(&address);
                if known.len() * 4 < known.capacity() {
                    known.shrink_to_fit();
                }
            }
        }
    }
}

/// What one user has of the IPv6 space: 64 bits of it are nobody else's.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// How many connections may come before it is waited for more, and since when somebody waits.
///
/// Whoever waits too long has given up by the time it is let in, and keeps others waiting; so a
/// crowd that does not become less is told to come later. A crowd that passes only waits.
#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    /// In thousandths.
    left: u64,
    at_ms: u64,
    /// Since when there was always somebody who waits; 0: nobody does.
    crowded_since_ms: u64,
}

/// What is done with the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It comes in.
    Open,
    /// It waits until then.
    Later(u64),
    /// It is told to try again later.
    Never,
}

impl Turnstile {
    /// Whether one may come as the limits have it.
    pub(crate) fn opens(&mut self, limits: &CrowdLimits, now_ms: u64) -> Entry {
        if limits.per_second == 0 {
            return Entry::Open;
        }
        let rate = u64::from(limits.per_second);
        let elapsed_ms = now_ms.saturating_sub(self.at_ms).min(1000);
        self.at_ms = now_ms;
        self.left = (self.left + elapsed_ms * rate).min(rate * 1000);
        if self.left >= 1000 {
            return Entry::Open;
        }
        if self.crowded_since_ms == 0 {
            self.crowded_since_ms = now_ms;
        }
        let crowded_ms = now_ms.saturating_sub(self.crowded_since_ms);
        match limits.wait_ms {
            0 => {}
            wait_ms if crowded_ms < wait_ms => {}
            _ => return Entry::Never,
        }
        Entry::Later(now_ms + (1000 - self.left).div_ceil(rate))
    }

    /// Nobody waits any more.
    pub(crate) const fn relax(&mut self) {
        self.crowded_since_ms = 0;
    }

    /// One has come.
    pub(crate) const fn pass(&mut self) {
        self.left = self.left.saturating_sub(1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CrowdLimits =
        CrowdLimits { per_address: 0, pending: 0, per_second: 50, wait_ms: 2000 };

    #[test]
    fn addresses_are_counted_apart_and_forgotten() {
        let crowd = Crowd::default();
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (a, b) = (ip("192.0.2.1"), ip("2001:db8::1"));
        assert!(crowd.enter(a, 2) && crowd.enter(ip("::ffff:192.0.2.1"), 2));
        assert!(!crowd.enter(a, 2) && crowd.enter(b, 1));
        assert!(!crowd.enter(ip("2001:db8::2"), 1), "the same network of 64 bits");
        assert!(crowd.enter(a, 0), "no limit any more");
        (0..3).for_each(|_| crowd.leave(a));
        crowd.leave(b);
        assert!(crowd.0.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_turnstile_lets_in_so_many_a_second() {
        let mut turnstile = Turnstile::default();
        let mut now_ms = 1_700_000_000_000;
        let mut passed = 0;
        let end_ms = now_ms + 10_000;
        while now_ms < end_ms {
            match turnstile.opens(&LIMITS, now_ms) {
                Entry::Open => {
                    turnstile.pass();
                    passed += 1;
                }
                Entry::Later(again_ms) => {
                    assert!(again_ms > now_ms);
                    now_ms = again_ms;
                    turnstile.relax();
                }
                Entry::Never => panic!("nobody has waited for long"),
            }
        }
        assert_eq!(passed, 50 + 499);
        let any = CrowdLimits { per_second: 0, ..LIMITS };
        assert_eq!(turnstile.opens(&any, now_ms), Entry::Open);
    }

    #[test]
    fn a_crowd_that_stays_is_turned_away() {
        let mut turnstile = Turnstile::default();
        let begin_ms = 1_700_000_000_000;
        let mut each_ms = |now_ms: u64, limits: &CrowdLimits| {
            let entry = turnstile.opens(limits, now_ms);
            if entry == Entry::Open {
                turnstile.pass();
            }
            entry
        };
        (0..50).for_each(|_| assert_eq!(each_ms(begin_ms, &LIMITS), Entry::Open));
        assert_eq!(each_ms(begin_ms, &LIMITS), Entry::Later(begin_ms + 20));
        assert_eq!(each_ms(begin_ms + 999, &LIMITS), Entry::Open);
        (0..48).for_each(|_| assert_eq!(each_ms(begin_ms + 999, &LIMITS), Entry::Open));
        assert!(matches!(each_ms(begin_ms + 999, &LIMITS), Entry::Later(_)));
        // What a second gives still comes in.
        (0..50).for_each(|_| assert_eq!(each_ms(begin_ms + 2001, &LIMITS), Entry::Open));
        assert_eq!(each_ms(begin_ms + 2001, &LIMITS), Entry::Never);
        let patient = CrowdLimits { wait_ms: 0, ..LIMITS };
        assert!(matches!(each_ms(begin_ms + 2001, &patient), Entry::Later(_)));
        turnstile.relax();
        assert!(matches!(turnstile.opens(&LIMITS, begin_ms + 2002), Entry::Later(_)));
    }
}
