//! Which of a bridge's addresses is next: `addresses` and `round_robin` of mosquitto.conf(5).

use super::plan::Address;

/// The addresses of a bridge, and which one it is at.
#[derive(Debug)]
pub(crate) struct Addresses {
    all: Vec<Address>,
    at: usize,
    round_robin: bool,
}

impl Addresses {
    pub(crate) const fn new(all: Vec<Address>, round_robin: bool) -> Self {
        Self { all, at: 0, round_robin }
    }

    /// The one to connect to.
    pub(crate) fn current(&self) -> Option<&Address> {
        self.all.get(self.at)
    }

    /// The current one is of no use, or no more.
    pub(crate) const fn next(&mut self) {
        if !self.all.is_empty() {
            self.at = (self.at + 1) % self.all.len();
        }
    }

    /// The first one, if that would be better than the current one.
    pub(crate) fn better(&self) -> Option<&Address> {
        if self.round_robin || self.at == 0 { None } else { self.all.first() }
    }

    /// Goes back to the first one.
    pub(crate) const fn first(&mut self) {
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(round_robin: bool) -> Addresses {
        let all = [1, 2, 3].map(|port| Address { host: "h".to_owned(), port });
        Addresses::new(all.to_vec(), round_robin)
    }

    #[test]
    fn each_is_tried_in_turn() {
        let mut addresses = addresses(true);
        let mut ports = Vec::new();
        for _ in 0..4 {
            ports.extend(addresses.current().map(|address| address.port));
            assert!(addresses.better().is_none());
            addresses.next();
        }
        assert_eq!(ports, [1, 2, 3, 1]);
    }

    #[test]
    fn the_first_is_better_unless_all_are_equal() {
        let mut addresses = addresses(false);
        assert!(addresses.better().is_none());
        addresses.next();
        assert_eq!(addresses.better().map(|address| address.port), Some(1));
        addresses.first();
        assert!(addresses.better().is_none());
    }
}
