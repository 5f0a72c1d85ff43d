//! Bridges: what is in the file is in the plan.

use super::{read, refusal};
use crate::bridge::plan::{Address, BridgePlan, Restart, StartType, TcpKeepAlive};
use crate::config::{ClusterListener, Config, bridge_plans};
use mogi_client::TlsOptions;
use mogi_codec::Version;
use std::path::Path;

/// A bridge that has what each needs.
pub(super) const LEAST: &str = "connection b\naddress h\ntopic #\n";

type Expected = fn(&BridgePlan) -> bool;

const RESTART: Restart = Restart { base_s: 7, cap_s: Some(70), stable_s: 9 };

/// An example of each option of a bridge that works.
pub(super) const BRIDGE: &[(&str, Expected)] = &[
    ("bridge_attempt_unsubscribe false", |b| !b.remote.unsubscribe),
    ("bridge_bind_address ::1", |b| b.socket.bind.as_deref() == Some("::1")),
    ("bridge_max_packet_size 7", |b| b.remote.max_packet_size == 7),
    ("bridge_max_topic_alias 7", |b| b.remote.topic_alias_maximum == 7),
    ("bridge_outgoing_retain false", |b| !b.remote.outgoing_retain),
    ("bridge_protocol_version mqttv31", |b| b.remote.version == Version::V31),
    ("bridge_receive_maximum 7", |b| b.remote.receive_maximum == 7),
    ("bridge_reload_type immediate", |b| b.reload_at_once),
    ("bridge_session_expiry_interval 7", |b| b.remote.session_expiry_s == 7),
    ("bridge_tcp_keepalive 7 8 9", |b| b.socket.keep_alive == Some(KEEP_ALIVE)),
    ("bridge_tcp_user_timeout 7", |b| b.socket.user_timeout_ms == Some(7)),
    ("bridge_cafile a", |b| tls(b, |t| t.cafile.as_deref() == Some(Path::new("a")))),
    ("bridge_capath a", |b| tls(b, |t| t.capath.as_deref() == Some(Path::new("a")))),
    ("bridge_certfile a\nbridge_keyfile b\nbridge_cafile c", |b| {
        tls(b, |t| t.identity == Some(("a".into(), "b".into())))
    }),
    ("bridge_keyfile b\nbridge_certfile a\nbridge_cafile c", |b| {
        tls(b, |t| t.identity == Some(("a".into(), "b".into())))
    }),
    ("bridge_ciphers HIGH\nbridge_cafile a", |b| tls(b, |t| t.ciphers.as_deref() == Some("HIGH"))),
    ("bridge_ciphers_tls1.3 TLS_AES_128_GCM_SHA256\nbridge_cafile a", |b| {
        tls(b, |t| t.ciphers_tls13.as_deref() == Some("TLS_AES_128_GCM_SHA256"))
    }),
    ("bridge_insecure true\nbridge_cafile a", |b| tls(b, |t| t.insecure)),
    ("bridge_alpn mqtt\nbridge_cafile a", |b| tls(b, |t| t.alpn.as_deref() == Some("mqtt"))),
    ("bridge_tls_use_os_certs true", |b| tls(b, |t| t.os_certs)),
    ("bridge_tls_version tlsv1.3\nbridge_cafile a", |b| tls(b, |t| t.only_tls13)),
    ("cleansession true", |b| b.remote.clean && b.local.clean && b.remote.session_expiry_s == 0),
    ("clientid me", |b| b.remote.client_id == "me" && b.local.client_id == "local.me"),
    ("idle_timeout 7", |b| b.idle_timeout_s == 7),
    ("keepalive_interval 7", |b| b.remote.keep_alive_s == 7),
    ("local_cleansession true", |b| b.local.clean && !b.remote.clean),
    ("local_clientid me", |b| b.local.client_id == "me"),
    ("local_password p q", |b| b.local.password.as_deref() == Some("p q")),
    ("local_username u", |b| b.local.username.as_deref() == Some("u")),
    ("notification_topic t", |b| b.notify.as_ref().is_some_and(|n| n.topic == "t")),
    ("notifications false", |b| b.notify.is_none()),
    ("notifications_local_only true", |b| b.notify.as_ref().is_some_and(|n| !n.remote)),
    ("password p", |b| b.remote.password.as_deref() == Some("p")),
    ("remote_clientid me", |b| b.remote.client_id == "me"),
    ("remote_password p", |b| b.remote.password.as_deref() == Some("p")),
    ("remote_username u", |b| b.remote.username.as_deref() == Some("u")),
    ("restart_timeout 7 70 9", |b| b.restart == RESTART),
    ("round_robin true", |b| b.round_robin),
    ("start_type once", |b| b.start == StartType::Once),
    ("threshold 7", |b| b.threshold == 7),
    ("topic a in", |b| b.topics.remote_filters().any(|(filter, _)| filter == "a")),
    ("try_private false", |b| !b.remote.private),
    ("username u", |b| b.remote.username.as_deref() == Some("u")),
];

