//! Wills: whether each has to be published, may be, or must not be.

use crate::message::Published;
use crate::world::World;
use mogi_codec::QoS;
use std::collections::BTreeMap;

/// How a connection with a will ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is there.
    Open,
    /// With a DISCONNECT that may not have arrived.
    Goodbye,
    /// With one after which the broker closed the connection in order.
    Waived,
    Broken,
}

/// All wills.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    /// By connection: the message, whether CONNACK came, and how it ended.
    cases: BTreeMap<u32, (u32, bool, End)>,
}

impl Wills {
    pub(crate) fn left(&mut self, token: u32, goodbye: bool) {
        if let Some(case) = self.cases.get_mut(&token) {
            case.2 = if goodbye { End::Goodbye } else { End::Broken };
        }
    }

    fn waived(&mut self, token: u32) {
        if let Some(case) = self.cases.get_mut(&token) {
            case.2 = End::Waived;
        }
    }

    pub(crate) fn greeted(&mut self, token: u32) {
        if let Some(case) = self.cases.get_mut(&token) {
            case.1 = true;
        }
    }
}

impl World {
    /// A will for a connection, now and then.
    pub(crate) fn make_will(&mut self, client: usize, token: u32) -> Option<u32> {
        if !self.plan.wills || client == 0 || !self.rng.percent(50) {
            return None;
        }
        let id = self.oracle.messages.len() as u32;
        let sent_at = self.oracle.tick();
        self.oracle.messages.push(Published {
            id,
            topic: format!("w/{client}"),
            qos: QoS::ExactlyOnce,
            retain: false,
            empty: false,
            sent_at,
            sends: 1,
            token,
            acked_at: None,
            will: true,
            brief: false,
        });
        self.wills.cases.insert(token, (id, false, End::Open));
        Some(id)
    }

    /// A site has closed connections after their clients' DISCONNECT: the wills never come.
    pub(crate) fn note_waived(&mut self, site: usize) {
        let waived = self.sites[site].waived.drain(..);
        waived.for_each(|token| self.wills.waived(token));
    }

    /// Everybody has left, and all is quiet: the watcher has the wills of broken connections.
    pub(crate) fn check_wills(&mut self) {
        (0..self.sites.len()).for_each(|site| self.note_waived(site));
        let got = &self.oracle.subjects[0].got;
        for (token, (id, greeted, end)) in &self.wills.cases {
            let copies = got.get(id).copied().unwrap_or(0);
            if *greeted && *end == End::Broken {
                assert!(copies > 0, "will {id} of {token} was not published");
            }
            assert!(copies < 2, "will {id} of {token} was published {copies} times");
            let kept = matches!(end, End::Open | End::Waived);
            assert!(copies == 0 || !kept, "will {id} of {token} was published: {end:?}");
        }
    }
}
