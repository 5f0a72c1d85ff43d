//! What the codec owes to the specification.
//!
//! * [`fixtures`]: packets as they stand on the wire, good and bad, by clause.
//! * [`golden`]: those bytes decode to what they say, and what is good encodes to the same bytes.
//! * [`arbitrary`]: any packet, for [`roundtrip`].
//! * [`robustness`]: any bytes.
//! * [`properties`], [`reasons`], [`topics`], [`strings`]: the rules, each beside a table of its
//!   own that was written from the specification and not from the code.

mod arbitrary;
mod describe;
mod fixtures;
mod golden;
mod properties;
mod reasons;
mod robustness;
mod roundtrip;
mod strings;
mod topics;
