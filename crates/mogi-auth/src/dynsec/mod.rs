//! Dynamic security: clients, groups and roles that are changed while the broker runs.
//!
//! * [`model`]: what there is
//! * `decide`: what follows from it
//! * `concern`: whose rights differ from before
//! * `file`: the plugin's JSON file, and the one a broker begins with
//! * `request`: `$CONTROL/dynamic-security/v1`
//! * `clients`, `groups`, `roles`: the commands
//!
//! [mosquitto.conf(5), the documentation of the dynamic-security plugin, and Mosquitto 2.1.2 as it
//! was observed]

mod clients;
mod concern;
mod decide;
mod fields;
mod file;
mod groups;
pub mod model;
mod request;
mod roles;
mod start;

pub use decide::Login;
pub use file::BadFile;
pub use model::Dynsec;
pub use request::{Context, Kick, Outcome};

/// Where requests are published to.
pub const TOPIC: &str = "$CONTROL/dynamic-security/v1";