const KEEP_ALIVE: TcpKeepAlive = TcpKeepAlive { idle_s: 7, interval_s: 8, count: 9 };

fn tls(bridge: &BridgePlan, holds: fn(&TlsOptions) -> bool) -> bool {
    bridge.secure.as_ref().is_some_and(|secure| holds(&secure.options))
}

#[test]
fn options_of_a_bridge_belong_to_the_one_above() {
    for (line, holds) in BRIDGE {
        let plans =
            bridge_plans(&read(&format!("{LEAST}{line}\nconnection c\naddress h\ntopic # both\n")));
        assert!(holds(&plans[0]), "{line}");
        assert!(!holds(&plans[1]), "{line} reaches the next bridge, or is the default");
    }
}

fn addresses(config: &Config) -> Vec<String> {
    config.bridges[0].addresses.iter().map(Address::to_string).collect()
}

#[test]
fn addresses_have_ports_or_1883() {
    for (line, expected) in [
        ("address h", &["h:1883"][..]),
        ("addresses h:1 127.0.0.1 i:3", &["h:1", "127.0.0.1:1883", "i:3"]),
        ("address h #i:3 j", &["h:1883"]),
        ("address ::1:1884", &["::1:1884"]),
        ("address [::1]:1884", &["::1:1884"]),
        ("address [::1]", &["::1:1883"]),
    ] {
        assert_eq!(addresses(&read(&format!("connection b\n{line}\ntopic #\n"))), expected);
    }
}

#[test]
fn a_bridge_is_called_after_its_host_and_name() {
    let plans = bridge_plans(&read(LEAST));
    let host = crate::process::host_name();
    assert_eq!(plans[0].remote.client_id, format!("{host}.b"));
    assert_eq!(plans[0].local.client_id, format!("local.{host}.b"));
    let state = format!("$SYS/broker/connection/{host}.b/state");
    assert_eq!(plans[0].notify.as_ref().map(|notify| &*notify.topic), Some(&*state));
}

/// Whichever of them carries it is the same client to the other broker.
#[test]
fn with_several_brokers_it_is_called_after_the_cluster() {
    let mut config = read(LEAST);
    let (host, place) = (None, String::new());
    config.cluster.listener = Some(ClusterListener { port: 1, host, place });
    let plan = &bridge_plans(&config)[0];
    assert_eq!((&*plan.remote.client_id, plan.one_node), ("mogi.b", true));
    config.cluster.bridges_each = true;
    let plan = &bridge_plans(&config)[0];
    let host = crate::process::host_name();
    assert_eq!((plan.remote.client_id.clone(), plan.one_node), (format!("{host}.b"), false));
}

#[test]
fn bridges_that_carry_the_same_have_the_same_job() {
    let job = |text: &str| bridge_plans(&read(text)).remove(0).job();
    let least = "connection b\naddress h:1 i:2\ntopic a/# in 1 x/\n";
    let same = "connection c\naddress i:2 h:1\ntopic a/# in 2 x/\ntry_private false\n";
    assert_eq!(job(least), job(same));
    for (from, to) in [("h:1", "h:2"), ("a/#", "b/#"), (" in ", " out "), ("x/", "y/")] {
        assert_ne!(job(least), job(&least.replace(from, to)), "{to}");
    }
}

#[test]
fn topics_may_be_quoted_and_empty() {
    let plans = bridge_plans(&read(
        "connection b\naddress h\ntopic \"a b\" BOTH 2 \"l /\" r/\ntopic \"\" in 1 here there\n",
    ));
    let topics = &plans[0].topics;
    assert_eq!(topics.to_remote("l /a b").as_deref(), Some("r/a b"));
    assert_eq!(topics.to_local("there").as_deref(), Some("here"));
}

#[test]
fn a_topic_that_carries_nothing_is_told() {
    let folder = super::Folder::new();
    let text = "connection b\naddress h\ntopic a/#/b both\ntopic c\n";
    let loaded = super::load_file(&folder.file("test.conf", text));
    let warned = loaded.notes.iter().any(|(_, line)| line.contains("'a/#/b' is no topic filter"));
    assert!(warned, "{:?}", loaded.notes);
    assert!(loaded.config.is_some());
}

