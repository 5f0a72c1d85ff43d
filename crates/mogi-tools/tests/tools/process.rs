//! Running a tool in a process of its own.
//!
//! The process is this test program again, told to run one "test" that becomes the tool: so the
//! tool is always the one these tests were built with.

use std::io::Write;
use std::process::{Child, Command, Stdio};

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Between what the test runner prints and what the tool prints.
const MARK: &str = "\u{1}the tool begins\u{1}\n";

/// Between two arguments.
const BETWEEN: &str = "\u{1f}";

const ARGS: &str = "MOGI_TEST_TOOL_ARGS";

/// Runs the tool to its end. The arguments are separated by blanks; `{port}` is the port.
pub(crate) fn run(port: u16, args: &str) -> Ran {
    run_with(port, args, b"")
}

pub(crate) fn run_with(port: u16, args: &str, stdin: &[u8]) -> Ran {
    let words: Vec<_> = args.split(' ').map(str::to_owned).collect();
    run_words(port, &words, stdin, &[])
}

pub(crate) fn run_words(port: u16, words: &[String], stdin: &[u8], env: &[(&str, &str)]) -> Ran {
    let mut child = start(port, words, env);
    let mut input = child.stdin.take().expect("a pipe");
    // A tool that reads nothing may be gone by now.
    let _ = input.write_all(stdin);
    drop(input);
    finish(child)
}

pub(crate) fn start(port: u16, words: &[String], env: &[(&str, &str)]) -> Child {
    let mut args: Vec<String> = words.to_vec();
    if port != 0 {
        args.splice(1..1, ["-p".to_owned(), port.to_string()]);
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--ignored", "--exact", "process::tool", "--nocapture"])
        .env(ARGS, args.join(BETWEEN))
        .env("HOME", "/nonexistent")
        .env("TZ", "UTC")
        .env_remove("XDG_CONFIG_HOME")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("a process")
}

pub(crate) fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().expect("an end");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, stdout) = stdout.split_once(MARK).expect("the tool has begun");
    Ran {
        // A shell says 128 + signal.
        code: output.status.code().unwrap_or(128),
        stdout: stdout.to_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
#[ignore = "not a test: the tool, which the tests start"]
fn tool() {
    let args = std::env::var(ARGS).expect("started by a test");
    let mut args = args.split(BETWEEN).map(std::ffi::OsString::from);
    let name = args.next().expect("a tool");
    let name = name.to_str().expect("UTF-8");
    let argv0 = format!("mogi {name}");
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(MARK.as_bytes()).expect("a pipe");
    stdout.flush().expect("a pipe");
    drop(stdout);
    let run = match name {
        "pub" => mogi_tools::pub_main,
        "sub" => mogi_tools::sub_main,
        _ => mogi_tools::rr_main,
    };
    std::process::exit(run(argv0, args.collect()));
}
