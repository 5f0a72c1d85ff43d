//! How a received message is printed: `-F` templates, and JSON.
//!
//! * `template`: the text of `-F`, taken apart.
//! * `render`: a message through a template; `field`, `hex`, `float` and `strftime` print parts.
//! * `json`: values, read leniently and written the way Mosquitto's tools write them;
//!   `record` makes one of a message.

mod field;
mod float;
#[cfg(test)]
mod golden;
mod hex;
mod json;
mod json_read;
mod record;
mod render;
mod strftime;
mod template;

pub(crate) use render::{Now, render};
pub use strftime::strftime;
pub(crate) use template::Template;
