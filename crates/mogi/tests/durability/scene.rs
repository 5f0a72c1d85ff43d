//! A broker that keeps its state, and its crashes.

use crate::support::Broker;
use crate::support::broker::Setup;
pub(super) use crate::support::sessions::{TOLD, begin, crash, resume, settle, sleeper, stop};

/// A broker with state on disk and two workers, not started yet.
pub(super) fn setup(conf: &str, own: &str) -> Setup {
    // Root would give its rights up, and with them its folder.
    let conf = format!("user root\npersistence true\npersistence_location {{dir}}/data/\n{conf}");
    Broker::setup().conf(&conf).own(&format!("worker_threads 2\n{own}"))
}

/// A broker with state on disk.
#[track_caller]
pub(super) fn start(conf: &str) -> Broker {
    setup(conf, "").start()
}
