//! When to ping, and when to give up (section 3.1.2.10).

/// Keeps a connection alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeepAlive {
    /// 0: off.
    interval_ms: u64,
    last_sent_ms: u64,
    pinged_ms: Option<u64>,
}

/// What the time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl KeepAlive {
    /// A connection that begins now.
    pub(crate) const fn new(interval_s: u16, now_ms: u64) -> Self {
        Self { interval_ms: interval_s as u64 * 1000, last_sent_ms: now_ms, pinged_ms: None }
    }

    /// The server asked for another interval ([MQTT-3.1.2-21]).
    pub(crate) const fn set_interval(&mut self, interval_s: u16) {
        self.interval_ms = interval_s as u64 * 1000;
    }

    /// A packet was sent.
    pub(crate) const fn sent(&mut self, now_ms: u64) {
        self.last_sent_ms = now_ms;
    }

    /// PINGREQ was sent.
    pub(crate) const fn pinged(&mut self, now_ms: u64) {
        self.pinged_ms = Some(now_ms);
        self.last_sent_ms = now_ms;
    }

    /// PINGRESP arrived.
    pub(crate) const fn answered(&mut self) {
        self.pinged_ms = None;
    }

    /// When [`Self::due`] will say something, if nothing happens until then. Before CONNACK
    /// that is when to give up.
    pub(crate) const fn deadline_ms(&self) -> Option<u64> {
        if self.interval_ms == 0 {
            return None;
        }
        Some(match self.pinged_ms {
            Some(pinged_ms) => pinged_ms + self.interval_ms,
            None => self.last_sent_ms + self.interval_ms,
        })
    }

    pub(crate) const fn due(&self, now_ms: u64) -> Due {
        match self.deadline_ms() {
            Some(deadline_ms) if now_ms >= deadline_ms => {
                if self.pinged_ms.is_some() {
                    Due::GiveUp
                } else {
                    Due::Ping
                }
            }
            _ => Due::Nothing,
        }
    }
}
