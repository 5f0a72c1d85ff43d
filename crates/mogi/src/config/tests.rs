//! Whole files, and what becomes of them. What is said about wrong ones, in Mosquitto's words, is
//! tested from outside (`tests/config`).

mod access;
mod bridge;
mod cluster;
mod identity;
mod own;
mod transport;

use super::table::Status;
use super::*;
use crate::log::{Destination, LogType};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const MS_250: Duration = Duration::from_millis(250);

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mogi-config-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load_file(path: &Path) -> Loaded {
    load(&Cli { config: Some(path.to_owned()), ..Cli::default() })
}

#[track_caller]
fn config_of(loaded: Loaded) -> Config {
    let Loaded { config, notes, .. } = loaded;
    config.unwrap_or_else(|| panic!("{notes:?}"))
}

#[track_caller]
fn read(text: &str) -> Config {
    let folder = Folder::new();
    config_of(load_file(&folder.file("test.conf", text)))
}

/// The last lines of what is said about a file that is refused.
#[track_caller]
fn refusal(text: &str) -> String {
    let folder = Folder::new();
    let loaded = load_file(&folder.file("test.conf", text));
    assert!(loaded.config.is_none(), "{text} is accepted");
    let lines: Vec<_> = loaded.notes.into_iter().map(|(_, line)| line).collect();
    lines.join("\n").replace(&format!("{}/", folder.0.display()), "")
}

type Expected = fn(&Config) -> bool;

