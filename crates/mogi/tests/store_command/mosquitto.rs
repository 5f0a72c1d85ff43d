//! To Mosquitto, and from there.

use crate::support::{Broker, Client, Dial, V5, V311, eventually};
use crate::tool::{broker, data, export, fill, store, text};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const FIXTURE: &str = "../mogi-store/tests/fixtures/2.1.2/states.db";

#[test]
fn a_store_comes_back_from_mosquittos_file() {
    let mut first = broker();
    fill(&first);
    first.stop();
    let db = exported(&first);
    let output = store(&data(&first), &["export", "--mosquitto-db", db.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2), "it is there already");
    assert!(text(&output.stderr).contains("is there already"), "{output:?}");

    let dir = first.dir().join("second");
    fs::create_dir_all(&dir).expect("a folder");
    fs::copy(&db, dir.join("mosquitto.db")).expect("a copy");
    let dir = dir.to_str().expect("UTF-8").to_owned();
    // The file is for its owner alone.
    let mut second = Broker::setup().conf("user root\n").args(&["--data-dir", &dir]).start();
    second.expect_log("Imported 2 sessions with 2 subscriptions, 7 messages for them");
    second.stop();
    let (before, after) = (export(&data(&first)), export(Path::new(&dir)));
    assert_eq!(before.len(), after.len());
    let by_bob = |line: &&String| line.contains(r#""client":"bob","username":"robert""#);
    assert_eq!(before.iter().filter(by_bob).count(), 2, "{before:?}");
    for (before, after) in before.iter().zip(&after) {
        let (before, before_ms) = timeless(before);
        let (after, after_ms) = timeless(after);
        assert_eq!(before, after);
        // Mosquitto keeps seconds.
        assert_eq!(before_ms.div_ceil(1000) * 1000, after_ms);
    }
}

#[test]
fn mosquitto_goes_on_with_what_was_exported() {
    let Some(program) = program() else { return };
    let mut broker = broker();
    fill(&broker);
    broker.stop();
    exported(&broker);
    let mosquitto = Mosquitto::start(&program, broker.dir());
    let mut carol = mosquitto.dial(&Dial::persistent(V311, "carol"));
    carol.expect_connected();
    carol.expect_message("c", "for carol");
    let mut alice = mosquitto.dial(&Dial::persistent(V5, "alice").username("al"));
    alice.expect_connected();
    let mut got = Vec::new();
    while got.len() < 5 {
        let frame = alice.recv();
        if frame.kind() == crate::support::PacketKind::Publish {
            let message = crate::support::Message::of(&frame);
            got.push(message.text());
            alice.complete(&message);
        }
    }
    // The third was released: she has it already.
    let expected = ["message 1", "message 2", "message 4", "message 5", &"x".repeat(1000)];
    assert_eq!(got, expected);
    let mut eve = mosquitto.dial(&Dial::new(V311, "eve"));
    eve.expect_connected();
    eve.subscribe("kept", 0);
    assert!(eve.expect_message("kept", [0xFF, 0x00]).retain);
}

#[test]
fn mosquittos_file_is_imported_once_and_left_as_it_is() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURE);
    let bytes = fs::read(fixture).expect("the fixture");
    let mut broker = Broker::start("persistence true\npersistence_location {dir}/kept/\n");
    // A broker on another folder, which has Mosquitto's file from the start.
    let dir = broker.dir().join("moved");
    broker.stop();
    fs::create_dir(&dir).expect("a folder");
    let db = dir.join("mosquitto.db");
    fs::write(&db, &bytes).expect("it is written");
    let conf = format!("persistence true\npersistence_location {}/\n", dir.display());
    let mut moved = Broker::start(&conf);
    moved.expect_log("Imported 1 sessions with 1 subscriptions");
    let mut client = moved.connect(&Dial::persistent(V311, "half-way"));
    client.expect_publish();
    drop(client);
    moved.stop();
    assert!(fs::read(&db).expect("it is there") == bytes, "the file was changed");
    moved.restart();
    moved.expect_log("Restored 1 sessions with 1 subscriptions");
    assert_eq!(moved.log().matches("Imported").count(), 1, "{}", moved.log());
}

/// A line without the time it has, and that time.
fn timeless(line: &str) -> (String, u64) {
    let Some((before, rest)) = line.split_once(r#","expires_at_ms":"#) else {
        return (line.to_owned(), 0);
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    (before.to_owned() + &rest[end..], rest[..end].parse().expect("a time"))
}

/// The store of a stopped broker as a `mosquitto.db` in its folder.
fn exported(broker: &Broker) -> PathBuf {
    let db = broker.dir().join("mosquitto.db");
    let path = db.to_str().expect("UTF-8");
    let output = store(&data(broker), &["export", "--mosquitto-db", path]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("Wrote 2 sessions with 2 subscriptions, 7 messages"), "{said}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&db.metadata().expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    db
}

fn program() -> Option<PathBuf> {
    if let Some(list) = std::env::var_os("MOGI_TEST_MOSQUITTO") {
        return std::env::split_paths(&list).next();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join("mosquitto")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("no mosquitto is installed: nothing to compare with");
    }
    found
}

struct Mosquitto {
    child: Child,
    port: u16,
}

impl Mosquitto {
    /// On a folder with a `mosquitto.db`.
    fn start(program: &Path, dir: &Path) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port();
        let conf = dir.join("stock.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {}/\nuser root\n",
            dir.display()
        );
        fs::write(&conf, text).expect("it is written");
        let mut command = Command::new(program);
        command.arg("-c").arg(conf).stdout(Stdio::null()).stderr(Stdio::null());
        let mosquitto = Self { child: command.spawn().expect("mosquitto runs"), port };
        let address = mosquitto.address();
        eventually("mosquitto listens", || std::net::TcpStream::connect(address).is_ok());
        mosquitto
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn dial(&self, dial: &Dial) -> Client {
        let mut client = Client::open(self.address(), dial.version);
        client.send(&dial.bytes());
        client
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
