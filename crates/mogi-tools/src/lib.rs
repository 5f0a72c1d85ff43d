//! The command-line tools: pub, sub, rr and bench

pub mod bench;

pub use bench::bench_main;
