//! From the disk to Redis, from there to another place in Redis, and back.

use crate::server;
use crate::support::{Broker, Dial, Out, V5};
use crate::tool::{broker, command, data, export, fill, lines, text, tool};
use std::fs::read_to_string;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A Redis of this test's own: the server is shared, the prefix is not.
struct Redis {
    url: String,
    prefix: String,
}

impl Redis {
    fn new(prefix: &str) -> Self {
        let url = format!("redis://127.0.0.1:{}", server::port());
        Self { url, prefix: prefix.to_owned() }
    }

    fn tool(&self, verb: &str) -> Output {
        tool(&[verb, &self.url, "--redis-prefix", &self.prefix])
    }

    fn own(&self) -> String {
        format!("persistence_store {}\nredis_prefix {}\n", self.url, self.prefix)
    }

    fn cli(&self, words: &[&str]) -> String {
        let port = server::port().to_string();
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-p", &port]).args(words).output().expect("redis-cli");
        text(&output.stdout)
    }
}

fn path(dir: &Path) -> &str {
    dir.to_str().expect("a path")
}

fn refused(output: &Output, why: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(why), "{said}");
}

#[test]
fn everything_gets_to_redis_and_back() {
    let mut broker = broker();
    fill(&broker);
    let _dave = broker.connect(&Dial::persistent(V5, "dave").will("gone", "dave"));
    broker.kill();
    let dir = data(&broker);
    let all = export(&dir);
    let (first, second) = (Redis::new("m1:"), Redis::new("m2:"));
    let output = tool(&["migrate", path(&dir), &first.url, "--redis-prefix", "m1:"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("Migrated 3 sessions with 2 subscriptions, 7 messages"), "{said}");
    assert!(said.contains("2 retained messages and 1 wills"), "{said}");
    assert_eq!(lines(&first.tool("export")), all);
    assert_eq!(export(&dir), all, "where it came from it stays");
    let sides = ["--from-redis-prefix", "m1:", "--to-redis-prefix", "m2:"];
    let output = tool(&[&["migrate", &first.url, &second.url][..], &sides].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let back = broker.dir().join("back");
    let output = tool(&["migrate", &second.url, path(&back), "--redis-prefix", "m2:"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(export(&back), all);
    let verified = second.tool("verify");
    assert!(text(&verified.stdout).contains("is healthy: 3 sessions, 7 messages"), "{verified:?}");
    let inspected = text(&second.tool("inspect").stdout);
    assert!(inspected.contains("(prefix m2:)") && inspected.contains("In use          no"));
    assert_eq!(second.cli(&["EXISTS", "m2:migrating", "m2:marks:{mogi.store}"]).trim(), "0");
    // A broker goes on with it.
    let own = format!("{}cluster_node_id one\n", second.own());
    let served = Broker::setup().conf("user root\n").own(&own).start();
    let mut alice = served.dial(&Dial::persistent(V5, "alice").username("al"));
    assert!(alice.expect_connected().session_present());
    alice.expect_message("a/b", "message 1");
    refused(
        &tool(&["migrate", &second.url, path(&broker.dir().join("no")), "--redis-prefix", "m2:"]),
        "is in use by the broker one, connected from 127.0.0.1",
    );
    let empty = Redis::new("m2:");
    refused(
        &tool(&["migrate", path(&dir), &empty.url, "--redis-prefix", "m2:"]),
        "is in use by the broker one",
    );
    let seen = served.dir().join("mosquitto.conf");
    let seen = tool(&["inspect", "-c", path(&seen)]);
    assert!(text(&seen.stdout).contains("by the broker one"), "{seen:?}");
}

#[test]
fn only_places_at_rest_that_are_empty_are_migrated_to() {
    let mut broker = broker();
    fill(&broker);
    let dir = data(&broker);
    let redis = Redis::new("m3:");
    let there = |from: &Path| tool(&["migrate", path(from), &redis.url, "--redis-prefix", "m3:"]);
    refused(&there(&dir), "is in use by process");
    let other = broker.dir().join("other");
    refused(&there(&other), "there is no store here");
    broker.stop();
    assert_eq!(there(&dir).status.code(), Some(0));
    refused(&there(&dir), "holds state already");
    broker.restart();
    let back = ["migrate", &redis.url, path(&dir), "--redis-prefix", "m3:"];
    refused(&tool(&back), "has it open");
    broker.stop();
    refused(&tool(&back), "holds state already");
    refused(&tool(&["migrate", path(&dir), path(&dir)]), "is where it is already");
    let wrong = tool(&["migrate", "http://x", path(&dir)]);
    assert_eq!(wrong.status.code(), Some(3), "{wrong:?}");
    let wrong = tool(&["inspect", &redis.url, "--redis-prefix", "{}"]);
    assert!(text(&wrong.stderr).contains("must hold no braces"), "{wrong:?}");
}

/// Migrates, and kills the tool again and again, each time a little later. Between two attempts
/// `unfinished` looks at what is there.
fn killed_again_and_again(args: &[&str], mut unfinished: impl FnMut() -> bool) {
    let mut seen = 0;
    for attempt in 0..400 {
        let tool = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut tool = tool.expect("the tool runs");
        std::thread::sleep(Duration::from_millis(10 + attempt * 7));
        // It may have ended by now.
        let _ = tool.kill();
        let output = tool.wait_with_output().expect("it ends");
        match output.status.code() {
            None => seen += u32::from(unfinished()),
            Some(0) => {
                assert!(seen > 0, "it was never interrupted in the middle");
                assert!(text(&output.stderr).contains("Going on"), "{output:?}");
                return;
            }
            // It was killed when all was done.
            Some(2) if seen > 0 && text(&output.stderr).contains("holds state already") => return,
            Some(_) => panic!("{}", text(&output.stderr)),
        }
    }
    panic!("it never got to its end");
}

#[test]
fn a_migration_that_is_killed_goes_on() {
    let mut broker = broker();
    fill(&broker);
    let mut erin = broker.connect(&Dial::persistent(V5, "erin"));
    erin.subscribe("many/#", 2);
    erin.disconnect();
    let mut bob = broker.client(V5, "bob");
    for number in 0..3000u32 {
        let message = Out::new(&format!("many/{number}"), vec![7; 700]).qos(if number % 2 == 0 {
            1
        } else {
            2
        });
        let retain = number % 3 == 0;
        bob.publish(if retain { message.retain() } else { message });
    }
    broker.kill();
    let dir = data(&broker);
    let all = export(&dir);
    let redis = Redis::new("m4:");
    let args = ["migrate", path(&dir), &redis.url, "--redis-prefix", "m4:"];
    let mut refusals = 0;
    killed_again_and_again(&args, || {
        let begun = redis.cli(&["EXISTS", "m4:migrating"]).trim() == "1";
        if begun && refusals == 0 {
            refusals += 1;
            let (status, log) = Broker::setup().conf("user root\n").own(&redis.own()).run();
            assert!(!status.success() && log.contains("is not complete"), "{log}");
        }
        begun && redis.cli(&["EXISTS", "m4:queue:{erin}"]).trim() == "1"
    });
    assert_eq!(lines(&redis.tool("export")), all);
    let back = broker.dir().join("back");
    let note = back.join("mogi-store/migrating");
    let args = ["migrate", &redis.url, path(&back), "--redis-prefix", "m4:"];
    killed_again_and_again(&args, || {
        read_to_string(&note).is_ok_and(|note| note.contains("(prefix m4:)"))
    });
    assert!(!note.exists());
    assert_eq!(export(&back), all);
    let served = Broker::setup().conf("user root\n").args(&["--data-dir", path(&back)]).start();
    let mut erin = served.dial(&Dial::persistent(V5, "erin"));
    assert!(erin.expect_connected().session_present());
    let of_erin = r#"{"type":"message","client":"erin""#;
    for _ in all.iter().filter(|line| line.starts_with(of_erin)) {
        let message = erin.expect_publish();
        erin.complete(&message);
    }
}
