//! The life of the process: its first and last words, files, signals, the background.

use crate::program::{Outcome, Program, eventually, free_port, other_broker, root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt;

const RUNNING: &str = "mosquitto version 2.1.2 running";
/// What mogi says besides: it is no news to users of Mosquitto that forgets, but to those of mogi.
const IN_MEMORY: &str = "State is kept in memory only and ends with the broker. To keep it, set \
                         'persistence true' and 'persistence_location', or start with \
                         --data-dir DIR.";

/// The lines on stderr but for those about the user it runs as, which root alone sees, and about
/// what else Mosquitto was built with.
fn said(outcome: &Outcome) -> Vec<&str> {
    let about_user = ["Info: running mosquitto as user: ", "Warning: Mosquitto should not be run"];
    let lines = outcome.stderr.iter().map(String::as_str);
    lines
        .filter(|line| !about_user.iter().any(|start| line.starts_with(start)))
        .filter(|line| !line.contains("Unable to drop privileges to 'mosquitto'"))
        .filter(|line| !line.ends_with("support available."))
        .collect()
}

/// The configuration of a broker that stays who it is, and so may write into its folder.
fn conf(port: u16, more: &str) -> String {
    format!("user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n{more}")
}

#[test]
fn the_first_and_last_words_are_mosquittos() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let program = Program::mosquitto();
        let port = free_port();
        program.file("test.conf", conf(port, ""));
        let running = program.start(&["-c", "test.conf"]);
        running.expect(RUNNING);
        running.signal(signal);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(0));
        assert_eq!(
            said(&outcome),
            [
                "mosquitto version 2.1.2 starting",
                "Config loaded from test.conf.",
                IN_MEMORY,
                &format!("Opening ipv4 listen socket on port {port}."),
                RUNNING,
                "mosquitto version 2.1.2 terminating",
            ]
        );
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn without_a_file_it_is_there_for_this_machine() {
    let program = Program::mosquitto();
    let port = free_port();
    let running = program.start(&["-p", &port.to_string()]);
    running.expect(RUNNING);
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    let documentation = "https://mosquitto.org/documentation/authentication-methods/";
    assert_eq!(
        said(&outcome)[..7],
        [
            "mosquitto version 2.1.2 starting",
            "Using default config.",
            IN_MEMORY,
            "Starting in local only mode. Connections will only be possible from clients running \
             on this machine.",
            "Create a configuration file which defines a listener to allow remote access.",
            &format!("For more details see {documentation}"),
            &format!("Opening ipv4 listen socket on port {port}."),
        ]
    );
}

#[test]
fn as_mogi_it_says_mogi() {
    if other_broker() {
        return;
    }
    let program = Program::mogi();
    program.file("test.conf", conf(free_port(), ""));
    let running = program.start(&["-c", "test.conf"]);
    running.expect(concat!("mogi version ", env!("CARGO_PKG_VERSION"), " running"));
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    assert!(!outcome.stderr.iter().any(|line| line.to_lowercase().contains("mosquitto")));
}

#[test]
fn an_address_in_use_ends_the_start() {
    let program = Program::mosquitto();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    program.file("test.conf", conf(port, ""));
    let outcome = program.run(&["-c", "test.conf"]);
    assert_eq!(outcome.code, Some(1));
    let lines = said(&outcome);
    assert!(lines.iter().any(|line| line.starts_with("Error: Address already in use")));
    assert_eq!(lines.last(), Some(&"mosquitto version 2.1.2 terminating"));
}

