//! The keep alive of a bridge's connection to the other broker (section 3.1.2.10).

/// When to ping, and when the other broker is given up.
#[derive(Debug, Default)]
pub(crate) struct KeepAlive {
    /// 0: never.
    interval_ms: u64,
    sent_ms: u64,
    heard_ms: u64,
    pinged_ms: Option<u64>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl KeepAlive {
    pub(crate) const fn new(interval_s: u16, now_ms: u64) -> Self {
        let interval_ms = interval_s as u64 * 1000;
        Self { interval_ms, sent_ms: now_ms, heard_ms: now_ms, pinged_ms: None }
    }

    /// The other broker wants another interval, in seconds ([MQTT-3.2.2-21]).
    pub(crate) const fn set_interval(&mut self, interval_s: u16) {
        self.interval_ms = interval_s as u64 * 1000;
    }

    /// Something was sent.
    pub(crate) const fn sent(&mut self, now_ms: u64) {
        self.sent_ms = now_ms;
    }

    /// Something was received.
    pub(crate) const fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.pinged_ms = None;
    }

    /// PINGREQ was sent.
    pub(crate) const fn pinged(&mut self, now_ms: u64) {
        self.sent_ms = now_ms;
        self.pinged_ms = Some(now_ms);
    }

    /// When [`Self::due`] is to be asked.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        if self.interval_ms == 0 {
            return None;
        }
        Some(match self.pinged_ms {
            Some(pinged_ms) => pinged_ms + self.interval_ms,
            // A sender that never listens would not notice that nobody is there.
            None => self.sent_ms.min(self.heard_ms) + self.interval_ms,
        })
    }

    pub(crate) fn due(&self, now_ms: u64) -> Due {
        match self.deadline_ms() {
            Some(at_ms) if at_ms <= now_ms && self.pinged_ms.is_some() => Due::GiveUp,
            Some(at_ms) if at_ms <= now_ms => Due::Ping,
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_leads_to_a_ping_and_then_to_the_end() {
        let mut keep_alive = KeepAlive::new(5, 0);
        assert_eq!(keep_alive.due(4_999), Due::Nothing);
        keep_alive.sent(4_000);
        assert_eq!(keep_alive.due(5_000), Due::Ping);
        keep_alive.heard(4_500);
        assert_eq!(keep_alive.due(8_999), Due::Nothing);
        assert_eq!(keep_alive.due(9_000), Due::Ping);
        keep_alive.pinged(9_000);
        assert_eq!(keep_alive.due(13_999), Due::Nothing);
        assert_eq!(keep_alive.due(14_000), Due::GiveUp);
        keep_alive.heard(14_000);
        assert_eq!(keep_alive.due(14_000), Due::Ping);
        keep_alive.set_interval(0);
        assert_eq!(keep_alive.due(u64::MAX), Due::Nothing);
    }
}
