//! Bridges (`connection` of mosquitto.conf) between real brokers: mogi and mogi, mogi and
//! Mosquitto, mogi and a server that does exactly what a scenario wants.
//!
//! Where Mosquitto is the other broker, each program in `MOGI_TEST_MOSQUITTO` (separated by `:`)
//! takes part, or else the `mosquitto` that is installed; without one these scenarios say so and
//! end.

mod support;

mod bridges {
    mod addresses;
    mod carries;
    mod crashes;
    mod exchanges;
    mod introductions;
    mod mosquitto;
    mod reload;
    mod scene;
    mod secured;
    mod starts;
    mod states;
}