/// An example of each option of the broker that works.
const BROKER: &[(&str, Expected)] = &[
    ("acl_file x", |c| c.security.acl_file.as_deref() == Some("x")),
    ("acl_strict true", |c| c.access.acl_strict),
    ("auth_ban_addresses 100", |c| c.access.bans.addresses == 100),
    ("auth_ban_attempts 7", |c| c.access.bans.attempts == 7),
    ("auth_ban_time 7", |c| c.access.bans.time_ms == 7000),
    ("auth_ban_window 7", |c| c.access.bans.window_ms == 7000),
    ("auth_delay 7", |c| c.access.delay_ms == 7),
    ("auth_threads 7", |c| c.access.threads == 7),
    ("check_retain_source true", |c| c.core.check_retain_source),
    ("enable_control_api true", |c| c.access.control_api),
    ("password_file x", |c| c.security.password_file.as_deref() == Some("x")),
    ("allow_anonymous true", |c| c.security.allow_anonymous == Some(true)),
    ("allow_duplicate_messages false", |c| !c.core.allow_duplicate_messages),
    ("allow_zero_length_clientid 0", |c| c.security.allow_zero_length_clientid == Some(false)),
    ("auto_id_prefix me-", |c| c.security.auto_id_prefix.as_deref() == Some("me-")),
    ("clientid_prefixes a b", |c| c.core.clientid_prefixes.as_deref() == Some("a b")),
    ("connect_timeout 7", |c| c.connect_timeout_ms == 7000),
    ("connection_buffer_limit 100000", |c| c.core.connection_buffer_limit == 100_000),
    ("connection_messages false", |c| !c.core.connection_messages),
    ("global_max_clients 7", |c| c.core.global_max_clients == Some(7)),
    ("global_max_connections 7", |c| c.max_connections == Some(7)),
    ("log_dest stdout", |c| c.log.destinations == Some(vec![Destination::Stdout])),
    ("log_facility 5", |c| c.log.facility == Some(5)),
    ("log_timestamp false", |c| !c.log.timestamp),
    ("log_timestamp_format %H:%M", |c| c.log.timestamp_format.as_deref() == Some("%H:%M")),
    ("log_type subscribe", |c| c.log.types == Some(LogType::Subscribe as u32)),
    ("max_inflight_bytes 7", |c| c.core.max_inflight_bytes == 7),
    ("max_inflight_messages 7", |c| c.core.max_inflight_messages == 7),
    ("max_keepalive 7", |c| c.core.max_keepalive_s == 7),
    ("max_packet_size 70", |c| c.core.max_packet_size == 70),
    ("max_queued_bytes 7", |c| c.core.max_queued_bytes == 7),
    ("max_queued_messages 7", |c| c.core.max_queued_messages == 7),
    ("max_retained_messages 7", |c| c.core.max_retained_messages == 7),
    ("max_subscriptions_per_client 7", |c| c.core.max_subscriptions_per_client == 7),
    ("max_topic_levels 7", |c| c.core.max_topic_levels == 7),
    ("message_size_limit 7", |c| c.core.message_size_limit == 7),
    ("per_listener_settings true", |c| c.per_listener_settings),
    ("persistence true", |c| c.core.durable),
    ("persistence_buffer_limit 1048577", |c| c.persistence.buffer_limit == 1_048_577),
    ("persistence_cache_bytes 65537", |c| c.persistence.cache_bytes == 65_537),
    ("persistence_file old.db", |c| c.persistence.file.as_deref() == Some("old.db")),
    ("persistence_journal_bytes 67108865", |c| c.persistence.journal_bytes == 67_108_865),
    ("persistence_location /x/", |c| c.persistence.location.as_deref() == Some("/x/")),
    ("persistence_memtable_bytes 1048577", |c| c.persistence.memtable_bytes == 1_048_577),
    ("persistence_on_damage stop", |c| c.persistence.on_damage == OnDamage::Stop),
    ("persistence_sync interval 250", |c| c.persistence.sync == Sync::Interval(MS_250)),
    ("persistence_sync off", |c| c.persistence.sync == Sync::Off),
    ("queue_window_bytes 65537", |c| c.core.queue_window_bytes == 65_537),
    ("queue_window_messages 10", |c| c.core.queue_window_messages == 10),
    ("persistent_client_expiration 2d", |c| c.core.persistent_client_expiration_s == Some(172_800)),
    ("pid_file /run/a b", |c| c.pid_file.as_deref() == Some("/run/a b")),
    ("queue_qos0_messages true", |c| c.core.queue_qos0_messages),
    ("receive_maximum_tolerance 7", |c| c.core.receive_maximum_tolerance == 7),
    ("retain_available false", |c| !c.core.retain_available),
    ("retain_expiry_interval 7", |c| c.retain_expiry_interval_s == Some(420)),
    ("retained_persistence 1", |c| c.core.durable),
    ("route_cache_bytes 7", |c| c.core.route_cache_bytes == 7),
    ("route_cache_topics 7", |c| c.core.route_cache_topics == 7),
    ("send_timeout 7", |c| c.core.send_timeout_ms == 7000),
    ("sys_interval 0x7", |c| c.sys_interval_s == 7),
    ("upgrade_outgoing_qos 1", |c| c.core.upgrade_outgoing_qos),
    ("user somebody", |c| c.user == "somebody"),
    ("websockets_forwarded_for true", |c| c.forwarded_for),
    ("websockets_headers_size 5000", |c| c.max_head_bytes == 5000),
    ("worker_threads 7", |c| c.worker_threads == 7),
];

type ExpectedThere = fn(&Listener) -> bool;

/// An example of each option of a listener that works, and how it is found there.
const LISTENER: &[(&str, ExpectedThere)] = &[
    ("accept_protocol_versions 3, 5", |l| l.accept_versions == 0b10_1000),
    ("bind_interface lo", |l| l.interface.as_deref() == Some("lo")),
    ("listener_allow_anonymous true", |l| l.own.allow_anonymous == Some(true)),
    ("listener_auto_id_prefix x", |l| l.own.auto_id_prefix.as_deref() == Some("x")),
    ("max_connections 7", |l| l.max_connections == Some(7)),
    ("max_qos 1", |l| l.max_qos == QoS::AtLeastOnce),
    ("max_topic_alias 7", |l| l.max_topic_alias == 7),
    ("max_topic_alias_broker 7", |l| l.max_topic_alias_broker == 7),
    ("maximum_qos 0", |l| l.max_qos == QoS::AtMostOnce),
    ("mount_point a/b ", |l| l.mount_point.as_deref() == Some("a/b")),
    ("socket_domain ipv6", |l| l.only_ipv6 == Some(true)),
    ("use_username_as_clientid true", |l| l.use_username_as_clientid),
];

