//! Several brokers on one Redis: what clients see who are spread over them, and go from one to
//! another. They need `redis-server`.

mod support;

mod cluster {
    mod bridges;
    mod death;
    mod drain;
    mod dynsec;
    mod links;
    mod masters;
    mod messages;
    mod order;
    mod retained;
    mod scene;
    mod secured;
    #[path = "../redis/server.rs"]
    mod server;
    mod sessions;
    mod stopped;
    mod takeover;
    mod wills;
}
