//! Packet identifiers (section 2.2.1).

/// Hands packet identifiers out, 1 to 65,535 in a circle.
#[derive(Clone, Debug, Default)]
pub(crate) struct PacketIds {
    last: u16,
}

impl PacketIds {
    /// The next identifier that is not in use; `None` when all are ([MQTT-2.2.1-3],
    /// [MQTT-2.2.1-4]).
    pub(crate) fn next(&mut self, in_use: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in 0..u16::MAX {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !in_use(self.last) {
                return Some(self.last);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_2_2_1_3_ids_are_never_0_and_never_in_use() {
        let mut ids = PacketIds::default();
        assert_eq!(ids.next(|_| false), Some(1));
        assert_eq!(ids.next(|id| id < 10), Some(10));
        ids.last = u16::MAX;
        assert_eq!(ids.next(|id| id == 1), Some(2));
        assert_eq!(ids.next(|_| true), None);
    }
}