#[test]
fn the_whole_bridge_is_checked_and_the_place_is_told() {
    for (text, what) in [
        ("connection b\ntopic #\n", "no remote addresses defined.\nError found in bridge 'b' at "),
        ("connection b\naddress h\n", "no topics defined.\nError found in bridge 'b' at "),
    ] {
        let said = refusal(text);
        assert!(said.contains(what) && said.contains("test.conf:1"), "{said}");
    }
    let twice = format!("{LEAST}clientid x\n{}clientid x\n", LEAST.replace("n b", "n c"));
    let said = refusal(&twice);
    assert!(said.contains("Bridge local_clientid 'local.x' is not unique"), "{said}");
}

#[test]
fn what_is_included_begins_without_a_bridge() {
    let folder = super::Folder::new();
    folder.file("more.conf", "round_robin true\n");
    let text = format!("{LEAST}include_dir {}\n", folder.0.display());
    let other = super::Folder::new();
    let loaded = super::load_file(&other.file("main", &text));
    assert!(loaded.config.is_none());
}

#[test]
fn a_lazy_bridge_sees_as_many_messages_as_it_waits_for() {
    let lazy = format!("{LEAST}start_type lazy\nthreshold 500\n");
    assert_eq!(bridge_plans(&read(&lazy))[0].local.receive_maximum, 500);
    assert_eq!(bridge_plans(&read(LEAST))[0].local.receive_maximum, 20);
}

/// What is said of a bridge with these lines, if it is accepted.
fn notes(lines: &str) -> String {
    let folder = super::Folder::new();
    let loaded = super::load_file(&folder.file("test.conf", &format!("{LEAST}{lines}")));
    assert!(loaded.config.is_some(), "{:?}", loaded.notes);
    loaded.notes.into_iter().map(|(_, line)| line + "\n").collect()
}

#[test]
fn options_of_tls_that_do_not_do_what_was_meant_are_told() {
    assert!(notes("bridge_cafile a\nbridge_insecure true\n").contains("'b' using insecure mode."));
    let said = notes("bridge_certfile a\nbridge_keyfile b\n");
    assert!(said.contains("'bridge_certfile' of bridge 'b' has no effect"), "{said}");
    let said = notes("bridge_cafile a\nbridge_ciphers HIGH:AES128-SHA\n");
    assert!(
        said.contains("Bridge 'b': 'bridge_ciphers': there is no 'AES128-SHA' here."),
        "{said}"
    );
    for (lines, what) in [
        ("bridge_cafile a\nbridge_certfile b\n", "bridge_certfile and bridge_keyfile need"),
        ("bridge_cafile a\nbridge_ciphers RC4\n", "nothing is left of bridge_ciphers \"RC4\": "),
        ("bridge_cafile a\nbridge_ciphers_tls1.3 x\n", "nothing is left of bridge_ciphers_tls1.3"),
        ("bridge_tls_version tlsv1.1\n", "'bridge_tls_version tlsv1.1' is broken"),
        ("bridge_require_ocsp true\n", "The 'bridge_require_ocsp' option is not built"),
    ] {
        let said = refusal(&format!("{LEAST}{lines}"));
        assert!(said.contains(what), "{said}");
    }
}

/// Both features of the build have their say.
#[test]
fn shared_keys_of_bridges_are_looked_at() {
    let there = cfg!(feature = "openssl");
    for (lines, with, without) in [
        (
            "bridge_psk ab\n",
            "bridge_psk and bridge_identity need each other",
            "'bridge_psk' is not",
        ),
        ("bridge_identity x\n", "bridge_psk and bridge_identity need", "'bridge_identity' is not"),
        ("bridge_identity x\nbridge_psk z\n", "is no hexadecimal number", "'bridge_psk' is not"),
        (
            "bridge_identity x\nbridge_psk ab\nbridge_cafile a\n",
            "cannot use both certificates and a shared key",
            "'bridge_psk' is not",
        ),
    ] {
        let said = refusal(&format!("{LEAST}{lines}"));
        assert!(said.contains(if there { with } else { without }), "{said}");
    }
}

#[test]
fn other_contents_of_a_file_are_another_plan() {
    let folder = super::Folder::new();
    let lines = |file: &Path| format!("{LEAST}bridge_cafile {}\n", file.display());
    let file = folder.file("ca.pem", "one");
    let before = bridge_plans(&read(&lines(&file)));
    assert_eq!(before, bridge_plans(&read(&lines(&file))));
    let file = folder.file("ca.pem", "two");
    assert_ne!(before, bridge_plans(&read(&lines(&file))));
}
