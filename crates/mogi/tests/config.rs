//! Configurations and command lines: what is accepted, what is said about the rest, and how the
//! process starts and ends. `config/stock.txt` holds Mosquitto's own words.
//!
//! As with the scenarios, `MOGI_TEST_BROKER=/path/to/mosquitto` checks the tests themselves
//! against Mosquitto.

#[path = "config/command_line.rs"]
mod command_line;
#[path = "config/deploy.rs"]
mod deploy;
#[path = "config/process.rs"]
mod process;
#[path = "config/program.rs"]
mod program;
#[path = "config/stock.rs"]
mod stock;
