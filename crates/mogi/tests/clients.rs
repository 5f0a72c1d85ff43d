//! Other people's clients through the broker: paho-mqtt, MQTT.js, Debian's mosquitto_* tools.
//!
//! `cargo xtask test clients` installs them and runs this. It is no libtest program: every line
//! `ok N - name` of a script in `tests/clients` is a test, and they are what is counted.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use support::Broker;

/// How long one script may take, in seconds; each case in it has a limit of its own.
const SCRIPT_LIMIT_S: &str = "300";

/// What came of the cases of one script.
#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
    /// From the line `1..N` at the end.
    planned: Option<u32>,
}

fn main() -> ExitCode {
    // A filter, as `cargo test -- NAME` hands it over.
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let python = std::env::var("MOGI_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let scripts = [
        (&*python, "paho_client.py"),
        ("node", "mqttjs_client.mjs"),
        ("bash", "mosquitto_tools.sh"),
    ];
    let mut total = Count::default();
    for (interpreter, script) in scripts {
        if filter.as_ref().is_some_and(|filter| !script.contains(filter.as_str())) {
            continue;
        }
        let count = run(interpreter, script);
        total.passed += count.passed;
        total.failed += count.failed;
    }
    println!("clients: {} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one script against a broker of its own. A script that does not come to its end is one
/// more failure.
fn run(interpreter: &str, script: &str) -> Count {
    let broker = Broker::setup().conf("").own("worker_threads 2\n").start();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients");
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", SCRIPT_LIMIT_S, interpreter, script])
        .current_dir(dir)
        .env("MQTT_HOST", "127.0.0.1")
        .env("MQTT_PORT", broker.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot run a script");
    let mut count = Count::default();
    let output = child.stdout.take().expect("it is piped");
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        println!("{line}");
        count.add(&line);
    }
    let status = child.wait().expect("cannot wait for a script");
    let complete = count.planned == Some(count.passed + count.failed);
    if !complete || status.success() != (count.failed == 0) {
        println!("not ok - {script} did not come to its end: {status}");
        count.failed += 1;
    }
    if count.failed > 0 {
        let log = broker.log();
        let last = log.lines().rev().take(40).collect::<Vec<_>>();
        println!("--- the end of the broker's log, backwards:\n{}", last.join("\n"));
    }
    count
}

impl Count {
    fn add(&mut self, line: &str) {
        if line.starts_with("ok ") {
            self.passed += 1;
        } else if line.starts_with("not ok ") {
            self.failed += 1;
        } else if let Some(planned) = line.strip_prefix("1..") {
            self.planned = planned.parse().ok();
        }
    }
}
