//! The `mogi` binary: the broker, or one of the tools, by its name or first argument.

mod broker;
mod net;

use broker::plan::{ListenerPlan, Plan, Settings};
use mogi_core::{CoreConfig, ListenerConfig, LogKind};

struct Stderr;
impl net::shared::LogSink for Stderr {
    fn log(&self, _kind: LogKind, line: &str) {
        eprintln!("{line}");
    }
    fn take_topic_lines(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn reopen(&self) {}
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let port: u16 = args.get(1).and_then(|p| p.parse().ok()).unwrap_or(1883);
    let workers: u16 = args.get(2).and_then(|p| p.parse().ok()).unwrap_or(2);
    let verbose = args.get(3).is_some();
    let plan = Plan {
        listeners: vec![ListenerPlan {
            port,
            addresses: vec![([127, 0, 0, 1], port).into()],
            interface: None,
            max_connections: None,
            core: ListenerConfig::default(),
        }],
        settings: Settings {
            core: CoreConfig {
                log_mask: if verbose { 127 } else { 15 },
                connection_messages: verbose,
                ..Default::default()
            },
            workers,
            seed: 42,
            max_connections: None,
            connect_timeout_ms: 30_000,
            sys_interval_s: 10,
            retain_expiry_interval_s: None,
            version: "mogi version 0.1.0".into(),
        },
        log: Box::new(Stderr),
        signals: None,
        announce: Box::new(|| eprintln!("running")),
    };
    if let Err(error) = broker::run(plan) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
