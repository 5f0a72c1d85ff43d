//! A set of packet identifiers that is small when few are in use and bounded when all are.

use crate::seldom::Spare;

/// Packet ids of QoS 2 messages received and not yet released.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdSet {
    few: Vec<u16>,
    /// One bit per id, once there are more than [`FEW`].
    many: Option<Box<[u64; 1024]>>,
    len: usize,
}

const FEW: usize = 64;

impl Spare for IdSet {
    type Seed = ();

    fn nothing() -> &'static Self {
        static NOTHING: IdSet = IdSet { few: Vec::new(), many: None, len: 0 };
        &NOTHING
    }

    fn make((): &()) -> Self {
        Self::default()
    }

    fn is_spare(&self) -> bool {
        self.len == 0
    }
}

impl IdSet {
    pub(crate) fn contains(&self, id: u16) -> bool {
        match &self.many {
            None => self.few.contains(&id),
            Some(bits) => bits[usize::from(id >> 6)] & (1 << (id & 63)) != 0,
        }
    }

    /// Adds `id`; whether it was new.
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        if self.contains(id) {
            return false;
        }
        if self.many.is_none() && self.few.len() == FEW {
            let mut bits = Box::new([0u64; 1024]);
            for id in self.few.drain(..) {
                bits[usize::from(id >> 6)] |= 1 << (id & 63);
            }
            self.few = Vec::new();
            self.many = Some(bits);
        }
        match &mut self.many {
            None => self.few.push(id),
            Some(bits) => bits[usize::from(id >> 6)] |= 1 << (id & 63),
        }
        self.len += 1;
        true
    }

    /// Removes `id`; whether it was there.
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        let was = self.contains(id);
        if !was {
            return false;
        }
        match &mut self.many {
            None => self.few.retain(|&other| other != id),
            Some(bits) => bits[usize::from(id >> 6)] &= !(1 << (id & 63)),
        }
        self.len -= 1;
        if self.len == 0 {
            self.many = None;
        }
        true
    }

    /// All ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        let many = self.many.as_deref().into_iter().flatten().enumerate();
        let many = many.flat_map(|(at, &word)| {
            let bits = (0..64).filter(move |bit| word & 1 << bit != 0);
            bits.map(move |bit| (at as u16) << 6 | bit)
        });
        self.few.iter().copied().chain(many)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_all_ids_and_gives_them_back() {
        let mut set = IdSet::default();
        for id in 1..=u16::MAX {
            assert!(set.insert(id));
            assert!(!set.insert(id));
            if id == 3 {
                assert_eq!(set.iter().collect::<Vec<_>>(), [1, 2, 3]);
            }
        }
        assert!(set.iter().eq(1..=u16::MAX));
        assert_eq!(set.len(), 65_535);
        assert!(set.contains(1) && set.contains(65_535) && !set.contains(0));
        for id in 1..=u16::MAX {
            assert!(set.remove(id));
            assert!(!set.remove(id));
        }
        assert_eq!(set.len(), 0);
        assert!(set.many.is_none());
    }

    #[test]
    fn few_ids_need_no_table() {
        let mut set = IdSet::default();
        for round in 0..1000u16 {
            assert!(set.insert(round + 1));
            if round >= 20 {
                assert!(set.remove(round - 19));
            }
        }
        assert!(set.many.is_none());
        assert_eq!(set.len(), 20);
    }
}