#[test]
fn options_of_the_broker_do_what_they_say() {
    for (line, holds) in BROKER.iter().chain(cluster::EXAMPLES).chain(identity::EXAMPLES) {
        assert!(holds(&read(line)), "{line}");
        assert!(!holds(&read("")), "{line} is the default");
    }
}

#[test]
fn options_of_a_listener_belong_to_the_one_above() {
    for (line, holds) in LISTENER.iter().chain(transport::EXAMPLES) {
        let config = read(&format!("listener 1\n{line}\nlistener 2\n"));
        assert!(holds(&config.listeners[0]), "{line}");
        assert!(!holds(&config.listeners[1]), "{line} reaches the next listener");
    }
}

#[test]
fn every_option_that_works_is_tested_here() {
    let there = LISTENER.iter().chain(transport::EXAMPLES).map(|(line, _)| *line);
    let lines = BROKER.iter().chain(cluster::EXAMPLES).chain(own::LIMITS);
    let lines = lines.chain(identity::EXAMPLES).map(|(line, _)| *line).chain(there);
    let mut tested: HashSet<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
    // These have tests of their own.
    tested.extend(bridge::BRIDGE.iter().filter_map(|(line, _)| line.split(' ').next()));
    tested.extend(["include_dir", "listener", "port", "bind_address"]);
    tested.extend(["connection", "address", "addresses"]);
    tested.extend(["psk_file", "psk_hint", "bridge_psk", "bridge_identity"]);
    tested.extend(["plugin", "auth_plugin", "global_plugin", "plugin_load", "plugin_use"]);
    tested.extend(["plugin_opt_*", "auth_opt_*"]);
    for spec in table::all() {
        if matches!(spec.status, Status::Works(_)) {
            assert!(tested.contains(spec.name), "{} is not tested", spec.name);
        }
    }
}

#[test]
fn what_is_not_built_yet_ends_the_start() {
    for spec in table::all().filter(|spec| matches!(spec.status, Status::NotYet)) {
        let name = spec.name.replace('*', "x");
        let value = if spec.default == "false" { "true" } else { "some thing" };
        let text = refusal(&format!("listener 1\n{name} {value}\n"));
        let known = [
            format!("Error: The '{name}' option is not built into mogi yet."),
            format!("Error: The '{name}' option requires a bridge to be defined first."),
            format!(
                "Error: The '{name}' option requires plugin/global_plugin/plugin_load to be \
                 defined first."
            ),
            format!("Error: An {name} option exists in the config file without a plugin."),
        ];
        let known = known.map(|line| format!("{line}\nError found at test.conf:2."));
        assert!(known.contains(&text), "{text}");
    }
    let text = refusal("log_dest dlt");
    let what = "'log_dest dlt' is not built into mogi";
    assert!(text.contains(what) && text.contains("test.conf:"), "{text}");
}

#[test]
fn what_is_not_built_yet_may_ask_for_the_default() {
    let lines = "listener 1\nrequire_certificate false\ntls_keyform pem\nmemory_limit 0\n\
                 check_retain_source 0\nuse_identity_as_username false\n";
    assert_eq!(read(lines).listeners.len(), 1);
}

