//! A client on a socket, for programs that wait.

mod dial;
mod link;

pub use dial::{Address, DialError, DialOptions, Stream, dial};
pub use link::{Driver, DriverError};
