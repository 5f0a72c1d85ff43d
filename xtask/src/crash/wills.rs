//! Wills: one for each connection of a client that has one.

use super::ledger::Ledger;

/// How far the broker's idea of the time may be from ours: it did not see when it was killed, or
/// could not write down when its client was lost.
const SLACK_MS: u64 = 8_000;

/// The will of one connection.
pub(super) struct Will {
    client: String,
    pub(super) qos: u8,
    delay_ms: u64,
    /// CONNACK came, so the broker has it.
    accepted: bool,
    end: End,
    /// When the client's next CONNECT was sent.
    next_ms: Option<u64>,
    /// A broker may yet find a CONNECT that was given up, and take it for the next one.
    haunted: bool,
    came: Vec<u64>,
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It lasts.
    None,
    Lost(u64),
    /// DISCONNECT was sent, and nobody knows whether it arrived.
    Unclear,
    /// A broker that says nothing by it has closed the connection because of DISCONNECT, at this
    /// tick: that is on disk when something later is.
    Closed(u64),
    /// The broker has closed it and lives on: the will is never published.
    Clean,
}

impl Ledger {
    /// A client connects with a will; its number is the payload.
    pub(super) fn will(&mut self, client: &str, qos: u8, delay_ms: u64, haunted: bool) -> usize {
        let now_ms = self.now_ms;
        let before = self.wills.iter_mut().rev().find(|will| will.client == client);
        if let Some(before) = before {
            before.next_ms = Some(now_ms);
        }
        self.wills.push(Will {
            client: client.to_owned(),
            qos,
            delay_ms,
            accepted: false,
            end: End::None,
            next_ms: None,
            haunted,
            came: Vec::new(),
            told: false,
        });
        self.wills.len() - 1
    }

    pub(super) fn will_accepted(&mut self, will: usize) {
        self.wills[will].accepted = true;
    }

    /// The connection ended without DISCONNECT.
    pub(super) fn will_lost(&mut self, will: usize) {
        let now_ms = self.now_ms;
        self.wills[will].end = End::Lost(now_ms);
    }

    /// DISCONNECT was sent; `seen`: and the broker closed the connection.
    pub(super) fn will_waived(&mut self, will: usize, seen: bool) {
        let tick = self.next_tick();
        self.wills[will].end = match seen {
            false => End::Unclear,
            true if self.silent => End::Closed(tick),
            true => End::Clean,
        };
    }

    /// The broker ends, and what was sent until `durable` is on its disk.
    pub(super) fn settle_wills(&mut self, durable: u64) {
        for will in &mut self.wills {
            if let End::Closed(tick) = will.end {
                will.end = if tick < durable { End::Clean } else { End::Unclear };
            }
        }
    }

    /// It was published, and came as that packet from the broker at that port.
    pub(super) fn will_came(&mut self, number: usize, (port, id): (u16, u16)) {
        let now_ms = self.now_ms;
        self.note(format!("will no. {number} came from {port} with id {id}"));
        let Some(will) = self.wills.get_mut(number) else {
            self.tally.odd += 1;
            return;
        };
        will.came.push(now_ms);
        if will.came.len() > 1 && will.qos == 2 {
            self.tally.wills_repeated += 1;
            self.case("will twice", |this| this.history_of_will(number));
        }
        if matches!(self.wills[number].end, End::Clean | End::Closed(_)) {
            self.tally.wills_wrong += 1;
            self.case("will after DISCONNECT", |this| this.history_of_will(number));
        }
    }

    /// Whether wills are still to come.
    pub(super) fn wills_due(&self) -> bool {
        let mut due = self.wills.iter().filter(|will| !will.told && will.is_missing());
        due.next().is_some()
    }

    /// The time of all delays has passed.
    pub(super) fn reckon_wills(&mut self) {
        for number in 0..self.wills.len() {
            let will = &mut self.wills[number];
            if will.is_missing() && !std::mem::replace(&mut will.told, true) {
                self.tally.wills_missing += 1;
                self.case("will missing", |this| this.history_of_will(number));
            }
        }
    }

    fn history_of_will(&self, number: usize) -> String {
        let Will { client, qos, delay_ms, accepted, end, next_ms, came, .. } = &self.wills[number];
        let mut text = format!(
            "  will no. {number} of {client}, qos {qos}, delay {delay_ms} ms, accepted \
             {accepted}, end {end:?}, next CONNECT {next_ms:?}, came at {came:?}\n"
        );
        let about = |name: &str| name == "broker" || name == client;
        let since_ms = match end {
            End::Lost(lost_ms) => lost_ms.saturating_sub(300),
            _ => self.now_ms.saturating_sub(3_000),
        };
        let near = self.chronicle.iter().filter(|(at_ms, what)| {
            *at_ms >= since_ms && about(what.split(' ').next().unwrap_or(""))
        });
        for (at_ms, what) in near.take(12) {
            text.push_str(&format!("  {at_ms} ms: {what}\n"));
        }
        text
    }
}

impl Will {
    /// Whether it has to be published and was not. A client that comes back in time takes a
    /// delayed one away.
    fn is_missing(&self) -> bool {
        let End::Lost(lost_ms) = self.end else {
            return false;
        };
        let back = |next_ms| next_ms <= lost_ms + self.delay_ms + SLACK_MS;
        let maybe_back = self.delay_ms > 0 && (self.haunted || self.next_ms.is_some_and(back));
        self.accepted && !maybe_back && self.came.is_empty()
    }
}