#[test]
fn numbers_below_zero_are_no_limits() {
    let config = read(
        "global_max_clients -1\nglobal_max_connections 0\nmax_inflight_bytes -1\n\
         max_inflight_messages -1\nmax_queued_bytes -5\nmax_queued_messages -5\nlistener 1\n\
         max_connections 0\n",
    );
    let Config { core, max_connections, listeners, .. } = config;
    assert_eq!((core.global_max_clients, max_connections), (None, None));
    assert_eq!((core.max_inflight_bytes, core.max_queued_bytes), (0, 0));
    assert_eq!((core.max_inflight_messages, core.max_queued_messages), (0, 0));
    assert_eq!(listeners[0].max_connections, None);
}

#[test]
fn durations_have_units() {
    let seconds = |text: &str| {
        read(&format!("persistent_client_expiration {text}")).core.persistent_client_expiration_s
    };
    for (text, expected) in [
        ("1s", 1),
        ("2h", 7200),
        ("1w", 604_800),
        ("1m", 2_592_000),
        ("1y", 31_536_000),
        // What Mosquitto's reader makes of these.
        ("3.9d", 259_200),
        ("1dd", 86_400),
        ("1000000y", u32::MAX),
        ("99999999999999999999999s", u32::MAX),
    ] {
        assert_eq!(seconds(text), Some(expected), "{text}");
    }
    assert_eq!(read("").core.persistent_client_expiration_s, None);
    assert_eq!(
        read("retain_expiry_interval 2000000000").retain_expiry_interval_s,
        Some(600_000_000)
    );
}

#[test]
fn logs_have_destinations_and_types() {
    let log = |text: &str| read(text).log;
    let file = Destination::File("/var/log/m o".into());
    assert_eq!(
        log("log_dest stderr\nlog_dest file  /var/log/m o \nlog_dest stderr\n").destinations,
        Some(vec![Destination::Stderr, file])
    );
    assert_eq!(log("log_dest stdout\nlog_dest none\n").destinations, Some(Vec::new()));
    let after_none = log("log_dest none\nlog_dest topic\n").destinations;
    assert_eq!(after_none, Some(vec![Destination::Topic]));
    assert_eq!(log("").mask(), 15);
    assert_eq!(log("log_type none\nlog_type debug\n").mask(), LogType::Debug as u32);
    assert_eq!(log("log_type all\nlog_type none\n").mask(), 0);
    let folder = Folder::new();
    let path = folder.file("test.conf", "log_type error\n");
    for (verbose, quiet, mask) in
        [(false, false, 1), (true, false, LogType::ALL), (false, true, 0), (true, true, 0)]
    {
        let config = Some(path.clone());
        let cli = Cli { config, verbose, quiet, ..Cli::default() };
        assert_eq!(config_of(load(&cli)).log.mask(), mask);
    }
}

fn addresses(config: &Config) -> Vec<Vec<SocketAddr>> {
    let (listeners, _) = plan(config, 1, String::new()).expect("addresses");
    listeners.into_iter().map(|listener| listener.addresses).collect()
}

fn parsed(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|address| address.parse().expect("an address")).collect()
}

#[test]
fn listeners_listen_where_they_are_told() {
    let config = read(
        "listener 1 127.0.0.1 # here\nlistener 2\nlistener 3\nsocket_domain ipv4\n\
         listener 4 # everywhere\nsocket_domain ipv6\nlistener 5 ::1 and so on\n",
    );
    assert!(!config.local_only);
    assert_eq!(
        addresses(&config),
        [
            parsed(&["127.0.0.1:1"]),
            parsed(&["0.0.0.0:2", "[::]:2"]),
            parsed(&["0.0.0.0:3"]),
            parsed(&["[::]:4"]),
            parsed(&["[::1]:5"]),
        ]
    );
    let problem = |text| plan(&read(text), 1, String::new()).map(drop).expect_err("no address");
    let family = problem("listener 1 127.0.0.1\nsocket_domain ipv6\n");
    let start = "Error creating listener: Address family for hostname not supported.";
    assert!(family.starts_with(start) && family.ends_with("test.conf:1)"), "{family}");
    let name = problem("listener 1 no host\n".replace("no host", "a#b").as_str());
    let start = "Error creating listener: ";
    assert!(name.starts_with(start) && name.contains("'a#b'"), "{name}");
}

