//! The program under test, in a folder of its own.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything that has to come may take: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether these tests run against another broker, so that what is mogi's own does not hold.
pub(crate) fn other_broker() -> bool {
    std::env::var_os("MOGI_TEST_BROKER").is_some()
}

/// Whether we are root, so that the broker becomes somebody else.
pub(crate) fn root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Asks `condition` until it holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder, and the program to run in it.
pub(crate) struct Program {
    dir: PathBuf,
    name: &'static str,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    /// The lines on stderr, without the seconds before each.
    pub(crate) stderr: Vec<String>,
}

impl Program {
    /// As it is when called `mosquitto`: everything it prints is Mosquitto's then.
    pub(crate) fn mosquitto() -> Self {
        Self::called("mosquitto")
    }

    /// As it is when called `mogi`.
    pub(crate) fn mogi() -> Self {
        Self::called("mogi")
    }

    fn called(name: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("config-{}-{count}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        // What a killed run with the same process id left behind.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("cannot make a folder");
        Self { dir, name }
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The content of a file of the folder; nothing where it is not there.
    pub(crate) fn content(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a file into the folder.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), content).expect("cannot write a file");
        self
    }

    /// Runs it with these arguments until it ends.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        let output = self.command(args).output().expect("cannot run the program");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: lines(&stderr),
        }
    }

    /// Runs it with this `test.conf` and `--test-config`.
    pub(crate) fn test(&self, conf: impl AsRef<[u8]>) -> Outcome {
        self.file("test.conf", conf).run(&["-c", "test.conf", "--test-config"])
    }

    /// Starts it with these arguments, and returns while it runs.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Running<'_> {
        let file = |name| File::create(self.path(name)).expect("cannot write a file");
        let mut command = self.command(args);
        command.stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().expect("cannot run the program");
        Running { program: self, child }
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let program = std::env::var_os("MOGI_TEST_BROKER");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_mogi").into());
        let mut command = Command::new(program);
        command.arg0(self.name).args(args);
        command.current_dir(&self.dir).stdin(Stdio::null());
        command
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A folder that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A broker that runs. It is killed when dropped.
pub(crate) struct Running<'a> {
    program: &'a Program,
    child: Child,
}

impl Running<'_> {
    /// What it has printed on stderr so far, without the seconds before each line.
    pub(crate) fn stderr(&self) -> Vec<String> {
        lines(&self.program.content("stderr"))
    }

    /// Waits for a line on stderr that ends so.
    #[track_caller]
    pub(crate) fn expect(&self, end: &str) {
        eventually(&format!("{end:?} on stderr"), || {
            self.stderr().iter().any(|line| line.ends_with(end))
        });
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("cannot signal the program");
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a pid fits"))
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Outcome {
        let mut status = None;
        eventually("the program's end", || {
            status = self.child.try_wait().expect("cannot wait for the program");
            status.is_some()
        });
        Outcome {
            code: status.and_then(|status| status.code()),
            stdout: self.program.content("stdout"),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| untimed(line).to_owned()).collect()
}

/// A line of the log without the seconds it begins with.
fn untimed(line: &str) -> &str {
    match line.split_once(": ") {
        Some((time, rest)) if !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => line,
    }
}
