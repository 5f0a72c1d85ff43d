//! Redis servers of a test's own, and load on them whose outcome can be checked.

use mogi_store::redis::wire::{
    Cluster, Commands, Notice, Options, Outcome, Reply, Request, SLOTS, Trouble, Value, slot_of,
};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Nobody waits longer for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Servers started by `deploy/local-cluster`. They end with this value, however the test ends.
pub(crate) struct Servers {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
    /// Stops them when its standard input ends.
    guard: Child,
}

impl Servers {
    /// Starts with these options, on ports that are free.
    pub(crate) fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_ports();
        let number = port.to_string();
        let mut guard = Command::new("sh")
            .args(["-c", "cat >/dev/null; exec \"$1\" stop \"$2\"", "guard"])
            .args([script().as_path(), dir.path()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut start = Command::new(script());
        start.arg("start").arg(dir.path()).args(["--port", &number]).args(options);
        if !start.status().expect("the script").success() {
            drop(guard.stdin.take());
            panic!("no servers");
        }
        Self { dir, port, guard }
    }

    /// Starts again what does not run.
    pub(crate) fn restart(&self) {
        let mut start = Command::new(script());
        assert!(start.arg("start").arg(self.dir.path()).status().expect("the script").success());
    }

    /// Sends a signal, such as `KILL`, to the node of this index.
    pub(crate) fn signal(&self, index: u16, signal: &str) {
        let file = self.dir.path().join((self.port + index).to_string()).join("redis.pid");
        let pid = std::fs::read_to_string(file).expect("a process");
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number"));
        let signal = format!("SIG{signal}").parse().expect("a signal");
        nix::sys::signal::kill::<nix::sys::signal::Signal>(pid, signal).expect("sent");
    }

    /// Asks the node of this index with `redis-cli`.
    pub(crate) fn cli(&self, index: u16, words: &[&str]) -> String {
        let port = (self.port + index).to_string();
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-h", "127.0.0.1", "-p", &port]).args(words).output();
        String::from_utf8_lossy(&output.expect("redis-cli").stdout).trim().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> Options {
        Options::from_url(&self.url()).expect("an address")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local-cluster")
}

/// The first of enough free ports below those the system gives away. Tests run in processes of
/// their own at the same time, and each begins to search elsewhere.
fn free_ports() -> u16 {
    let start = std::process::id() % 100;
    let bases = (0..100).map(|try_| 20_000 + ((start + try_ * 7) % 100) as u16 * 100);
    let free = |base: &u16| {
        let ports = (*base..*base + 8).chain(*base + 50..*base + 58);
        let held: Vec<_> = ports.map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        held.iter().all(Result::is_ok)
    };
    bases.into_iter().find(free).expect("free ports")
}

/// What the wire layer told.
#[derive(Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    pub(crate) fn all(&self) -> Vec<Notice> {
        self.0.lock().expect("no panic").clone()
    }

    /// Whether a trouble was told that this is true of.
    pub(crate) fn degraded(&self, what: impl Fn(&Trouble) -> bool) -> bool {
        self.all().iter().any(|it| matches!(it, Notice::Degraded { why, .. } if what(why)))
    }

    /// As many troubles have ended as have begun.
    pub(crate) fn settled(&self) -> bool {
        let all = self.all();
        let begun = all.iter().filter(|it| matches!(it, Notice::Degraded { .. })).count();
        let over = all.iter().filter(|it| matches!(it, Notice::Recovered { .. })).count();
        begun == over
    }
}

/// Connects; tells what it hears on standard error, too.
pub(crate) fn connect(options: Options) -> (Arc<Cluster>, Notices) {
    let notices = Notices::default();
    let heard = notices.clone();
    let start = Instant::now();
    let cluster = Cluster::start(options, move |notice| {
        let at = start.elapsed().as_secs_f64();
        drop(writeln!(std::io::stderr(), "{at:.2} s: {notice}"));
        heard.0.lock().expect("no panic").push(notice);
    });
    (Arc::new(cluster.expect("started")), notices)
}

/// Waits until it is so.
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(10));
    }
}

/// One command in the slot of its second word.
pub(crate) fn request(words: &[&str]) -> Request {
    let bytes: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
    Request::new(slot_of(words.get(1).unwrap_or(&"").as_bytes()), Commands::one(&bytes))
}

/// Sends one request, and waits for its reply.
pub(crate) fn call(cluster: &Cluster, request: Request) -> Reply {
    cluster.call(vec![request], PATIENCE).expect("a reply").remove(0)
}

/// The only value of a one-command request.
pub(crate) fn value(cluster: &Cluster, words: &[&str]) -> Value {
    call(cluster, request(words)).values.remove(0)
}

/// Sends one request; whether it is answered shows later.
pub(crate) fn send(cluster: &Cluster, request: Request) -> mpsc::Receiver<Outcome> {
    let (sender, receiver) = mpsc::channel();
    cluster.send(request, move |outcome| drop(sender.send(outcome)));
    receiver
}

/// Keys with slots in this range.
pub(crate) fn keys(count: usize, slots: std::ops::Range<u16>) -> Vec<String> {
    let names = (0..).map(|number| format!("list:{{{number}}}"));
    names.filter(|name| slots.contains(&slot_of(name.as_bytes()))).take(count).collect()
}

