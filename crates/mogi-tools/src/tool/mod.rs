//! The tools themselves.
//!
//! * `publish`, `lines`: `pub`, of one message and of lines; `status` shows how far it is.
//! * `subscribe`: `sub`; `printer` prints the messages.
//! * `request`: `rr`.
//! * `link`: the connection all of them have; `payload`: where messages come from.

mod lines;
mod link;
mod payload;
mod printer;
mod publish;
mod publisher;
mod request;
mod status;
mod subscribe;

pub(crate) use link::Link;
pub(crate) use publish::run as run_pub;
pub(crate) use request::run as run_rr;
pub(crate) use subscribe::run as run_sub;
