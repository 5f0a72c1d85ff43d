//! The suite of all stores, and what a person sees.

use super::RedisStore;
use super::testing::Server;
use crate::conformance::{self, Open};

#[test]
fn it_conforms_on_one_server() {
    let server = Server::start(&[]);
    conformance::run(&mut |open| {
        if open == Open::Empty {
            server.cli(&["FLUSHALL"]);
        }
        Box::new(RedisStore::open(&server.options()).expect("it opens"))
    });
}
