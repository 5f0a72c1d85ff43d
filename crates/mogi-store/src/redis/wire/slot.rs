//! Which of the 16384 hash slots of a Redis Cluster a key belongs to.

/// How many slots a cluster has.
pub const SLOTS: u16 = 16384;

/// The slot of `key`: CRC16 of the part between the first `{` and the next `}`, if there is
/// something between them, else of the whole key (Redis Cluster specification, "Hash tags").
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let inner = &key[open + 1..];
    match inner.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &inner[..close],
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, start 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0_u16; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
        // What CLUSTER KEYSLOT says.
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"bar"), 5061);
        assert_eq!(slot_of(b"somekey"), 11058);
    }

    #[test]
    fn only_the_first_tag_that_holds_something_counts() {
        assert_eq!(slot_of(b"{foo}"), slot_of(b"foo"));
        assert_eq!(slot_of(b"queue:{foo}:7"), slot_of(b"foo"));
        assert_eq!(slot_of(b"{foo}{bar}"), slot_of(b"foo"));
        assert_eq!(slot_of(b"a{{b}}c"), slot_of(b"{b"));
        assert_ne!(slot_of(b"a{}{foo}"), slot_of(b"foo"));
        assert_eq!(slot_of(b"a{foo"), crc16(b"a{foo") % SLOTS);
    }
}
