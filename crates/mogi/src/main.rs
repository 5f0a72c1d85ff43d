//! The `mogi` binary: the broker, or one of the tools, by its name or first argument.
fn main() {}
