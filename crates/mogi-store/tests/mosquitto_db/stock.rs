//! What is written here, Mosquitto loads: its clients get what was queued and retained, and it
//! writes what is left.
//!
//! Runs with each program in `MOGI_TEST_MOSQUITTO` (separated by `:`), or else with the
//! `mosquitto` that is installed, beside which `mosquitto_sub` and `mosquitto_pub` have to be.
//! Without one there is nothing to compare with, and the tests say so and end.

use crate::expected::{Q0, Q1, Q2, client, message, queued, subscription};
use mogi_codec::PropertyId;
use mogi_store::mosquitto_db::{Client, ClientMessage, Db, Direction, Message, State, read, write};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A Mosquitto that runs on a file.
struct Mosquitto {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Mosquitto {
    fn start(program: &Path, db: &Db) -> Self {
        let port = free_port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mosquitto-{port}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mosquitto.db"), write(db).unwrap()).unwrap();
        let config = format!(
            "user root\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             listener {port} 127.0.0.1\n",
            folder.display()
        );
        fs::write(folder.join("mosquitto.conf"), config).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.join("mosquitto.conf")).stderr(log);
        let mut process = command.stdout(Stdio::null()).spawn().unwrap();
        let patience = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait().unwrap();
            let log = || fs::read_to_string(folder.join("log")).unwrap();
            assert!(ended.is_none(), "it does not start: {}", log());
            assert!(Instant::now() < patience, "it does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, folder, port }
    }

