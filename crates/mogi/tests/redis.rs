//! What a broker with `persistence_store redis://…` keeps over crashes: the scenarios of
//! `durability.rs`, but for those about disks, with the state in Redis; and what it
//! does when Redis or a node of a cluster fails. They need `redis-server`.

mod support;

mod redis {
    #[path = "../durability/acks.rs"]
    mod acks;
    mod cluster;
    #[path = "../durability/deliveries.rs"]
    mod deliveries;
    mod dynsec;
    mod failover;
    #[path = "../durability/groups.rs"]
    mod groups;
    mod options;
    mod plugin;
    #[path = "../durability/queues.rs"]
    mod queues;
    #[path = "../durability/retained.rs"]
    mod retained;
    mod scene;
    mod server;
    mod states;
    #[path = "../durability/times.rs"]
    mod times;
    #[path = "../durability/wills.rs"]
    mod wills;
}
