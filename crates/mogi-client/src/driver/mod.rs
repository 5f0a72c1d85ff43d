//! A client on a socket, for programs that wait.

mod dial;
mod link;
mod secure;
mod socks;
mod wrapped;

pub use dial::{Address, DialError, DialOptions, Stream, dial};
pub use link::{Driver, DriverError};
pub use secure::{TlsOptions, client_config};
pub use socks::Proxy;
pub use wrapped::Wrapped;
