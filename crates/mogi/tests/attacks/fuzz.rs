//! Bytes without sense, and packets with a few bytes changed; the seed is printed and may be
//! given in `MOGI_FUZZ_SEED`.

use super::siege::Siege;
use crate::support::{Broker, Client, Dial, Out, V5, V311, VERSIONS, Version};

/// A small generator of numbers (xorshift); good enough to be surprising.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let fixed = std::env::var("MOGI_FUZZ_SEED").ok();
        let seed = fixed.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        });
        eprintln!("MOGI_FUZZ_SEED={seed}");
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, end: usize) -> Vec<u8> {
        let len = self.below(end);
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Sends what may be anything and reads what comes back, if anything does.
fn throw(mut client: Client, bytes: &[u8], random: &mut Random) {
    client.send(bytes);
    if random.below(2) == 0 {
        client.abort();
    } else {
        client.half_close();
        read_away(client);
    }
}

/// Reads until the end without looking: the broker need not make sense of nonsense.
fn read_away(client: Client) {
    use std::io::Read;
    let mut scratch = [0; 4096];
    while client.stream().read(&mut scratch).is_ok_and(|len| len > 0) {}
}

fn connected(broker: &Broker, version: Version, random: &mut Random) -> Client {
    let id = format!("fuzz-{}", random.below(20));
    let dial = match random.below(3) {
        0 => Dial::new(version, &id),
        1 => Dial::persistent(version, &id),
        _ => Dial::new(version, &id).will("fuzz/will", "m").will_qos(1),
    };
    let mut client = broker.dial(&dial);
    let _ = client.next();
    client
}

#[test]
fn e22_random_bytes() {
    Siege::new(24).alone().run(|broker| {
        let mut random = Random::new();
        for n in 0..2000 {
            let version = VERSIONS[n % 3];
            let client = if n % 4 == 0 {
                broker.open(version)
            } else {
                connected(broker, version, &mut random)
            };
            let mut bytes = random.bytes(600);
            // Often something that looks like a packet at first.
            if let [first, length, ..] = &mut bytes[..]
                && random.below(4) > 0
            {
                let kind = [0x30, 0x32, 0x34, 0x82, 0xA2, 0x40, 0x62, 0xE0, 0xF0, 0x10];
                *first = kind[random.below(kind.len())];
                *length &= 0x7F;
            }
            throw(client, &bytes, &mut random);
        }
    });
}

/// A whole session's packets.
fn packets(version: Version) -> Vec<Vec<u8>> {
    let mut dial = Dial::new(version, "mutant").will("fuzz/w", "m").username("u");
    if version.is_v5() {
        dial = dial.user("k", "v").session_expiry(5).will_delay(1);
    }
    let mut publish = Out::new("fuzz/a", "payload").qos(2).id(3).retain();
    if version.is_v5() {
        publish = publish.user("k", "v").str(crate::support::Id::ResponseTopic, "r");
    }
    vec![
        dial.bytes(),
        super::raw::subscribe(version, 1, &[], &[(b"fuzz/+", 2), (b"$share/g/fuzz/#", 1)]),
        Out::new("fuzz/a", "payload").bytes(version),
        Out::new("fuzz/b", [b'x'; 200]).qos(1).id(2).bytes(version),
        publish.bytes(version),
        vec![0x62, 2, 0, 3],
        vec![0x40, 2, 0, 1],
        vec![0x50, 2, 0, 1],
        super::raw::unsubscribe(version, 4, &[b"fuzz/+"]),
        vec![0xC0, 0],
        vec![0xE0, 0],
    ]
}

#[test]
fn e23_good_packets_with_a_few_bytes_changed() {
    Siege::new(24).alone().run(|broker| {
        let mut random = Random::new();
        let sessions = [V311, V5].map(|version| (version, packets(version)));
        for n in 0..1500 {
            let (version, packets) = &sessions[n % 2];
            let mut bytes = packets.concat();
            // The CONNECT stays good more often than not, so that what follows is reached.
            let from = if random.below(4) > 0 { packets[0].len() } else { 0 };
            for _ in 0..1 + random.below(4) {
                let at = from + random.below(bytes.len() - from);
                bytes[at] = match random.below(3) {
                    0 => random.next() as u8,
                    1 => bytes[at] ^ 1 << random.below(8),
                    _ => [0, 0x7F, 0x80, 0xFF][random.below(4)],
                };
            }
            throw(broker.open(*version), &bytes, &mut random);
        }
    });
}
