//! How many connections come from where, how many have not said who they are, and how many come in
//! a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// What the crowd at the door is kept within; 0: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CrowdLimits {
    /// Connections from one address (`max_connections_per_address`).
    pub(crate) per_address: u32,
    /// Connections whose CONNECT was not accepted yet (`max_pending_connections`).
    pub(crate) pending: usize,
    /// New connections in a second (`max_connection_rate`).
    pub(crate) per_second: u32,
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

/// How many connections may come before it is waited for more.
#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    /// In thousandths.
    left: u64,
    at_ms: u64,
}

impl Turnstile {
    /// Whether one may come, of so many in a second (0: any number); else when to ask again.
    pub(crate) fn opens(&mut self, per_second: u32, now_ms: u64) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let rate = u64::from(per_second);
        let elapsed_ms = now_ms.saturating_sub(self.at_ms).min(1000);
        self.at_ms = now_ms;
        self.left = (self.left + elapsed_ms * rate).min(rate * 1000);
        if self.left < 1000 {
            return Err(now_ms + (1000 - self.left).div_ceil(rate));
        }
        Ok(())
    }

    /// One has come.
    pub(crate) const fn pass(&mut self) {
        self.left = self.left.saturating_sub(1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            match turnstile.opens(50, now_ms) {
                Ok(()) => {
                    turnstile.pass();
                    passed += 1;
                }
                Err(again_ms) => {
                    assert!(again_ms > now_ms);
                    now_ms = again_ms;
                }
            }
        }
        assert_eq!(passed, 50 + 499);
        assert_eq!(turnstile.opens(0, now_ms), Ok(()));
    }
}
