//! Addresses with failed logins.

use super::plan::BanLimits;
use crate::net::crowd::network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Addresses with failed logins, and those that are not let in because of them.
#[derive(Debug)]
pub(crate) struct Bans {
    limits: BanLimits,
    known: Mutex<HashMap<IpAddr, Record>>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    since_ms: u64,
    /// 0: it is not banned.
    until_ms: u64,
}

impl Bans {
    pub(crate) fn new(limits: BanLimits) -> Self {
        Self { limits, known: Mutex::new(HashMap::new()) }
    }

    /// Whether an address is not let in.
    pub(crate) fn holds(&self, now_ms: u64, address: IpAddr) -> bool {
        if self.limits.attempts == 0 {
            return false;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&network(address)).is_some_and(|record| record.until_ms > now_ms)
    }

    /// Notes a failed login; whether the address is not let in from now on.
    pub(crate) fn failed(&self, now_ms: u64, address: IpAddr) -> bool {
        if self.limits.attempts == 0 {
            return false;
        }
        let BanLimits { attempts, window_ms, time_ms, addresses } = self.limits;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if known.len() >= addresses && !known.contains_key(&address) {
            known.retain(|_, it| it.until_ms > now_ms || it.since_ms + window_ms > now_ms);
            if known.len() >= addresses {
                // An attack from everywhere: those who are banned stay so, the rest counts anew.
                known.retain(|_, record| record.until_ms > now_ms);
            }
            if known.len() >= addresses {
                return false;
            }
        }
        let record =
            known.entry(address).or_insert(Record { failures: 0, since_ms: now_ms, until_ms: 0 });
        if record.since_ms + window_ms <= now_ms {
            (record.failures, record.since_ms) = (0, now_ms);
        }
        record.failures += 1;
        if record.failures < attempts {
            return false;
        }
        *record = Record { failures: 0, since_ms: now_ms, until_ms: now_ms + time_ms };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> BanLimits {
        BanLimits { attempts: 3, window_ms: 1000, time_ms: 5000, addresses: 2 }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_banned_for_a_while_after_failures_in_a_row() {
        let bans = Bans::new(limits());
        let a = ip("192.0.2.1");
        assert!(!bans.failed(0, a) && !bans.failed(10, a));
        assert!(!bans.failed(1000, a), "the first two are too long ago");
        assert!(!bans.failed(1001, a) && bans.failed(1002, a));
        assert!(bans.holds(1003, a) && bans.holds(1003, ip("::ffff:192.0.2.1")));
        assert!(!bans.holds(1003, ip("192.0.2.2")));
        assert!(!bans.holds(6002, a));
    }

    #[test]
    fn the_table_has_a_limit_and_keeps_who_is_banned() {
        let bans = Bans::new(limits());
        let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for at in 0..3 {
            bans.failed(at, a);
        }
        bans.failed(5, b);
        for last in 10..100 {
            bans.failed(10, ip(&format!("198.51.100.{last}")));
        }
        assert!(bans.holds(11, a));
        assert!(bans.known.lock().expect("not poisoned").len() <= 2);
    }

    #[test]
    fn neighbours_in_an_ipv6_network_count_as_one() {
        let bans = Bans::new(limits());
        for host in 1..=3 {
            bans.failed(0, ip(&format!("2001:db8::{host}")));
        }
        assert!(bans.holds(1, ip("2001:db8::ffff")));
        assert!(!bans.holds(1, ip("2001:db8:0:1::1")));
    }

    #[test]
    fn nobody_is_banned_unless_it_is_asked_for() {
        let bans = Bans::new(BanLimits::default());
        assert!((0..1000).all(|at| !bans.failed(at, ip("192.0.2.1"))));
    }
}