#[test]
fn without_a_listener_only_this_machine_may_connect() {
    let config = read("");
    assert!(config.local_only);
    assert_eq!(addresses(&config), [parsed(&["127.0.0.1:1883", "[::1]:1883"])]);
    let cli = Cli { ports: vec![7, 8], ..Cli::default() };
    let config = config_of(load(&cli));
    let local = |port: u16| parsed(&[&format!("127.0.0.1:{port}"), &format!("[::1]:{port}")]);
    assert_eq!(addresses(&config), [local(7), local(8)]);
    // Ports of the command line are not looked at where the file has a listener.
    let folder = Folder::new();
    let config = Some(folder.file("test.conf", "listener 9 127.0.0.1\n"));
    let config = config_of(load(&Cli { config, ..cli }));
    assert_eq!(addresses(&config), [parsed(&["127.0.0.1:9"])]);
}

#[test]
fn the_default_listener_is_where_it_began() {
    let config = read("max_qos 1\nlistener 7\nport 1999\nmax_qos 0\nbind_address 127.0.0.1\n");
    let [default, other] = &config.listeners[..] else {
        panic!("{:?}", config.listeners);
    };
    assert_eq!((default.port, default.max_qos), (1999, QoS::AtMostOnce));
    assert_eq!(default.host.as_deref(), Some("127.0.0.1"));
    assert_eq!((other.port, other.max_qos), (7, QoS::ExactlyOnce));
    // Any listener opens it.
    let config = read("max_qos 1\nlistener 7\n");
    assert_eq!(config.listeners[0].port, 1883);
    assert!(!config.local_only && warnings(&config).next().is_none());
}

#[test]
fn options_of_a_listener_have_no_effect_in_local_only_mode() {
    let config = read("\nmax_qos 1\n");
    assert!(config.local_only);
    assert_eq!(config.listeners[0].max_qos, QoS::ExactlyOnce);
    let warning = warnings(&config).next().expect("a warning");
    assert!(warning.contains("test.conf:2 on have no effect in local only mode"), "{warning}");
}

fn cores(text: &str) -> Vec<mogi_core::ListenerConfig> {
    let (listeners, _) = plan(&read(text), 1, String::new()).expect("addresses");
    listeners.into_iter().map(|listener| listener.core).collect()
}

