//! `mogi store`: on a running and on a stopped store, and the way to Mosquitto and back.

mod support;

#[path = "store_command/damage.rs"]
mod damage;
#[path = "store_command/mosquitto.rs"]
mod mosquitto;
#[path = "store_command/numbers.rs"]
mod numbers;
#[path = "store_command/tool.rs"]
mod tool;
