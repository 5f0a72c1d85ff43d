//! Which wills have to be published, which must not be, and where either is right.

use crate::broker::{Broker, Cause};
use std::collections::BTreeMap;

/// The will of a connection, if it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Will {
    pub(crate) message: u32,
    pub(crate) delay_s: u32,
}

/// A CONNECT and what became of its connection.
#[derive(Clone, Debug)]
struct Life {
    client: usize,
    clean: bool,
    expiry_s: u32,
    will: Option<Will>,
    opened_ms: Option<u64>,
    ended: Option<(u64, Cause)>,
}

/// All connections, by token: in the order they were begun.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    lives: BTreeMap<u32, Life>,
    /// Tokens in the order the broker took them in.
    order: Vec<u32>,
    /// What session present has to be.
    pub(crate) present: BTreeMap<u32, Option<bool>>,
}

/// What has to become of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Never,
    Once,
    AtMostOnce,
}

/// Timers fall together in steps of half a second, and time passes in jumps.
const SLACK_MS: u64 = 2000;

impl Wills {
    pub(crate) fn begun(
        &mut self,
        token: u32,
        client: usize,
        clean: bool,
        expiry_s: u32,
        will: Option<Will>,
    ) {
        let life = Life { client, clean, expiry_s, will, opened_ms: None, ended: None };
        self.lives.insert(token, life);
    }

    pub(crate) fn opened(&mut self, token: u32, broker: &Broker) {
        let present = self.session_present(token, broker.now_ms);
        self.present.insert(token, present);
        self.order.push(token);
        if let Some(life) = self.lives.get_mut(&token) {
            life.opened_ms = Some(broker.now_ms);
        }
    }

    pub(crate) fn ended(&mut self, token: u32, cause: Cause, now_ms: u64) {
        if let Some(life) = self.lives.get_mut(&token) {
            life.ended = Some((now_ms, cause));
        }
    }

    /// Session expiry of a connection in seconds; 0: with it.
    pub(crate) fn expiry_s(&self, token: u32) -> u32 {
        self.lives.get(&token).map_or(0, |life| life.expiry_s)
    }

    /// The client changes it with its DISCONNECT, which has arrived for sure or not.
    pub(crate) fn set_expiry_s(&mut self, token: u32, expiry_s: u32) {
        if let Some(life) = self.lives.get_mut(&token) {
            life.expiry_s = expiry_s;
        }
    }

    /// Whether the broker has to have a session for a connection whose CONNECT is taken in now, as
    /// far as what became of the one before it says.
    fn session_present(&self, token: u32, now_ms: u64) -> Option<bool> {
        let life = &self.lives[&token];
        let mut earlier = self.order.iter().rev().map(|other| &self.lives[other]);
        let last = earlier.find(|other| other.client == life.client);
        match (life.clean, last) {
            (true, _) | (false, None) => Some(false),
            (false, Some(last)) => match (last.expiry_s, last.ended) {
                (0, _) => Some(false),
                (u32::MAX, _) | (_, Some((_, Cause::TakenOver { .. }))) => Some(true),
                (_, None) => Some(true),
                (expiry_s, Some((ended_ms, _))) => {
                    let due_ms = ended_ms + u64::from(expiry_s) * 1000;
                    (now_ms < due_ms || now_ms > due_ms + SLACK_MS).then_some(now_ms < due_ms)
                }
            },
        }
    }

    /// Every will of a connection that was taken in, and what is to become of it.
    pub(crate) fn verdicts(&self, now_ms: u64) -> Vec<(u32, u32, Verdict)> {
        let mut verdicts = Vec::new();
        for (at, token) in self.order.iter().enumerate() {
            let life = &self.lives[token];
            let Some(will) = life.will else { continue };
            verdicts.push((*token, will.message, self.verdict(at, life, will, now_ms)));
        }
        verdicts
    }

    fn verdict(&self, at: usize, life: &Life, will: Will, now_ms: u64) -> Verdict {
        let Some((ended_ms, cause)) = life.ended else {
            return Verdict::Never;
        };
        let session_ends = life.expiry_s == 0 || cause == Cause::TakenOver { clean: true };
        match cause {
            Cause::Goodbye(reason) if reason != 0x04 => return Verdict::Never, // [MQTT-3.14.4-3]
            Cause::TakenOver { clean: false } if will.delay_s > 0 && !session_ends => {
                return Verdict::Never; // [MQTT-3.1.3-9]
            }
            _ => {}
        }
        if will.delay_s == 0 || session_ends {
            return Verdict::Once;
        }
        let wait_s = u64::from(will.delay_s.min(life.expiry_s));
        let due_ms = ended_ms + wait_s * 1000;
        let later = self.order[at + 1..].iter().map(|token| &self.lives[token]);
        let next = later.into_iter().find(|other| other.client == life.client);
        match next.and_then(|next| Some((next.opened_ms?, next.clean))) {
            Some((opened_ms, false)) if opened_ms < due_ms => Verdict::Never,
            Some((opened_ms, true)) if opened_ms < due_ms => Verdict::Once,
            Some((opened_ms, _)) if opened_ms < due_ms + SLACK_MS => Verdict::AtMostOnce,
            None if now_ms < due_ms + SLACK_MS => Verdict::AtMostOnce,
            _ => Verdict::Once,
        }
    }
}
