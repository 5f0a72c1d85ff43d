//! The program under test, as a process with a folder of its own.

use super::relay::{self, Over};
use super::{Client, Dial, PATIENCE, Version};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Names another program to run the scenarios against.
const OTHER: &str = "MOGI_TEST_BROKER";

/// Another test may take the port between our asking for a free one and the broker's binding it.
const PORT_ATTEMPTS: u32 = 10;

/// Whether the scenarios run against another broker, so that what is mogi's own does not hold.
pub fn other_broker() -> bool {
    std::env::var_os(OTHER).is_some()
}

/// A running broker. It is killed, and its folder removed, when dropped; a failing test prints
/// its log.
pub struct Broker {
    child: Child,
    setup: Setup,
    port: u16,
    dir: PathBuf,
    exited: Option<ExitStatus>,
    /// Where clients connect to instead, where another transport carries them.
    relay: Option<SocketAddr>,
}

impl Broker {
    /// Starts a broker with `conf` on a free port of the loopback interface, and waits until it
    /// accepts connections. See [`Setup::conf`] for what is added to `conf`.
    #[track_caller]
    pub fn start(conf: &str) -> Self {
        Self::setup().conf(conf).start()
    }

    /// A broker that needs more than a configuration file.
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// Connects a client with a clean session.
    #[track_caller]
    pub fn client(&self, version: Version, client_id: &str) -> Client {
        self.connect(&Dial::new(version, client_id))
    }

    /// Connects as `dial` says; the answer has to be success.
    #[track_caller]
    pub fn connect(&self, dial: &Dial) -> Client {
        let mut client = self.dial(dial);
        client.expect_connected();
        client
    }

    /// Sends `dial`'s CONNECT; the answer is up to the caller.
    #[track_caller]
    pub fn dial(&self, dial: &Dial) -> Client {
        let mut client = self.open(dial.version);
        client.send(&dial.bytes());
        client
    }

    /// A connection on which nothing has been sent. `version` is how packets are read.
    #[track_caller]
    pub fn open(&self, version: Version) -> Client {
        Client::open(self.address(), version)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.relay.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    /// The port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A folder of this broker's own, for files a configuration names.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        read_lossy(&self.dir.join("log"))
    }

    /// Waits until the log contains `text`.
    #[track_caller]
    pub fn expect_log(&self, text: &str) {
        super::eventually(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// Resident memory, in bytes.
    pub fn rss(&self) -> u64 {
        let status = self.proc("status");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok());
        kib.expect("no VmRSS in /proc/PID/status") * 1024
    }

    /// How many file descriptors are open.
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        fs::read_dir(path).expect("the broker is gone").count()
    }

