//! Mosquitto's persistence file.
//!
//! * [`expected`]: what is in the files under `tests/fixtures`, which Mosquitto wrote.
//! * [`fixtures`]: they are read as that, and written again as Mosquitto had them.
//! * [`roundtrip`]: any content, written and read again.
//! * [`damage`]: files with something wrong, and any bytes at all.
//! * [`unwritable`]: what the format cannot say.
//! * [`stock`]: what is written here, Mosquitto loads, and its clients get.

#![allow(clippy::unwrap_used)]

mod damage;
mod expected;
mod fixtures;
mod roundtrip;
mod stock;
mod unwritable;
