//! A client on a socket, for programs that wait.

mod dial;
mod key_file;
mod link;
#[cfg(feature = "openssl")]
mod psk;
mod secure;
mod socks;
mod wrapped;

pub use dial::{Address, DialError, DialOptions, Stream, dial};
pub use key_file::KeyFile;
pub use link::{Driver, DriverError};
#[cfg(feature = "openssl")]
pub use psk::PskSession;
pub use secure::{Psk, TlsOptions, client_config};
pub use socks::Proxy;
pub use wrapped::Wrapped;
