//! The command-line tools: pub, sub, rr and bench