#[test]
fn client_ids_are_made_as_the_listener_says() {
    let prefixes = |text: &str| -> Vec<String> {
        cores(text).into_iter().map(|core| core.auto_id_prefix).collect()
    };
    assert_eq!(prefixes("listener 1"), ["auto-"]);
    let both = "auto_id_prefix a-\nlistener 1\nlistener 2\nlistener_auto_id_prefix b-";
    assert_eq!(prefixes(both), ["a-", "b-"]);
    let each = "per_listener_settings true\nlistener 1\nallow_zero_length_clientid false\n\
                listener 2\n";
    let allowed = cores(each).into_iter().map(|core| core.allow_zero_length_clientid);
    assert_eq!(allowed.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn versions_nobody_knows_are_warned_of() {
    let config = read("listener 1\naccept_protocol_versions 4,mqttv5\n");
    assert_eq!(config.listeners[0].accept_versions, 1 << 4);
    let warnings: Vec<_> = warnings(&config).collect();
    assert!(matches!(&warnings[..], [one] if one.contains("not 'mqttv5'")), "{warnings:?}");
    let config = read("listener 1\naccept_protocol_versions 311\n");
    let nothing = super::warnings(&config).last().expect("a warning");
    assert!(nothing.contains("accepts no version of MQTT"), "{nothing}");
}

#[test]
fn a_test_says_what_each_listener_does() {
    let config = read(
        "listener 1\nallow_anonymous true\nlistener 2 127.0.0.1\nmax_connections 9\nmax_qos 1\n\
         mount_point m/\naccept_protocol_versions 5\nlistener_allow_anonymous false\n\
         bind_interface lo\n",
    );
    let lines: Vec<_> = describe(&config).collect();
    let said = |line: &str| line.rsplit('/').next().map(str::to_owned);
    assert_eq!(
        said(&lines[0]).as_deref(),
        Some(
            "test.conf:1: port 1 on all addresses, MQTT 3.1, 3.1.1, 5.0; lets in clients without \
             a user name"
        )
    );
    assert!(
        lines[1].ends_with(
            "test.conf:3: port 2 on 127.0.0.1, interface lo, MQTT 5.0; refuses clients without a \
             user name; at most 9 connections; QoS up to 1; puts 'm/' before topics"
        ),
        "{}",
        lines[1]
    );
    let local: Vec<_> = describe(&read("")).collect();
    let expected = "local only mode: port 1883 on 127.0.0.1 and ::1, MQTT 3.1, 3.1.1, 5.0; lets in \
                    clients without a user name";
    assert_eq!(local, [expected]);
}

#[test]
fn folders_are_read_in_mosquittos_order() {
    let folder = Folder::new();
    let names = ["a", "B", "A", "b", "Ab", "aB", "AB", "ab", "_x", "1", "Z", "z"];
    for name in names {
        folder.file(&format!("{name}.conf"), "sys_interval 3\n");
    }
    folder.file("x.txt", "nonsense\n");
    folder.file(".conf", "nonsense\n");
    folder.file("conf", "nonsense\n");
    let main = Folder::new();
    let path = main.file("main.conf", &format!("include_dir {}\n", folder.0.display()));
    let loaded = load_file(&path);
    let mut read = Vec::new();
    for (_, line) in &loaded.notes {
        let name = line.rsplit('/').next().expect("a name");
        read.push(name.trim_end_matches(".conf'"));
    }
    assert_eq!(read, ["1", "A", "AB", "Ab", "a", "aB", "ab", "B", "b", "Z", "z", "_x"]);
    assert_eq!(config_of(loaded).sys_interval_s, 3);
}

#[test]
fn included_files_have_no_listener_above_them() {
    let folder = Folder::new();
    folder.file("a.conf", "listener 2\nmax_qos 0\n");
    folder.file("b.conf", "max_qos 1\n");
    let main = Folder::new();
    let text = format!("listener 1\ninclude_dir {}\nmax_connections 7\n", folder.0.display());
    let config = config_of(load_file(&main.file("main.conf", &text)));
    let seen: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| (listener.port, listener.max_qos as u8, listener.max_connections))
        .collect();
    assert_eq!(seen, [(1, 2, Some(7)), (2, 0, None), (1883, 1, None)]);
}

#[test]
fn problems_in_included_files_name_both_places() {
    let folder = Folder::new();
    folder.file("a.conf", "\nnonsense 1\n");
    let main = Folder::new();
    let text = format!("#\ninclude_dir {}\n", folder.0.display());
    let loaded = load_file(&main.file("main.conf", &text));
    let lines: Vec<_> = loaded.notes.iter().map(|(_, line)| line.as_str()).collect();
    let (folder, main) = (folder.0.display(), main.0.display());
    assert_eq!(
        lines,
        [
            format!("Loading config file '{folder}/a.conf'"),
            "Error: Unknown configuration variable 'nonsense'.".to_owned(),
            format!("Error found at '{folder}/a.conf:2'."),
            format!("Error found at {main}/main.conf:2."),
        ]
    );
}

#[test]
fn mogis_own_options_may_stand_in_three_places() {
    let folder = Folder::new();
    let main = folder.file("test.conf", "worker_threads 2\nlistener 1\n");
    assert_eq!(config_of(load_file(&main)).worker_threads, 2);
    folder.file("mogi.conf", "worker_threads 3\n");
    let config = config_of(load_file(&main));
    assert_eq!((config.worker_threads, config.listeners.len()), (3, 1));
    let mogi_config = Some(folder.file("other", "worker_threads 4\n"));
    let cli = Cli { config: Some(main), mogi_config: mogi_config.clone(), ..Cli::default() };
    assert_eq!(config_of(load(&cli)).worker_threads, 4);
    let alone = Cli { mogi_config, ..Cli::default() };
    assert_eq!(config_of(load(&alone)).worker_threads, 4);
}

#[test]
fn mosquittos_options_do_not_stand_in_mogis_file() {
    let folder = Folder::new();
    let main = folder.file("test.conf", "listener 1\n");
    folder.file("mogi.conf", "worker_threads 1\nlistener 2\n");
    let loaded = load_file(&main);
    assert!(loaded.config.is_none());
    let lines: Vec<_> = loaded.notes.iter().map(|(_, line)| line.as_str()).collect();
    let place = format!("Error found at {}/mogi.conf:2.", folder.0.display());
    let what = "Error: 'listener' is Mosquitto's option: it belongs into the file given with -c.";
    assert_eq!(lines[1..], [what, place.as_str()]);
    // A main file of that name is no file of mogi's own options.
    let main = folder.file("mogi.conf", "listener 1\n");
    assert_eq!(config_of(load_file(&main)).listeners.len(), 1);
}

/// Nothing that stands in a file makes the reader panic.
#[test]
fn any_value_of_any_option_is_judged() {
    const VALUES: [&str; 16] = [
        "",
        " ",
        "  x  ",
        "0",
        "-1",
        "0x",
        "-",
        "+",
        "1s",
        "9999999999999999999",
        "\u{9b}",
        "\t",
        "# x",
        ",",
        "1 2 3",
        "é",
    ];
    let mut refused = 0;
    for spec in table::all() {
        // An address would be looked up in the network.
        if spec.name == "bind_address" {
            continue;
        }
        for value in VALUES {
            for above in [&[][..], &["listener 1"], &["per_listener_settings 1", "listener 1"]] {
                let text = format!("{} {value}", spec.name.replace('*', "x"));
                let mut builder = Builder::default();
                for text in above.iter().copied().chain([text.as_str()]) {
                    let line = value::Line::parse(text.as_bytes(), String::new());
                    let line = line.expect("something stands there");
                    let spec = table::find(&line.name).expect("an option");
                    refused += usize::from(builder.apply(spec, &line).is_err());
                }
            }
        }
    }
    assert!(refused > 1000, "only {refused} are refused");
}

#[test]
fn defaults_are_what_the_table_says() {
    for spec in table::all() {
        let bools_and_numbers =
            spec.default.parse::<i32>().is_ok() || spec.default.parse::<bool>().is_ok();
        let security = spec.scope == table::Scope::Security;
        if !bools_and_numbers || security || !matches!(spec.status, Status::Works(_)) {
            continue;
        }
        let place = if BROKER.iter().any(|(line, _)| line.split(' ').next() == Some(spec.name)) {
            ""
        } else if spec.scope == table::Scope::Bridge {
            bridge::LEAST
        } else {
            "listener 1883\n"
        };
        if spec.name == "port" {
            continue;
        }
        let (with, without) = (format!("{place}{} {}\n", spec.name, spec.default), place);
        let told = |text: &str| {
            let mut config = read(text);
            config.file = None;
            config.fixed.clear();
            config.listeners.iter_mut().for_each(|listener| listener.place.clear());
            for bridge in &mut config.bridges {
                (bridge.place, bridge.topics) = (String::new(), Vec::new());
            }
            format!("{config:?}")
        };
        assert_eq!(told(&with), told(without), "{} {}", spec.name, spec.default);
    }
}
