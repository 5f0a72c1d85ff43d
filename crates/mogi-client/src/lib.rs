//! An MQTT client without sockets, and a small blocking driver for it
