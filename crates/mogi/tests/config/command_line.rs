//! Arguments: what Mosquitto says about them, and what mogi adds.

use crate::program::{Outcome, Program, other_broker};

const MOSQUITTO_ENDS: &str = "mosquitto version 2.1.2 terminating";
const MOGI: &str = concat!("mogi version ", env!("CARGO_PKG_VERSION"));

#[track_caller]
fn check(outcome: &Outcome, code: i32, stderr: &[&str]) {
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(code), &stderr.map_to_owned()[..]));
}

trait MapToOwned {
    fn map_to_owned(&self) -> Vec<String>;
}

impl MapToOwned for [&str] {
    fn map_to_owned(&self) -> Vec<String> {
        self.iter().map(|&line| line.to_owned()).collect()
    }
}

#[test]
fn help_and_version_are_printed_and_end_well() {
    let program = Program::mosquitto();
    for flag in ["-h", "--help"] {
        let outcome = program.run(&[flag]);
        check(&outcome, 0, &[MOSQUITTO_ENDS]);
        let head = "mosquitto version 2.1.2\n\nmosquitto is an MQTT v5.0/v3.1.1/v3.1 broker.\n\n\
                    Usage: mosquitto [-c ";
        assert!(outcome.stdout.starts_with(head), "{}", outcome.stdout);
    }
    let outcome = program.run(&["--version"]);
    check(&outcome, 0, &[MOSQUITTO_ENDS]);
    assert!(outcome.stdout.starts_with("mosquitto 2.1.2\n"), "{}", outcome.stdout);
}

#[test]
fn mogi_has_a_name_of_its_own() {
    if other_broker() {
        return;
    }
    let program = Program::mogi();
    let ends = format!("{MOGI} terminating");
    let outcome = program.run(&["--help"]);
    check(&outcome, 0, &[&ends]);
    assert!(outcome.stdout.starts_with(&format!("{MOGI}\n\nmogi is an MQTT")));
    let outcome = program.run(&["--version"]);
    let first = format!("mogi {}\n", env!("CARGO_PKG_VERSION"));
    assert!(outcome.stdout.starts_with(&first), "{}", outcome.stdout);
}

#[test]
fn what_is_wrong_with_arguments_is_told_in_mosquittos_words() {
    let program = Program::mosquitto();
    program.file("wrong.conf", "nonsense 1\n").file("good.conf", "sys_interval 3\n");
    let many = ["-p", "1"].repeat(11);
    let cases: &[(&[&str], &[&str])] = &[
        (&["-c"], &["Error: -c argument given, but no config file specified."]),
        (&["--config-file"], &["Error: -c argument given, but no config file specified."]),
        (&["-p"], &["Error: -p argument given, but no port specified."]),
        (&["--port"], &["Error: -p argument given, but no port specified."]),
        (&["-p", "0"], &["Error: Invalid port specified (0)."]),
        (&["-p", "-1"], &["Error: Invalid port specified (-1)."]),
        (&["-p", "65536"], &["Error: Invalid port specified (65536)."]),
        (&["-p", "mqtt"], &["Error: Invalid port specified (0)."]),
        (&many, &["Error: Only 10 ports can be specified on the command line."]),
        (&["--tls-keylog"], &["Error: --tls-keylog argument given, but no file specified."]),
        (&["--test-config"], &["Please provide a configuration file to test."]),
        (&["-d", "--test-config"], &["Please provide a configuration file to test."]),
        (&["-c", "none.conf"], &["Error: Unable to open config file 'none.conf'."]),
        (&["-c", "."], &["Error: Config file '.' is a directory."]),
        (
            &["-c", "wrong.conf"],
            &["Error: Unknown configuration variable 'nonsense'.", "Error found at wrong.conf:1."],
        ),
        // The first problem counts, and -c is read where it stands.
        (&["-c", "none.conf", "--help"], &["Error: Unable to open config file 'none.conf'."]),
        (&["-c", "none.conf", "-z"], &["Error: Unable to open config file 'none.conf'."]),
        (&["-q", "-c", "none.conf"], &["Error: Unable to open config file 'none.conf'."]),
        (&["-p", "0", "-c", "none.conf"], &["Error: Invalid port specified (0)."]),
    ];
    for (args, said) in cases {
        let outcome = program.run(args);
        let mut expected = said.map_to_owned();
        expected.push(MOSQUITTO_ENDS.to_owned());
        assert_eq!((outcome.code, outcome.stderr), (Some(3), expected), "{args:?}");
        assert_eq!(outcome.stdout, "", "{args:?}");
    }
    check(&program.run(&["--help", "-c", "none.conf"]), 0, &[MOSQUITTO_ENDS]);
    let good = program.run(&["--test-config", "-v", "-q", "-c", "good.conf"]);
    check(&good, 0, &["Configuration file is OK.", MOSQUITTO_ENDS]);
}

#[test]
fn options_that_do_not_exist_are_named() {
    let program = Program::mosquitto();
    for option in ["-x", "--nonsense", "-vq", "-p1883", "word", ""] {
        let outcome = program.run(&[option]);
        check(&outcome, 3, &[&format!("Error: Unknown option '{option}'."), MOSQUITTO_ENDS]);
        assert!(outcome.stdout.contains("Usage: mosquitto [-c "), "{}", outcome.stdout);
    }
}

#[test]
fn a_test_of_a_configuration_says_what_its_listeners_do() {
    let program = Program::mosquitto();
    let outcome = program.test("listener 1884 127.0.0.1\nallow_anonymous true\n");
    check(&outcome, 0, &["Configuration file is OK.", MOSQUITTO_ENDS]);
    if !other_broker() {
        assert_eq!(
            outcome.stdout,
            "test.conf:1: port 1884 on 127.0.0.1, MQTT 3.1, 3.1.1, 5.0; lets in clients without a \
             user name\n"
        );
    }
}

#[test]
fn mogis_own_files_and_flags() {
    if other_broker() {
        return;
    }
    let program = Program::mogi();
    let ends = format!("{MOGI} terminating");
    program.file("mogi.conf", "worker_threads 65\n");
    let lines = |file: &str, line: &str, end: &str| {
        [format!("Loading config file '{file}'"), line.to_owned(), end.to_owned()]
    };
    let wrong = lines(
        "mogi.conf",
        "Error: 'worker_threads' must be between 0 and 64 inclusive.",
        "Error found at mogi.conf:1.",
    );
    let outcome = program.test("listener 1\n");
    assert_eq!((outcome.code, &outcome.stderr[..3]), (Some(3), &wrong[..]));
    program.file("other.conf", "worker_threads 2\n");
    let outcome = program.run(&["-c", "test.conf", "--mogi-config", "other.conf", "--test-config"]);
    let ok = lines("other.conf", "Configuration file is OK.", &ends);
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), &ok[..]));
    let missing = "Error: --mogi-config argument given, but no file specified.";
    check(&program.run(&["--mogi-config"]), 3, &[missing, &ends]);
}

#[test]
fn options_can_be_listed_into_a_closed_pipe() {
    if other_broker() {
        return;
    }
    let program = Program::mogi();
    let page = include_str!("../../../../docs/configuration.md");
    let outcome = program.run(&["--list-options"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), page));
    let script = format!("'{}' --list-options | true", env!("CARGO_BIN_EXE_mogi"));
    let output = std::process::Command::new("sh").args(["-c", &script]).output();
    assert_eq!(output.expect("a shell").stderr, b"");
}
