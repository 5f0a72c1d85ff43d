//! Which wills have to be published, which must not be, and where either is right.

use crate::broker::{Broker, Cause};
use crate::held::Held;
use crate::message::id_of;
use std::collections::{BTreeMap, BTreeSet};

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
    /// CONNACK has left.
    greeted: bool,
    /// The client ended its session with its DISCONNECT, for which there is no acknowledgement.
    left: bool,
    /// The broker closed the connection after the client's DISCONNECT: the will is waived for good.
    closed: bool,
    /// Crashes before it.
    crashes: usize,
    /// What a crash decided, as long as no other decides otherwise.
    sealed: Option<Verdict>,
    /// When the will is due that the store gave back.
    due_ms: Option<u64>,
}

/// A session that a crash left behind.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// 0: there is none.
    expiry_s: u32,
    left_ms: u64,
}

/// A crash: when it was, when the next broker began, and what that found.
pub(crate) struct Crash<'a> {
    pub(crate) died_ms: u64,
    pub(crate) born_ms: u64,
    pub(crate) held: &'a Held,
    /// Wills the store ever had.
    pub(crate) wills_ever: &'a BTreeSet<u32>,
}

/// All connections, by token: in the order they were begun.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    lives: BTreeMap<u32, Life>,
    /// Tokens in the order the broker took them in.
    order: Vec<u32>,
    crashes: usize,
    /// What the last crash left of each client.
    left: BTreeMap<usize, Left>,
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
        let life = Life {
            client,
            clean,
            expiry_s,
            will,
            opened_ms: None,
            ended: None,
            greeted: false,
            left: false,
            closed: false,
            crashes: 0,
            sealed: None,
            due_ms: None,
        };
        self.lives.insert(token, life);
    }

    pub(crate) fn opened(&mut self, token: u32, broker: &Broker) {
        let present = self.session_present(token, broker.now_ms);
        self.present.insert(token, present);
        self.order.push(token);
        if let Some(life) = self.lives.get_mut(&token) {
            life.opened_ms = Some(broker.now_ms);
            life.crashes = self.crashes;
        }
    }

    /// CONNACK leaves.
    pub(crate) fn greeted(&mut self, token: u32) {
        if let Some(life) = self.lives.get_mut(&token) {
            life.greeted = true;
        }
    }

    pub(crate) fn ended(&mut self, token: u32, cause: Cause, now_ms: u64) {
        if let Some(life) = self.lives.get_mut(&token) {
            life.ended = Some((now_ms, cause));
        }
    }

    /// The broker closes it in order.
    pub(crate) fn closed(&mut self, token: u32) {
        if let Some(life) = self.lives.get_mut(&token) {
            let waived = |ended: (u64, Cause)| ended.1 == Cause::Goodbye(0);
            life.closed = life.ended.is_some_and(waived);
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
            life.left = true;
        }
    }

    /// Whether the broker has to have a session for a connection whose CONNECT is taken in now, as
    /// far as what became of the one before it says.
    fn session_present(&self, token: u32, now_ms: u64) -> Option<bool> {
        let life = &self.lives[&token];
        let mut earlier = self.order.iter().rev().map(|other| &self.lives[other]);
        let now = |other: &&Life| other.client == life.client && other.crashes == self.crashes;
        let last = earlier.find(now);
        let (expiry_s, ended_ms) = match (life.clean, last, self.left.get(&life.client)) {
            (true, ..) | (false, None, None) => return Some(false),
            (false, Some(last), _) => match last.ended {
                Some((ended_ms, cause)) if !matches!(cause, Cause::TakenOver { .. }) => {
                    (last.expiry_s, ended_ms)
                }
                _ => return Some(last.expiry_s > 0),
            },
            (false, None, Some(left)) => (left.expiry_s, left.left_ms),
        };
        let due_ms = ended_ms + u64::from(expiry_s) * 1000;
        match expiry_s {
            0 => Some(false),
            u32::MAX => Some(true),
            _ => (now_ms < due_ms || now_ms > due_ms + SLACK_MS).then_some(now_ms < due_ms),
        }
    }

    /// The broker crashes: what was promised has to be there. The rest is as the store says.
    pub(crate) fn crashed(&mut self, names: &[String], crash: &Crash<'_>) {
        for (client, name) in names.iter().enumerate() {
            let kept = crash.held.session_of(name).map(|(_, kept)| &kept.record);
            let kept = kept.filter(|record| record.expiry_s > 0);
            self.check_promises(client, crash, kept.map(|record| record.expiry_s));
            let left = Left {
                expiry_s: kept.map_or(0, |record| record.expiry_s),
                left_ms: kept.and_then(|record| record.left_at_ms).unwrap_or(crash.died_ms),
            };
            self.left.insert(client, left);
            let will = crash.held.wills.get(&**name);
            let message = will.and_then(|will| id_of(will.message.payload()));
            let due_ms = will.map_or(0, |will| {
                will.due_at_ms.unwrap_or_else(|| crash.died_ms + u64::from(will.delay_s) * 1000)
            });
            self.decide(client, crash, left, message, due_ms);
        }
        self.crashes += 1;
    }

    /// Whether the store has what the last CONNACK of a client said.
    fn check_promises(&self, client: usize, crash: &Crash<'_>, kept: Option<u32>) {
        let mut lives = self.order.iter().rev().map(|token| (token, &self.lives[token]));
        let last = lives.find(|(_, life)| life.client == client);
        let Some((token, life)) = last.filter(|(_, life)| life.crashes == self.crashes) else {
            return;
        };
        if !life.greeted || life.left {
            return;
        }
        let over = |ended_ms| crash.died_ms >= ended_ms + u64::from(life.expiry_s) * 1000;
        match life.ended {
            Some((ended_ms, _)) if life.expiry_s != u32::MAX && over(ended_ms) => {}
            _ => assert_eq!(kept.unwrap_or(0), life.expiry_s, "session of {client}, {token}"),
        }
        if let (Some(will), None, 1..) = (life.will, life.ended, life.expiry_s) {
            let kept = crash.wills_ever.contains(&will.message);
            assert!(kept, "will {} of {client}, {token}, is not in the store", will.message);
        }
    }

    /// What becomes of a client's wills after a crash; the store has that of `message`.
    fn decide(
        &mut self,
        client: usize,
        crash: &Crash<'_>,
        left: Left,
        message: Option<u32>,
        due_ms: u64,
    ) {
        for token in self.order.clone() {
            let life = &self.lives[&token];
            let Some(will) = life.will.filter(|_| life.client == client) else {
                continue;
            };
            let ends_ms = match left.expiry_s {
                u32::MAX => u64::MAX,
                expiry_s => left.left_ms + u64::from(expiry_s) * 1000,
            };
            let due_ms = due_ms.min(ends_ms);
            let revived = message == Some(will.message);
            assert!(!revived || !life.closed, "will {} of {token} was waived", will.message);
            let sealed = if revived {
                (left.expiry_s == 0 || due_ms <= crash.born_ms).then_some(Verdict::Once)
            } else if let Some(sealed) = life.sealed {
                Some(sealed)
            } else if !crash.wills_ever.contains(&will.message) {
                Some(Verdict::AtMostOnce)
            } else {
                let at = self.order.iter().position(|other| *other == token).unwrap_or_default();
                Some(self.verdict(at, life, will, crash.died_ms))
            };
            let Some(life) = self.lives.get_mut(&token) else { continue };
            life.sealed = sealed;
            if revived {
                life.due_ms = Some(due_ms);
                life.ended = Some((crash.died_ms, Cause::Broken));
                // Only who comes from now on can be in time.
                self.order.retain(|other| *other != token);
                self.order.push(token);
            }
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

    /// Whether the broker forgot in a crash what it had done with a will.
    pub(crate) fn is_revived(&self, token: u32) -> bool {
        self.lives[&token].due_ms.is_some()
    }

    fn verdict(&self, at: usize, life: &Life, will: Will, now_ms: u64) -> Verdict {
        if let Some(sealed) = life.sealed {
            return sealed;
        }
        let Some((ended_ms, cause)) = life.ended else {
            return Verdict::Never;
        };
        if let Some(due_ms) = life.due_ms {
            return self.verdict_by(at, life, due_ms, now_ms);
        }
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
        self.verdict_by(at, life, ended_ms + wait_s * 1000, now_ms)
    }

    /// What becomes of a will that is due at a time, should nobody come back before.
    fn verdict_by(&self, at: usize, life: &Life, due_ms: u64, now_ms: u64) -> Verdict {
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
