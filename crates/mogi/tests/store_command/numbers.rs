//! What is counted and printed.

use crate::support::{Broker, Dial, V5, eventually};
use crate::tool::{broker, data, export, files, fill, store, text};

#[test]
fn a_store_is_looked_into_while_it_runs_and_after() {
    let mut broker = broker();
    fill(&broker);
    let dir = data(&broker);
    let will = Dial::persistent(V5, "dave").will("gone", "dave");
    let dave = broker.connect(&will);
    let live = export(&dir);
    let expected = [
        r#"{"type":"session","client":"alice","expiry_s":3600,"username":"al"}"#,
        r#"{"type":"subscription","client":"alice","filter":"a/#","qos":2,"no_local":false,"#,
        r#"{"type":"message","client":"alice","state":"in_flight","packet_id":1,"topic":"a/b","#,
        r#"{"type":"message","client":"alice","state":"released","packet_id":3}"#,
        r#"{"type":"message","client":"alice","state":"waiting","topic":"a/b","qos":1,"#,
        r#"{"type":"message","client":"carol","state":"waiting","topic":"c","qos":1,"#,
        r#""properties":{"content-type":"text","user-property":[{"name":"value"}]}"#,
        r#"{"type":"retained","topic":"kept","qos":1,"retain":true,"payload_base64":"/wA=","#,
        r#"{"type":"will","client":"dave","delay_s":0,"topic":"gone","#,
    ];
    for part in expected {
        assert!(live.iter().any(|line| line.contains(part)), "{part}\n{}", live.join("\n"));
    }
    let output = store(&dir, &["inspect"]);
    assert!(text(&output.stderr).contains("in use by process"), "{output:?}");
    assert!(text(&output.stdout).contains("3: 1 connected, 2 away"), "{}", text(&output.stdout));
    dave.disconnect();
    broker.stop();
    // A disconnected client's will is gone; nothing else has changed.
    let stopped = export(&dir);
    let but_wills: Vec<_> = live.into_iter().filter(|it| !it.contains(r#""will""#)).collect();
    assert_eq!(stopped, but_wills);
    let output = store(&dir, &["inspect", "--json"]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let json = text(&output.stdout);
    for part in [
        r#""in_use_by": null"#,
        r#""waiting": 4"#,
        r#""in_flight": 2"#,
        r#""released": 1"#,
        r#""client": "alice""#,
        r#""damaged": false"#,
    ] {
        assert!(json.contains(part), "{part}\n{json}");
    }
}

#[test]
fn nothing_in_the_folder_changes() {
    let mut broker = broker();
    fill(&broker);
    broker.kill();
    let dir = data(&broker);
    let before = files(&dir);
    for args in [&["inspect"][..], &["verify"], &["export"]] {
        assert_eq!(store(&dir, args).status.code(), Some(0));
    }
    assert!(files(&dir) == before, "the files differ");
}

#[test]
fn the_configuration_says_where_the_store_is() {
    let mut broker =
        Broker::start("persistence true\npersistence_location {dir}/kept/\nlog_type all\n");
    fill(&broker);
    broker.stop();
    let tool = |conf: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mogi"));
        command.args(["store", "verify", "-c"]).arg(broker.dir().join(conf));
        command.output().expect("the tool runs")
    };
    let output = tool("mosquitto.conf");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("is healthy: 2 sessions, 7 messages"), "{output:?}");
    std::fs::write(broker.dir().join("none.conf"), "persistence false\n").expect("a file");
    let output = tool("none.conf");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no state is kept on disk"), "{output:?}");
}

#[test]
fn sys_topics_say_how_the_store_is_doing() {
    let broker = broker();
    fill(&broker);
    let mut eve = broker.client(V5, "eve");
    eve.subscribe("$SYS/broker/store/#", 0);
    let mut seen = std::collections::BTreeMap::new();
    eventually("the topics of the store", || {
        let message = eve.expect_publish();
        let text = message.text();
        seen.insert(message.topic, text);
        let number = |name: &str| {
            let topic = format!("$SYS/broker/store/{name}");
            seen.get(&topic).and_then(|text| text.parse::<u64>().ok())
        };
        number("commits") > Some(0)
            && number("changes/written") > Some(0)
            && number("changes/pending").is_some()
            && number("bytes/pending").is_some()
            && number("bytes/disk") > Some(0)
            && number("failing") == Some(0)
            && seen.get("$SYS/broker/store/error").is_some_and(|text| text == "none")
    });
}
