//! Whole files, and what becomes of them.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

fn read(text: &str) -> Result<(Config, Vec<String>), Vec<String>> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("mogi-config-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let path = folder.join("test.conf");
    std::fs::write(&path, text).expect("file");
    let cli = Cli { config: Some(path.clone()), ..Cli::default() };
    let result = load(&cli).map_err(|error| {
        let name = path.display().to_string();
        error.0.iter().map(|line| line.replace(&name, "FILE")).collect()
    });
    std::fs::remove_dir_all(folder).expect("removed");
    result
}

fn fails(text: &str) -> String {
    read(text).map(|_| ()).expect_err("is refused").join("\n")
}

#[test]
fn a_listener_means_all_addresses_and_no_anonymous_clients() {
    let (config, _) =
        read("listener 1884\nmax_connections 5\nlistener 1885 127.0.0.1\n").expect("ok");
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.listeners[0].max_connections, Some(5));
    assert_eq!(config.listeners[1].host.as_deref(), Some("127.0.0.1"));
    assert!(!config.local_only);
    let (listeners, _) = plan(&config, 1, String::new(), 0).expect("plan");
    assert!(!listeners[0].core.allow_anonymous);
    assert_eq!(listeners[0].addresses.len(), 2);
}

#[test]
fn without_a_listener_only_this_machine_may_connect() {
    let (config, _) = read("sys_interval 0x10\n").expect("ok");
    assert!(config.local_only);
    assert_eq!(config.sys_interval_s, 16);
    let (listeners, _) = plan(&config, 1, String::new(), 0).expect("plan");
    assert!(listeners[0].core.allow_anonymous);
    assert!(listeners[0].addresses.iter().all(|address| address.ip().is_loopback()));
}

#[test]
fn problems_are_told_as_mosquitto_tells_them() {
    let found = "Error found at FILE:1.";
    for (text, problem) in [
        ("nonsense 1", "Error: Unknown configuration variable 'nonsense'."),
        ("listener", "Error: Empty 'listener port' value in configuration."),
        ("listener abc", "Error: 'listener port' value not a number."),
        ("listener 70000", "Error: Invalid 'port' value (70000)."),
        ("listener 0", "Error: A listener with port 0 must provide a Unix socket path."),
        ("allow_anonymous yes", "Error: Invalid 'allow_anonymous' value (yes)."),
        ("allow_anonymous", "Error: Empty 'allow_anonymous' value in configuration."),
        ("max_inflight_messages x", "Error: 'max_inflight_messages' value not a number."),
        ("max_keepalive 70000", "Error: Invalid 'max_keepalive' value (70000)."),
        ("sys_interval -1", "Error: Invalid 'sys_interval' value (-1)."),
        ("log_type foo", "Error: Invalid 'log_type' value (foo)."),
        ("log_dest file", "Error: Empty \"log_dest file\" value in configuration."),
        ("max_packet_size 1", "Error: 'max_packet_size' must be >= 20."),
        ("upgrade_outgoing_qos 2", "Error: Invalid 'upgrade_outgoing_qos' value (2)."),
        (
            "persistent_client_expiration 5x",
            "Error: Invalid 'persistent_client_expiration' duration in configuration.",
        ),
        (
            "max_topic_alias 70000",
            "Error: The 'max_topic_alias' option requires a listener to be defined first.",
        ),
        ("include_dir /no/such/folder", "Error: Unable to open include_dir '/no/such/folder'."),
        ("password_file x", "Error: The 'password_file' option is not built into mogi yet."),
        ("plugin_opt_x y", "Error: The 'plugin_opt_x' option is not built into mogi yet."),
    ] {
        assert_eq!(fails(text), format!("{problem}\n{found}"), "{text}");
    }
}

#[test]
fn what_stock_accepts_is_accepted() {
    for text in [
        "listener 1883 127.0.0.1 extra",
        "max_inflight_messages -1",
        "max_queued_messages -5",
        "  sys_interval 3",
        "# c\n\n\nsys_interval 3 # five",
        "allow_anonymous true\nallow_anonymous false",
        "sys_interval 3\r\nlistener 1883\r\n",
        "persistence false\nautosave_interval 5",
    ] {
        assert!(read(text).is_ok(), "{text}: {:?}", read(text).err());
    }
}

#[test]
fn a_second_value_of_a_text_option_is_a_problem() {
    let problem = fails("pid_file a\npid_file b");
    assert_eq!(
        problem,
        "Error: Duplicate 'pid_file' value in configuration.\nError found at FILE:2."
    );
}

#[test]
fn per_listener_settings_keep_security_apart() {
    let text = "per_listener_settings true\nlistener 1\nallow_anonymous true\nlistener 2\n";
    let (config, _) = read(text).expect("ok");
    let (listeners, _) = plan(&config, 1, String::new(), 0).expect("plan");
    assert!(listeners[0].core.allow_anonymous);
    assert!(!listeners[1].core.allow_anonymous);
}

#[test]
fn options_without_a_listener_make_the_default_one() {
    let (config, notes) = read("max_connections 7\nport 1999\n").expect("ok");
    assert_eq!(config.listeners.len(), 1);
    assert_eq!((config.listeners[0].port, config.listeners[0].max_connections), (1999, Some(7)));
    assert!(notes[0].contains("Creating default listener due to 'max_connections' option."));
}
