//! Mosquitto's own tools (of Debian's packages) against mogi, and mogi's beside them.

use super::{login, passwords};
use crate::support::{Broker, V5, V311};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const MOGI: &str = env!("CARGO_BIN_EXE_mogi");

fn run(program: &str, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("HOME", "/nonexistent")
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask setup` installs it"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // Who needs no input has closed it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (status.code().unwrap_or(-1), text(&stdout), text(&stderr))
}

fn users_broker(users: &str) -> Broker {
    let conf = "password_file {dir}/pw\nallow_anonymous false\n";
    Broker::setup().conf(conf).file("pw", users).start()
}

#[test]
fn a_file_of_mosquitto_passwd_lets_its_users_in() {
    let broker = users_broker(&passwords(&[("x", "x")]));
    let file = broker.dir().join("pw");
    let file = file.to_str().expect("a path");
    let (code, ..) = run("mosquitto_passwd", &["-b", file, "ann", "secret"], "");
    assert_eq!(code, 0);
    broker.signal(nix::sys::signal::Signal::SIGHUP);
    crate::support::eventually("ann", || {
        broker.dial(&login(V311, "a", "ann", "secret")).recv().code() == 0
    });
}

#[test]
fn mogi_passwd_keeps_files_as_mosquitto_passwd_does() {
    let broker = users_broker("");
    let file = broker.dir().join("made");
    let file = file.to_str().expect("a path");
    let passwd = |args: &[&str], input: &str| {
        let args: Vec<&str> = ["passwd"].iter().chain(args).copied().collect();
        run(MOGI, &args, input)
    };
    let (code, out, _) = passwd(&["-c", "-b", file, "ann", "one"], "");
    assert_eq!((code, &*out), (0, "Adding password for user ann\n"));
    let (code, out, _) = passwd(&[file, "ann"], "two\ntwo\n");
    assert_eq!(code, 0);
    assert_eq!(out, "Password: \nReenter password: \nUpdating password for user ann\n");
    let (code, _, err) = passwd(&[file, "ann"], "two\nthree\n");
    assert_eq!((code, &*err), (2, "Error: Passwords do not match.\n"));
    assert_eq!(passwd(&["-b", "-H", "argon2id", file, "bob", "arg"], "").0, 0);
    assert_eq!(passwd(&["-b", "-H", "sha512", file, "carl", "old"], "").0, 0);
    assert_eq!(passwd(&["-b", file, "zed", "x"], "").0, 0);
    assert_eq!(passwd(&["-D", file, "zed"], "").0, 0);
    let (code, _, err) = passwd(&["-D", file, "zed"], "");
    assert_eq!((code, &*err), (1, "Warning: User zed not found in password file.\n"));
    let (code, _, err) = passwd(&["-c", "-b", file, "ann", "one"], "");
    assert!(code == 1 && err.contains("File exists"), "{err}");
    let text = std::fs::read_to_string(file).expect("read");
    let users: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(users, ["ann", "bob", "carl"]);
    std::fs::write(broker.dir().join("pw"), text).expect("written");
    broker.signal(nix::sys::signal::Signal::SIGHUP);
    for (user, password) in [("ann", "two"), ("bob", "arg"), ("carl", "old")] {
        crate::support::eventually(user, || {
            broker.dial(&login(V5, "a", user, password)).recv().code() == 0
        });
    }
}

fn control_broker() -> Broker {
    let conf = "plugin mosquitto_dynamic_security.so\nplugin_opt_config_file {dir}/dynsec.json\n\
                plugin_opt_password_init_file {dir}/first\nallow_anonymous false\n\
                enable_control_api true\nuser root\n";
    Broker::setup().conf(conf).file("first", "administrator\n").start()
}

/// Runs a program's `dynsec` or `broker` commands as the administrator.
fn ctrl(broker: &Broker, program: &[&str], words: &str) -> (i32, String, String) {
    let port = broker.port().to_string();
    let mut args: Vec<&str> = program[1..].to_vec();
    args.extend(["-h", "127.0.0.1", "-p", &port, "-u", "admin", "-P", "administrator"]);
    args.extend(words.split(' '));
    run(program[0], &args, "")
}

/// Each line: a command of both programs, run one after the other with other names.
const COMMANDS: &str = "\
dynsec getDefaultACLAccess
dynsec createClient NAME -p pw
dynsec createClient NAME -p pw
dynsec createRole NAME
dynsec addRoleACL NAME publishClientSend a/b allow 5
dynsec addClientRole NAME NAME 3
dynsec createGroup NAME
dynsec addGroupRole NAME NAME 2
dynsec addGroupClient NAME NAME
dynsec getClient NAME
dynsec getRole NAME
dynsec getGroup NAME
dynsec getRole none
dynsec removeClientRole NAME NAME
dynsec disableClient NAME
dynsec getAnonymousGroup
dynsec deleteGroup NAME
dynsec deleteRole NAME
dynsec deleteClient NAME
dynsec listClients
dynsec listRoles 2 1
dynsec nonsense";

#[test]
fn mosquitto_ctrl_and_mogi_ctrl_say_the_same() {
    let broker = control_broker();
    for line in COMMANDS.lines() {
        let said = |program: &[&str], name: &str| {
            let (code, out, err) = ctrl(&broker, program, &line.replace("NAME", name));
            // What is said about the missing encryption is Mosquitto 2.1's, and to be seen.
            let err = err.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
            let err = if err.starts_with("This means all") { "" } else { err };
            let err = err.trim_end_matches('.');
            let out = out.replace(" (priority: -1)", "");
            (code, out.replace(name, "NAME"), err.replace(name, "NAME"))
        };
        let theirs = said(&["mosquitto_ctrl"], "one");
        let ours = said(&[MOGI, "ctrl"], "two");
        assert_eq!(ours.0, theirs.0, "{line}: {ours:?} {theirs:?}");
        // 2.0.11 writes some blanks otherwise; by hand the output was compared with 2.1.2.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&ours.1), words(&theirs.1), "{line}");
        assert_eq!(words(&ours.2), words(&theirs.2), "{line}");
    }
}

#[test]
fn strict_makes_a_refusal_an_error() {
    let broker = control_broker();
    let (code, _, err) = ctrl(&broker, &[MOGI, "ctrl"], "dynsec getClient none");
    assert!(code == 0 && err.contains("getClient: Error: Client not found."), "{err}");
    let (code, ..) = ctrl(&broker, &[MOGI, "ctrl", "--strict"], "dynsec getClient none");
    assert_eq!(code, 1);
    let (code, out, _) = ctrl(&broker, &[MOGI, "ctrl"], "broker listListeners");
    assert!(code == 0 && out.contains(&format!("Port:              {}", broker.port())), "{out}");
}

#[test]
fn a_file_of_dynsec_init_is_served() {
    let folder = control_broker();
    let file: &Path = &folder.dir().join("init.json");
    let (code, out, _) = run(
        MOGI,
        &["ctrl", "dynsec", "init", file.to_str().expect("a path"), "boss", "secret"],
        "",
    );
    assert!(code == 0 && out.contains("The client 'boss' has been created"), "{out}");
    let (code, ..) = run(
        MOGI,
        &["ctrl", "-f", file.to_str().expect("a path"), "dynsec", "setClientPassword", "boss", "n"],
        "",
    );
    assert_eq!(code, 0);
    let conf = "plugin mosquitto_dynamic_security.so\nplugin_opt_config_file {dir}/dynsec.json\n";
    let text = std::fs::read_to_string(file).expect("read");
    let broker = Broker::setup().conf(conf).file("dynsec.json", &text).start();
    broker.connect(&login(V5, "c", "boss", "n")).ping();
}
