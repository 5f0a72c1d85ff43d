//! What a broker with `persistence_store redis://…` keeps over crashes: the scenarios of
//! `durability.rs`, but for those about disks, with the state in Redis. They need `redis-server`.

mod support;

mod redis {
    #[path = "../durability/acks.rs"]
    mod acks;
    #[path = "../durability/deliveries.rs"]
    mod deliveries;
    #[path = "../durability/groups.rs"]
    mod groups;
    mod options;
    #[path = "../durability/queues.rs"]
    mod queues;
    #[path = "../durability/retained.rs"]
    mod retained;
    mod scene;
    mod server;
    #[path = "../durability/times.rs"]
    mod times;
    #[path = "../durability/wills.rs"]
    mod wills;
}
