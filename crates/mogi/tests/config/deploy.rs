//! The files in `deploy`: what they configure is valid.

use super::program::{Program, other_broker};
use std::fs;
use std::path::Path;
use std::process::Command;

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
    fs::read_to_string(path).expect("a file of deploy/ is missing")
}

#[test]
fn the_files_are_valid() {
    for name in ["mogi.conf", "container.conf"] {
        let outcome = Program::mogi().test(deployed(name));
        assert_eq!(outcome.code, Some(0), "{name}: {:?}", outcome.stderr);
    }
}

/// Runs what a container of compose.yaml runs, but for the start of the broker.
#[test]
fn what_compose_makes_up_is_valid() {
    if other_broker() {
        return;
    }
    let compose = deployed("compose.yaml");
    let (_, script) = compose.split_once("    - |\n").expect("the brokers have no script");
    let script: String = script
        .lines()
        .take_while(|line| line.starts_with("      "))
        .map(|line| line.trim_start().to_owned() + "\n")
        .collect();
    assert!(script.contains("exec mogi -c"), "this is not the brokers': {script}");
    let program = Program::mogi();
    let dir = program.path("");
    // Compose makes one dollar of two.
    let script = script
        .replace("$$", "$")
        .replace("/tmp", &dir.to_string_lossy())
        .replace("exec mogi", &format!("exec {} --test-config", env!("CARGO_BIN_EXE_mogi")));
    let output = Command::new("sh").args(["-c", &script]).env("NODE", "n1").output();
    let output = output.expect("cannot run sh");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    for line in ["cluster_node_id n1\n", "cluster_advertise n1:1884\n"] {
        assert!(program.content("mogi.conf").contains(line), "{}", program.content("mogi.conf"));
    }
}
