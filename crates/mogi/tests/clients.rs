//! Other people's clients through the broker, over every transport they have: paho-mqtt, MQTT.js
//! in Node and in a page of Chromium, Debian's mosquitto_* tools.
//!
//! `cargo xtask test clients` installs them and runs this. It is no libtest program: every line
//! `ok N - name` of a script in `tests/clients` is a test, and they are what is counted.

mod support;

use mogi_auth::scram::{SALT_BYTES, Verifier};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitCode, Stdio};
use support::Broker;
use support::pki::Pki;

/// How long one script may take, in seconds; each case in it has a limit of its own.
const SCRIPT_LIMIT_S: &str = "300";

/// A listener's TLS.
const TLS: &str = "certfile {dir}/server.pem\nkeyfile {dir}/server.key\n";

/// Where the scripts are, and the page that listeners with WebSocket serve.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients");

/// A listener that serves pages. The folder may be readable for whoever started this alone.
const PAGES: &str = "user root\nprotocol websockets\n";

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
        (&*python, "paho_client.py", &["mqtt", "mqtts", "ws", "wss"][..]),
        ("node", "mqttjs_client.mjs", &["mqtt", "mqtts", "ws", "wss"]),
        ("node", "chromium_page.mjs", &["ws", "wss"]),
        ("bash", "mosquitto_tools.sh", &["mqtt", "mqtts", "unix"]),
    ];
    let mut total = Count::default();
    for (interpreter, script, schemes) in scripts {
        for scheme in schemes {
            let name = format!("{script} {scheme}");
            if filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
                continue;
            }
            println!("# {name}");
            let count = run(interpreter, script, scheme);
            total.passed += count.passed;
            total.failed += count.failed;
        }
    }
    println!("clients: {} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one script against a broker of its own. A script that does not come to its end is one
/// more failure.
fn run(interpreter: &str, script: &str, scheme: &str) -> Count {
    let pki = Pki::new("An authority for tests");
    let server = pki.server();
    let sockets = std::env::temp_dir().join(format!("mogi-clients-{}", std::process::id()));
    std::fs::create_dir_all(&sockets).expect("cannot make a folder");
    // Started by root, the broker is somebody else by then.
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&sockets, everybody).expect("cannot change permissions");
    let socket = sockets.join("socket");
    let lines = match scheme {
        "mqtts" => TLS.to_owned(),
        "ws" => format!("{PAGES}http_dir {SCRIPTS}\n"),
        "wss" => format!("{PAGES}http_dir {SCRIPTS}\n{TLS}"),
        "unix" => format!("listener 0 {}\n", socket.display()),
        _ => String::new(),
    };
    let scram = Verifier::new(b"a secret", &[7; SALT_BYTES], 4096);
    let broker = Broker::setup()
        .conf(&format!("scram_file {{dir}}/scram\nlistener {{port}} 127.0.0.1\n{lines}"))
        .file("scram", &format!("ann,=:{scram}\n"))
        .file("ca.pem", &pki.authority)
        .file("server.pem", &server.certificate)
        .file("server.key", &server.key)
        .own("worker_threads 2\n")
        .start();
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", SCRIPT_LIMIT_S, interpreter, script])
        .current_dir(SCRIPTS)
        .env("MQTT_HOST", "127.0.0.1")
        .env("MQTT_SCHEME", scheme)
        .env("MQTT_CAFILE", broker.dir().join("ca.pem"))
        .env("MQTT_SOCKET", &socket)
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
    let _ = std::fs::remove_dir_all(&sockets);
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
