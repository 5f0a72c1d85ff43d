//! `mogi store`: on a running and on a stopped store, the way to Mosquitto and back, and to Redis
//! and back (with `redis-server`).

mod support;

#[path = "redis/server.rs"]
mod server;

#[path = "store_command/damage.rs"]
mod damage;
#[path = "store_command/migrate.rs"]
mod migrate;
#[path = "store_command/mosquitto.rs"]
mod mosquitto;
#[path = "store_command/numbers.rs"]
mod numbers;
#[path = "store_command/tool.rs"]
mod tool;
