//! The normative statements of MQTT 3.1.1 and 5.0, clause by clause, over real sockets.
//!
//! A test is named after a clause it covers and lists all of them in its comment; the table in
//! `docs/conformance.md` goes the other way, from clause to test. Brokers run with two workers,
//! and most scenarios run several times under other client ids, so that the clients of a scenario
//! meet on one worker and across workers.

mod support;

mod conformance {
    mod acks;
    mod alias_expiry_size;
    mod connack;
    mod connect;
    mod connect_payload;
    mod limits;
    mod options;
    mod ping_disconnect_auth;
    mod publish;
    mod publish_properties;
    mod qos;
    mod qos_steps;
    mod retained;
    mod scene;
    mod session;
    mod shared;
    mod subscribe;
    mod takeover;
    mod topics;
    mod unsubscribe;
    mod will;
    mod wire;
}