/// Keys in slots of the master of this index, of three.
pub(crate) fn keys_of(count: usize, master: u16) -> Vec<String> {
    let third = |index: u16| (u32::from(index) * u32::from(SLOTS) / 3) as u16;
    keys(count, third(master)..third(master + 1))
}

/// What became of one number.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: usize,
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    pub(crate) again: bool,
}

/// Numbers that are appended to lists, each list's in order, as fast as they are answered.
pub(crate) struct Load {
    keys: Vec<String>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Record>>,
}

/// How requests of a load are sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct How {
    pub(crate) durable: bool,
    /// Two keys in one transaction.
    pub(crate) atomic: bool,
}

impl Load {
    pub(crate) fn start(cluster: &Arc<Cluster>, keys: Vec<String>, how: How) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let (cluster, names, stopped) = (Arc::clone(cluster), keys.clone(), Arc::clone(&stop));
        let count = Arc::clone(&answered);
        let thread = std::thread::spawn(move || run(&cluster, &names, how, &stopped, &count));
        Self { keys, stop, answered, thread }
    }

    /// Waits until so many more requests were answered.
    pub(crate) fn await_more(&self, requests: usize) {
        let answered = || self.answered.load(Ordering::Relaxed);
        let enough = answered() + requests;
        until("more is answered", || answered() >= enough);
    }

    /// Stops, waits for all answers, and checks that each list holds each number once, in order.
    pub(crate) fn finish(self, cluster: &Cluster) -> Vec<Record> {
        self.stop.store(true, Ordering::Relaxed);
        let records = self.thread.join().expect("every request is answered");
        for (index, key) in self.keys.iter().enumerate() {
            let count = records.iter().filter(|record| record.key == index).count() as i64;
            let list = value(cluster, &["LRANGE", key, "0", "-1"]);
            let found: Vec<_> = list.array().expect("a list").iter().map(Value::int).collect();
            let expected: Vec<_> = (0..count).map(Some).collect();
            let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
            assert!(found == expected, "{key}: {} of {count}, {differs:?}", found.len());
        }
        records
    }
}

/// Appends a number unless it is there.
const GUARDED: &str = "
    local last = tonumber(redis.call('LINDEX', KEYS[1], -1) or '-1')
    if last >= tonumber(ARGV[1]) then return 'SKIPPED' end
    return redis.call('RPUSH', KEYS[1], ARGV[1])";

fn run(
    cluster: &Cluster,
    keys: &[String],
    how: How,
    stop: &AtomicBool,
    answered: &AtomicUsize,
) -> Vec<Record> {
    let (sender, answers) = mpsc::channel();
    let mut records = Vec::new();
    // The next number of each key, and how many of its numbers are not answered.
    let mut state = vec![(0_u64, 0_u64); keys.len()];
    let mut waiting = 0_usize;
    while !stop.load(Ordering::Relaxed) || waiting > 0 {
        if !stop.load(Ordering::Relaxed) {
            for (key, name) in keys.iter().enumerate() {
                let (number, pending) = state[key];
                // So many wait at most, as a caller that limits itself.
                if pending == 50 {
                    continue;
                }
                state[key] = (number + 1, pending + 1);
                waiting += 1;
                let text = number.to_string();
                let mut request = request(&["RPUSH", name, &text]);
                request.again = Some(Commands::one(&[
                    b"EVAL",
                    GUARDED.as_bytes(),
                    b"1",
                    name.as_bytes(),
                    text.as_bytes(),
                ]));
                request.durable = how.durable;
                if how.atomic {
                    request.atomic = true;
                    let other = format!("other:{name}");
                    request.first.push(&[b"INCR", other.as_bytes()]);
                }
                let (sender, sent) = (sender.clone(), Instant::now());
                cluster.send(request, move |outcome| {
                    let answered = Instant::now();
                    drop(sender.send((key, number, sent, answered, outcome)));
                });
            }
        }
        sleep(Duration::from_millis(2));
        let done = stop.load(Ordering::Relaxed) && waiting > 0;
        let mut next = match done {
            true => Some(answers.recv_timeout(PATIENCE).expect("every request is answered")),
            false => answers.try_recv().ok(),
        };
        while let Some((key, number, sent, at, outcome)) = next {
            let reply = outcome.expect("a reply");
            let error = reply.values.iter().find_map(Value::error);
            assert_eq!(error, None, "number {number} for {}", keys[key]);
            let expected = if how.atomic && !reply.again { 2 } else { 1 };
            assert_eq!(reply.values.len(), expected);
            records.push(Record { key, sent, answered: at, again: reply.again });
            answered.fetch_add(1, Ordering::Relaxed);
            waiting -= 1;
            state[key].1 -= 1;
            next = answers.try_recv().ok();
        }
    }
    records
}

/// The longest anybody waited among those of these keys.
pub(crate) fn longest(records: &[Record], keys: std::ops::Range<usize>) -> Duration {
    let mine = records.iter().filter(|record| keys.contains(&record.key));
    mine.map(|record| record.answered - record.sent).max().unwrap_or_default()
}
