//! The subscriptions of one filter that outlive their connections. Most filters have one, and a
//! large broker has hundreds of thousands of them: so one takes 24 bytes.

use crate::interest::Lasting;
use crate::route::Target;
use crate::store::SessionNo;
use mogi_codec::{SubscribeOptions, Version};
use std::collections::BTreeMap;

/// A filter's subscriptions, by worker and the client's key there.
#[derive(Debug, Default)]
pub(crate) enum LastingSet {
    #[default]
    None,
    One(Listed),
    #[expect(clippy::box_collection, reason = "few filters have many: 24 bytes for all, not 32")]
    Many(Box<BTreeMap<(u16, u32), Listed>>),
}

/// A [`Lasting`] as it stands in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    session: SessionNo,
    client: u32,
    id: u32,
    worker: u16,
    options: SubscribeOptions,
}

impl LastingSet {
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Those in the set, by worker and client.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Lasting> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many.values())),
        };
        one.into_iter().chain(many.into_iter().flatten()).map(|listed| listed.lasting())
    }

    /// Whether another client of this worker is in the set.
    pub(crate) fn has_others(&self, worker: u16, client: u32) -> bool {
        let other = |key: (u16, u32)| key.0 == worker && key.1 != client;
        match self {
            Self::None => false,
            Self::One(one) => other(one.key()),
            Self::Many(many) => {
                let all = (worker, 0)..=(worker, u32::MAX);
                many.range(all).any(|(key, _)| other(*key))
            }
        }
    }

    /// Adds a client's subscription, or changes it.
    pub(crate) fn insert(&mut self, lasting: &Lasting) {
        let listed = Listed::of(lasting);
        match self {
            Self::None => *self = Self::One(listed),
            Self::One(one) if one.key() == listed.key() => *one = listed,
            Self::One(one) => {
                let many = [*one, listed].map(|listed| (listed.key(), listed));
                *self = Self::Many(Box::new(many.into()));
            }
            Self::Many(many) => drop(many.insert(listed.key(), listed)),
        }
    }

    /// Takes a client out, if it was there.
    pub(crate) fn remove(&mut self, key: (u16, u32)) -> Option<Lasting> {
        let removed = match self {
            Self::One(one) if one.key() == key => {
                let one = *one;
                *self = Self::None;
                Some(one)
            }
            Self::None | Self::One(_) => None,
            Self::Many(many) => {
                let removed = many.remove(&key);
                if many.is_empty() {
                    *self = Self::None;
                }
                removed
            }
        };
        removed.map(|listed| listed.lasting())
    }
}

impl Listed {
    fn of(lasting: &Lasting) -> Self {
        let Lasting { worker, session, target } = lasting;
        // They were options once; what is not kept of them no delivery asks for.
        let options = SubscribeOptions::decode(Version::V5, target.options()).unwrap_or_default();
        // It has one id at the most: only routes join subscriptions.
        let id = target.ids.as_slice().first().copied().unwrap_or(0);
        Self { session: *session, client: target.client, id, worker: *worker, options }
    }

    fn lasting(self) -> Lasting {
        let Self { session, client, id, worker, options } = self;
        Lasting { worker, session, target: Target::new(client, options, id) }
    }

    const fn key(&self) -> (u16, u32) {
        (self.worker, self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mogi_codec::QoS;

    fn lasting(worker: u16, client: u32, id: u32) -> Lasting {
        let options =
            SubscribeOptions { qos: QoS::ExactlyOnce, no_local: true, ..Default::default() };
        Lasting { worker, session: SessionNo(9), target: Target::new(client, options, id) }
    }

    #[test]
    fn one_takes_24_bytes_and_all_come_out_as_they_went_in() {
        assert_eq!(size_of::<LastingSet>(), 24);
        let mut set = LastingSet::default();
        let all = [lasting(0, 3, 0), lasting(0, 7, 70_000), lasting(1, 3, 1)];
        for one in &all {
            set.insert(one);
            set.insert(one);
        }
        assert!(set.iter().map(|it| it.target).eq(all.iter().map(|it| it.target.clone())));
        assert!(set.has_others(0, 3) && !set.has_others(1, 3) && !set.is_empty());
        for one in &all {
            let removed = set.remove((one.worker, one.target.client)).expect("it is there");
            assert_eq!((removed.session, &removed.target), (one.session, &one.target));
            assert!(set.remove((one.worker, one.target.client)).is_none());
        }
        assert!(set.is_empty());
    }
}