    /// Processor time used so far, by all threads, in user and kernel mode. The kernel counts in
    /// hundredths of a second.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field is the program's name in parentheses and may hold blanks; user and
        // system time are the 14th and the 15th.
        let after_name = stat.rsplit(") ").next().expect("odd /proc/PID/stat");
        let ticks = after_name.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().expect("a pid fits"));
        kill(pid, signal).expect("cannot signal the broker");
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Takes it down without warning (SIGKILL).
    pub fn kill(&mut self) {
        if self.exited.is_none() {
            self.child.kill().expect("cannot kill the broker");
            self.exited = Some(self.child.wait().expect("cannot wait for the broker"));
        }
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        super::eventually("the broker's end", || self.has_exited());
        self.exited.expect("it has ended")
    }

    /// Starts it again with the same files on the same port, after [`Broker::stop`] or
    /// [`Broker::kill`].
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.has_exited(), "the broker still runs");
        self.child = self.setup.spawn(&self.dir, self.port);
        self.exited = None;
        assert!(self.wait_ready(), "no second start:\n{}", self.log());
    }

    fn has_exited(&mut self) -> bool {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("cannot wait for the broker");
        }
        self.exited.is_some()
    }

    /// Whether the broker came to accept connections, and not to its end. Nothing connects to
    /// find out: a scenario counts its connections from 1.
    #[track_caller]
    fn wait_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !self.listens() {
            if self.has_exited() {
                return false;
            }
            let log = self.log();
            assert!(Instant::now() < deadline, "the broker does not listen:\n{log}");
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Whether one of the broker's sockets listens on its port.
    fn listens(&self) -> bool {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        let sockets: String = tables.into_iter().flatten().collect();
        let end_of_address = format!(":{:04X}", self.port);
        let inodes = sockets.lines().filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            // Local address, state (0A: listening) and inode, see proc(5).
            match fields[..] {
                [_, local, _, "0A", _, _, _, _, _, inode, ..]
                    if local.ends_with(&end_of_address) =>
                {
                    Some(format!("socket:[{inode}]"))
                }
                _ => None,
            }
        });
        let inodes: Vec<_> = inodes.collect();
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        files.is_ok_and(|files| {
            files
                .flatten()
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|target| inodes.iter().any(|inode| target == Path::new(inode)))
        })
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(path).expect("the broker is gone")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the broker's log, {}:\n{}", self.dir.display(), self.log());
        } else {
            // A folder that stays is no reason to fail.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A broker that is not started yet.
#[derive(Clone, Default)]
pub struct Setup {
    conf: Option<String>,
    own: String,
    args: Vec<String>,
    wrapper: Vec<String>,
    files: Vec<(String, String)>,
    program: Option<PathBuf>,
    over: Over,
}

impl Setup {
    /// The configuration file. The listener and `allow_anonymous true` are put before it, each
    /// only where `conf` does not speak of it; `{port}` becomes the port and `{dir}` the
    /// broker's folder.
    pub fn conf(mut self, conf: &str) -> Self {
        self.conf = Some(conf.to_owned());
        self
    }

    /// What carries MQTT to its listener.
    pub fn over(mut self, over: Over) -> Self {
        self.over = over;
        self.files.extend(over.files());
        self
    }

    /// Another program than the one under test.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_owned());
        self
    }

    /// Options that are mogi's own (`worker_threads`), in a `mogi.conf` beside the other file.
    /// Another broker is not shown them.
    pub fn own(mut self, conf: &str) -> Self {
        conf.clone_into(&mut self.own);
        self
    }

    /// More arguments of the command line.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// A command that runs the program, which stands behind it with its arguments. It has to
    /// `exec` it: signals go to the process that was started.
    pub fn wrapper(mut self, command: &[&str]) -> Self {
        self.wrapper = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// A file in the broker's folder.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Starts it, and waits until it accepts connections. Without [`Setup::conf`] it gets no
    /// configuration file, only `-p PORT`: Mosquitto's local-only mode.
    #[track_caller]
    pub fn start(self) -> Broker {
        let dir = fresh_dir();
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            let mut broker = Broker {
                child: self.spawn(&dir, port),
                setup: self.clone(),
                port,
                dir: dir.clone(),
                exited: None,
                relay: None,
            };
            if broker.wait_ready() {
                if self.over != Over::Tcp {
                    broker.relay = Some(relay::start(self.over, port, &dir));
                }
                return broker;
            }
            let log = broker.log();
            assert!(log.contains("in use"), "the broker did not start:\n{log}");
        }
        panic!("found no free port in {PORT_ATTEMPTS} attempts");
    }

    /// Runs the program to its end, for what it does not start with: its exit status and log.
    #[track_caller]
    pub fn run(self) -> (ExitStatus, String) {
        let dir = fresh_dir();
        let port = free_port();
        let child = self.spawn(&dir, port);
        let mut broker = Broker { child, setup: self, port, dir, exited: None, relay: None };
        let status = broker.wait();
        (status, broker.log())
    }

    fn spawn(&self, dir: &Path, port: u16) -> Child {
        fs::create_dir_all(dir).expect("cannot make the broker's folder");
        let fill = |text: &str| {
            let dir = dir.to_str().expect("a folder in UTF-8");
            text.replace("{port}", &port.to_string()).replace("{dir}", dir)
        };
        for (name, text) in &self.files {
            fs::write(dir.join(name), fill(text)).expect("cannot write a file");
        }
        let log = dir.join("log");
        let log = File::options().create(true).append(true).open(log).expect("cannot log");
        let mogi = || env!("CARGO_BIN_EXE_mogi").into();
        let tested = || std::env::var_os(OTHER).unwrap_or_else(mogi);
        let program = self.program.clone().map_or_else(tested, PathBuf::into_os_string);
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        if let Some(conf) = &self.conf {
            let path = dir.join("mosquitto.conf");
            fs::write(&path, fill(&complete(conf, self.over)))
                .expect("cannot write the configuration");
            command.arg("-c").arg(path);
        } else {
            command.arg("-p").arg(port.to_string());
        }
        if !self.own.is_empty() && !other_broker() {
            fs::write(dir.join("mogi.conf"), fill(&self.own)).expect("cannot write mogi.conf");
        }
        command.args(self.args.iter().map(|arg| fill(arg)));
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("cannot log")).stderr(log);
        command.current_dir(dir);
        command.spawn().expect("cannot run the broker")
    }
}

/// `conf` with what every scenario wants, where it does not say otherwise.
fn complete(conf: &str, over: Over) -> String {
    let mut whole = String::new();
    let speaks_of = |name: &str| conf.lines().any(|line| line.split(' ').next() == Some(name));
    if !speaks_of("listener") {
        whole.push_str("listener {port} 127.0.0.1\n");
        whole.push_str(over.lines());
    }
    if !speaks_of("allow_anonymous") {
        whole.push_str("allow_anonymous true\n");
    }
    whole.push_str(conf);
    whole
}

fn fresh_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("broker-{}-{count}", std::process::id());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // What a killed run with the same process id left behind.
    let _ = fs::remove_dir_all(&dir);
    dir
}

/// A port of the loopback interface that nobody has, or had a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn read_lossy(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