#[test]
fn a_pid_file_lives_as_long_as_the_process() {
    let program = Program::mosquitto();
    program.file("test.conf", conf(free_port(), "pid_file my pid\n"));
    let running = program.start(&["-c", "test.conf"]);
    running.expect(RUNNING);
    let written = program.content("my pid");
    if !other_broker() {
        // Mosquitto's packages may start it through a wrapper.
        assert_eq!(written, running.pid().to_string());
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    assert!(!program.path("my pid").exists());
    program.file("test.conf", conf(free_port(), "pid_file no/such/folder\n"));
    let outcome = program.run(&["-c", "test.conf"]);
    assert_eq!(outcome.code, Some(14));
    assert!(said(&outcome)[0].starts_with("Error: Unable to write pid file"));
}

#[test]
fn a_log_file_takes_the_lines_and_is_opened_anew() {
    let program = Program::mosquitto();
    let more = "log_dest file the log\nlog_timestamp_format at %Y\n";
    program.file("test.conf", conf(free_port(), more));
    let running = program.start(&["-c", "test.conf"]);
    eventually("the log begins", || program.content("the log").contains("running\n"));
    let log = program.content("the log");
    assert!(log.starts_with("at 20") && log.contains(": mosquitto version 2.1.2 starting\n"));
    let mode = std::fs::metadata(program.path("the log")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::rename(program.path("the log"), program.path("moved")).expect("renamed");
    running.signal(Signal::SIGHUP);
    eventually("a new log", || program.path("the log").exists());
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    let stderr: Vec<_> = outcome.stderr.iter().filter(|line| line.contains("version")).collect();
    assert!(stderr.is_empty(), "{stderr:?}");
    assert!(program.content("the log").ends_with(": mosquitto version 2.1.2 terminating\n"));
    assert!(!program.content("moved").contains("terminating"));
}

#[test]
fn a_log_file_that_cannot_be_written_is_told_and_endured() {
    let program = Program::mosquitto();
    let port = free_port();
    program.file("test.conf", conf(port, "log_dest file no/such/folder\n"));
    let running = program.start(&["-c", "test.conf"]);
    running.expect(if other_broker() { "for writing." } else { RUNNING });
    eventually("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0));
    let problem = "Error: Unable to open log file no/such/folder for writing";
    assert!(said(&outcome)[0].starts_with(problem), "{outcome:?}");
}

#[test]
fn quiet_is_quiet() {
    let program = Program::mosquitto();
    let port = free_port();
    program.file("test.conf", conf(port, "log_type all\n"));
    let running = program.start(&["-v", "-q", "-c", "test.conf"]);
    eventually("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    assert_eq!((outcome.code, said(&outcome)), (Some(0), Vec::new()));
}

#[test]
fn root_becomes_somebody_else() {
    if !root() {
        return;
    }
    let program = Program::mosquitto();
    let uid_line = "Uid:\t65534\t65534\t65534\t65534";
    let nobody = conf(free_port(), "user nobody\n");
    program.file("test.conf", nobody);
    let running = program.start(&["-c", "test.conf"]);
    running.expect(RUNNING);
    assert_eq!(running.stderr()[0], "Info: running mosquitto as user: nobody.");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid()));
    assert!(status.expect("it runs").contains(uid_line));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    program.file("test.conf", conf(free_port(), "user no_such_user\n"));
    let outcome = program.run(&["-c", "test.conf"]);
    assert_eq!(outcome.code, Some(3));
    assert_eq!(
        said(&outcome),
        [
            "Error: Unable to drop privileges to 'no_such_user' because this user does not exist.",
            "mosquitto version 2.1.2 terminating",
        ]
    );
}

#[test]
fn signals_with_nothing_to_do_end_nothing() {
    let program = Program::mosquitto();
    let port = free_port();
    program.file("test.conf", conf(port, ""));
    let running = program.start(&["-c", "test.conf"]);
    running.expect(RUNNING);
    running.signal(Signal::SIGPIPE);
    running.signal(Signal::SIGUSR1);
    running.signal(Signal::SIGHUP);
    running.expect("Reloading config.");
    running.signal(Signal::SIGUSR2);
    std::net::TcpStream::connect(("127.0.0.1", port)).expect("it still listens");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
}

/// Kills a process that is not our child.
struct Background(Pid);

impl Drop for Background {
    fn drop(&mut self) {
        // It has ended, unless a test failed.
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[test]
fn it_goes_into_the_background() {
    let program = Program::mosquitto();
    let port = free_port();
    program.file("test.conf", conf(port, "pid_file pid\nlog_dest file log\n"));
    let outcome = program.run(&["-d", "-c", "test.conf"]);
    assert_eq!(outcome.code, Some(0));
    eventually("it runs", || program.content("log").contains("running\n"));
    let pid = program.content("pid").parse().expect("a process id");
    let background = Background(Pid::from_raw(pid));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let session = fields[3];
    assert_eq!(session, pid.to_string(), "a session of its own: {stat}");
    let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("it runs");
    assert_eq!(folder, program.path("").canonicalize().expect("a folder"));
    kill(background.0, Signal::SIGTERM).expect("it runs");
    eventually("its end", || !program.path("pid").exists());
    eventually("its last word", || program.content("log").ends_with("terminating\n"));
}