    /// Runs one of its tools and returns the lines it prints.
    fn tool(&self, name: &str, args: &[&str]) -> Vec<String> {
        let mut command = Command::new(name);
        command.args(["-p", &self.port.to_string()]).args(args);
        let output = command.output().unwrap_or_else(|error| panic!("{name}: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    /// What a client gets, `count` messages: each as `format` says, and sorted, because one with
    /// QoS 2 is printed when its PUBREL comes.
    fn receive(&self, args: &[&str], count: usize, format: &str) -> Vec<String> {
        let count = count.to_string();
        let args = [args, &["-C", &count, "-W", "30", "-F", format]].concat();
        let mut lines = self.tool("mosquitto_sub", &args);
        lines.sort();
        lines
    }

    /// Stops it, and reads what it has written.
    fn stop(mut self) -> Db {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.process.wait().unwrap().success());
        let db = read(&fs::read(self.folder.join("mosquitto.db")).unwrap()).unwrap();
        fs::remove_dir_all(&self.folder).unwrap();
        db
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // After a failed assertion it is still there.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Below the range from which connections get their ports.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() as u16 % 8000;
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 22_000 + (start + offset) % 8000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn programs() -> Vec<PathBuf> {
    if let Some(list) = std::env::var_os("MOGI_TEST_MOSQUITTO") {
        return std::env::split_paths(&list).collect();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join("mosquitto")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("no mosquitto is installed: nothing to compare with");
    }
    found.into_iter().collect()
}

fn retained(message: Message) -> Message {
    Message { retain: true, ..message }
}

#[test]
fn a_v3_session_gets_what_was_queued_and_what_is_retained() {
    let deliveries = vec![queued(1, 1, Q1, &[]), queued(2, 2, Q2, &[]), queued(3, 0, Q0, &[])];
    let db = Db {
        messages: vec![
            message(1, Q1, 9, "queued/1", "first"),
            message(2, Q2, 9, "queued/2", ""),
            message(3, Q0, 0, "queued/3", "at most once"),
            retained(message(4, Q1, 9, "kept/long", &"k".repeat(70_000))),
            retained(message(5, Q0, 0, "kept/short", "k")),
        ],
        clients: vec![client("anna", deliveries)],
        subscriptions: vec![subscription("anna", "queued/+", Q2)],
        retained: vec![4, 5],
        ..Db::default()
    };
    for program in programs() {
        let broker = Mosquitto::start(&program, &db);
        let lines =
            broker.receive(&["-i", "anna", "-c", "-q", "2", "-t", "queued/+"], 3, "%t %q %l");
        assert_eq!(lines, ["queued/1 1 5", "queued/2 2 0", "queued/3 0 12"]);
        let lines = broker.receive(&["-t", "kept/#", "-q", "1"], 2, "%t %q %r %l");
        assert_eq!(lines, ["kept/long 1 1 70000", "kept/short 0 1 1"]);
        let left = broker.stop();
        assert_eq!(left.clients.len(), 1);
        assert_eq!(left.clients[0].messages, []);
        assert_eq!(left.subscriptions, db.subscriptions);
        assert_eq!(left.retained.len(), 2);
    }
}

#[test]
fn a_v5_session_gets_properties_identifiers_and_flags() {
    let mut sent = retained(message(1, Q2, 9, "a/b", "five"));
    // Ports without a listener are forgotten.
    sent.source_port = 0;
    sent.properties.int(PropertyId::PayloadFormatIndicator, 1);
    sent.properties.str(PropertyId::ContentType, "text/plain").str(PropertyId::ResponseTopic, "r");
    sent.properties.user("b", "2").user("a", "1");
    sent.expires_s = unix_time_s() + 1_000_000;
    let gone = Message { expires_s: 1000, ..message(2, Q1, 9, "a/c", "expired") };
    let first = ClientMessage { retain: true, ..queued(1, 1, Q2, &[261]) };
    let five = Client {
        username: "felicity".to_owned(),
        session_expires_s: unix_time_s() + 100_000,
        session_expiry_interval_s: 100_000,
        ..client("five", vec![first, queued(2, 2, Q1, &[])])
    };
    let mut filter = subscription("five", "a/#", Q2);
    filter.identifier = 261;
    filter.options.no_local = true;
    filter.options.retain_as_published = true;
    let db = Db {
        messages: vec![sent.clone(), gone],
        clients: vec![five],
        subscriptions: vec![filter],
        ..Db::default()
    };
    for program in programs() {
        let broker = Mosquitto::start(&program, &db);
        let left = broker.stop();
        assert_eq!(left.messages, std::slice::from_ref(&sent), "the expired one is gone");
        assert_eq!(left.clients[0].username, "felicity");
        assert_eq!(left.clients[0].session_expires_s, db.clients[0].session_expires_s);
        assert_eq!(left.clients[0].messages, db.clients[0].messages[..1]);
        assert_eq!(left.subscriptions, db.subscriptions);

        let broker = Mosquitto::start(&program, &db);
        let format = "%t|%p|%q|%r|%C|%R|%F|%P|%S";
        let client = ["-V", "5", "-i", "five", "-c", "-q", "2", "-t", "other"];
        let lines = broker.receive(&client, 1, format);
        assert_eq!(lines, ["a/b|five|2|1|text/plain|r|1|b:2 a:1|261"]);
        broker.stop();
    }
}

#[test]
fn deliveries_go_on_where_they_were() {
    let sent =
        |id: u16, qos, state| ClientMessage { state, dup: true, ..queued(id.into(), id, qos, &[]) };
    let coming = ClientMessage {
        state: State::WaitForPubrel,
        direction: Direction::In,
        ..queued(4, 77, Q2, &[])
    };
    let deliveries = vec![
        coming,
        sent(1, Q1, State::WaitForPuback),
        sent(2, Q2, State::WaitForPubrec),
        sent(3, Q2, State::WaitForPubcomp),
        queued(5, 5, Q1, &[]),
    ];
    let messages = (1..=5).map(|id| message(id, Q2, 9, &format!("m/{id}"), "half-way"));
    let db = Db {
        messages: messages.collect(),
        clients: vec![client("half-way", deliveries)],
        ..Db::default()
    };
    for program in programs() {
        let broker = Mosquitto::start(&program, &db);
        let left = broker.stop();
        assert_eq!(left.clients[0].messages, db.clients[0].messages);
        assert_eq!(left.clients[0].last_mid, db.clients[0].last_mid);

        // The third was received before, and the client has only its PUBREL to answer.
        let broker = Mosquitto::start(&program, &db);
        let lines = broker.receive(&["-i", "half-way", "-c", "-t", "other"], 3, "%t %q");
        assert_eq!(lines, ["m/1 1", "m/2 2", "m/5 1"]);
        broker.stop();
    }
}

#[test]
fn shared_subscriptions_are_loaded_although_they_are_never_saved() {
    let db = Db {
        clients: vec![client("anna", vec![]), client("bert", vec![])],
        subscriptions: vec![
            subscription("anna", "$share/g/s/#", Q1),
            subscription("bert", "$share/g/s/#", Q1),
        ],
        ..Db::default()
    };
    for program in programs() {
        let broker = Mosquitto::start(&program, &db);
        broker.tool("mosquitto_pub", &["-t", "s/1", "-q", "1", "-m", "one"]);
        broker.tool("mosquitto_pub", &["-t", "s/2", "-q", "1", "-m", "two"]);
        let left = broker.stop();
        let counts: Vec<usize> = left.clients.iter().map(|it| it.messages.len()).collect();
        assert_eq!(counts, [1, 1]);
        assert_eq!(left.subscriptions, []);
    }
}

#[test]
fn the_files_in_the_fixtures_are_taken_over_and_back() {
    for (by, name, bytes) in crate::fixtures::all() {
        // The bridge would be started, and sessions of 2.0's that say "0 seconds" end in 2.1.
        if name == "bridge" || name == "online" {
            continue;
        }
        let db = read(&bytes).unwrap();
        for program in programs() {
            let left = Mosquitto::start(&program, &db).stop();
            let ids = |db: &Db| {
                let mut ids: Vec<u64> = db.messages.iter().map(|message| message.id).collect();
                ids.sort_unstable();
                ids
            };
            assert_eq!(ids(&left), ids(&db), "{name} of {by:?}");
            let deliveries = |db: &Db| -> Vec<_> {
                db.clients.iter().map(|it| (it.id.clone(), it.messages.clone())).collect()
            };
            assert_eq!(deliveries(&left), deliveries(&db), "{name} of {by:?}");
            assert_eq!(left.subscriptions.len(), db.subscriptions.len());
            assert_eq!(left.retained.len(), db.retained.len());
        }
    }
}

fn unix_time_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs().try_into().unwrap()
}
