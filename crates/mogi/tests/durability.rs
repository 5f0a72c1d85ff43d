//! What a broker with `persistence true` keeps over crashes (SIGKILL) and stops, packet by packet.
//!
//! Each row of the table in `docs/durability.md` has a scenario here; `cargo xtask crash` tries the
//! same with many clients at random moments.

mod support;

mod durability {
    mod acks;
    mod damage;
    mod deliveries;
    mod disk;
    mod groups;
    mod places;
    mod queues;
    mod retained;
    mod scene;
    mod times;
    mod wills;
}
