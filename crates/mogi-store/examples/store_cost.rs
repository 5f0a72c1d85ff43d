//! What the embedded store costs: `cargo run --release -p mogi-store --example store_cost -- DIR`.
//!
//! DIR has to be on the file system that is to be measured; a folder in it is used and removed.

use mogi_codec::QoS;
use mogi_core::Wait;
use mogi_core::store::{
    EntryNo, Ids, SessionNo, SessionRecord, StoreOp, StoredDelivery, StoredSubscription,
};
use mogi_core::{Message, MessageView};
use mogi_store::{Answer, Committer, EmbeddedOptions, EmbeddedStore, Store, Sync};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args_os().skip(1);
    let Some(dir) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: store_cost DIR [ONLY]: the directory to measure in, and one part's name");
        std::process::exit(2);
    };
    let only = arguments.next().map(|it| it.to_string_lossy().into_owned());
    if only.as_deref() == Some(LOAD) {
        return load(&dir);
    }
    let dir = dir.join("store-cost");
    for (name, part) in PARTS {
        if only.as_ref().is_none_or(|only| only == name) {
            // It may not be there.
            let _ = fs::remove_dir_all(&dir);
            println!("-- {name}");
            part(&dir)?;
        }
    }
    let _ = fs::remove_dir_all(&dir);
    Ok(())
}

/// What a child is told that loads what its parent has written, with memory of its own.
const LOAD: &str = "load";

fn load_in_child(dir: &Path) -> Outcome {
    let status = Command::new(std::env::current_exe()?).arg(dir).arg(LOAD).status()?;
    if status.success() { Ok(()) } else { Err(format!("loading: {status}").into()) }
}

type Part = (&'static str, fn(&Path) -> Outcome);

const PARTS: [Part; 9] = [
    ("idle", idle),
    ("bare", bare),
    ("synced", synced),
    ("compacted", compacted),
    ("fill-drain", fill_drain),
    ("fan-out", fan_out),
    ("churn", churn),
    ("retained", retained),
    ("sessions", sessions),
];

/// Memory of a store that holds nothing.
fn idle(dir: &Path) -> Outcome {
    let before = rss_kib();
    let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir))?;
    store.load(&mut |_| {})?;
    println!("open and empty: {} KiB more than the {before} before", rss_kib() - before);
    let mut store: Box<dyn Store> = Box::new(store);
    for at in 0..1000 {
        store.commit(&[&[session_set(at)]])?;
    }
    println!("1000 sessions: {} KiB more", rss_kib() - before);
    Ok(())
}

/// What the device can do.
fn bare(dir: &Path) -> Outcome {
    fs::create_dir_all(dir)?;
    let mut file = File::create(dir.join("bare"))?;
    let meter = Meter::start();
    let rounds = 2000;
    for _ in 0..rounds {
        file.write_all(&[7; 160])?;
        file.sync_data()?;
    }
    meter.say("write + fdatasync of 160 B", rounds);
    Ok(())
}

/// One session, each group synced.
fn synced(dir: &Path) -> Outcome {
    for group in [1, 20, 100, 1000] {
        let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir))?;
        store.commit(&[&[session_set(1)]])?;
        let rounds = if group == 1000 { 300 } else { 2000 };
        let mut entry = 0;
        let batches = (0..rounds).map(|_| messages(1, &mut entry, group, 64)).collect::<Vec<_>>();
        let meter = Meter::start();
        for batch in &batches {
            store.commit(&[batch])?;
        }
        meter.say(&format!("Enqueued, groups of {group}, synced"), rounds * group);
        drop(store);
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

/// Enqueued and delivered within a group, through the committer.
fn compacted(dir: &Path) -> Outcome {
    let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir))?;
    store.commit(&[&[session_set(1)]])?;
    let (sender, answers) = mpsc::channel();
    let on_answer = move |_: u16, answer: Answer| drop(sender.send(answer));
    let committer = Committer::start(Box::new(store), Box::new(on_answer), Box::new(|_| {}))?;
    let (rounds, group) = (400_usize, 1000_usize);
    let mut entry = 0;
    let mut batches = Vec::new();
    for _ in 0..rounds {
        let first = entry;
        let mut batch = messages(1, &mut entry, group, 64);
        batch.extend((first..entry).map(|at| delivered(1, at + 1)));
        batches.push(batch);
    }
    let meter = Meter::start();
    for (turn, batch) in batches.into_iter().enumerate() {
        committer.submit(0, turn as u64, batch, Wait::ForThis);
        if turn % 4 == 3 {
            wait_for(&answers, turn as u64)?;
        }
    }
    meter.say("Enqueued + Delivered compacted, per change", rounds * group * 2);
    println!("{:?}", committer.status());
    Ok(committer.close()?)
}

fn wait_for(answers: &mpsc::Receiver<Answer>, turn: u64) -> Outcome {
    while answers.recv()? != (Answer::Stored { turn }) {}
    Ok(())
}

/// A long queue.
fn fill_drain(dir: &Path) -> Outcome {
    for (group, sync) in [(100, Sync::Always), (1000, Sync::Always), (1000, Sync::Off)] {
        let options = EmbeddedOptions { sync, ..EmbeddedOptions::new(dir) };
        let mut store = EmbeddedStore::open(options)?;
        store.commit(&[&[session_set(1)]])?;
        let mut entry = 0;
        let batches: Vec<_> =
            (0..100_000 / group).map(|_| messages(1, &mut entry, group, 64)).collect();
        let meter = Meter::start();
        for batch in &batches {
            store.commit(&[batch])?;
        }
        meter.say(&format!("fill 100,000 x 64 B, groups of {group}, {sync:?}"), 100_000);
        drop(batches);
        let meter = Meter::start();
        drain(&mut store, 1, 1..=entry, 256)?;
        meter.say("drain in pages of 256", 100_000);
        drop(store);
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

fn drain(
    store: &mut dyn Store,
    session: u64,
    entries: std::ops::RangeInclusive<u64>,
    page: usize,
) -> Outcome {
    let entries: Vec<EntryNo> = entries.map(EntryNo).collect();
    let mut out = Vec::new();
    for page in entries.chunks(page) {
        out.clear();
        store.fetch(SessionNo(session), page, &mut out)?;
        assert_eq!(out.len(), page.len());
        let gone: Vec<StoreOp> = page.iter().map(|entry| delivered(session, entry.0)).collect();
        store.commit(&[&gone])?;
    }
    Ok(())
}

/// Messages that ten sessions get, shared and not.
fn fan_out(dir: &Path) -> Outcome {
    for size in [64, 128, 256, 512, 1024, 4096] {
        for share_from_bytes in [0, usize::MAX] {
            let options = EmbeddedOptions { share_from_bytes, ..EmbeddedOptions::new(dir) };
            let mut store = EmbeddedStore::open(options)?;
            let sessions: Vec<_> = (1..=10).map(session_set).collect();
            store.commit(&[&sessions])?;
            let mut entry = 0;
            let mut batches = Vec::new();
            for _ in 0..200 {
                let mut batch = Vec::new();
                for _ in 0..10 {
                    let message = message(size);
                    for session in 1..=10 {
                        entry += 1;
                        batch.push(enqueued(session, entry, &message));
                    }
                }
                batches.push(batch);
            }
            let meter = Meter::start();
            for batch in &batches {
                store.commit(&[batch])?;
            }
            for batch in &batches {
                let gone: Vec<_> = batch.iter().map(acknowledged).collect();
                store.commit(&[&gone])?;
            }
            let how = if share_from_bytes == 0 { "shared" } else { "inline" };
            meter.say(&format!("{size} B to 10 sessions and away, {how}, per entry"), 20_000);
            drop(store);
            fs::remove_dir_all(dir)?;
        }
    }
    Ok(())
}

fn acknowledged(op: &StoreOp) -> StoreOp {
    match op {
        StoreOp::Enqueued { session, entry, .. } => delivered(session.0, entry.0),
        other => other.clone(),
    }
}

/// Filled and drained again and again.
fn churn(dir: &Path) -> Outcome {
    for size in [64, 1024] {
        let options = EmbeddedOptions { sync: Sync::Off, ..EmbeddedOptions::new(dir) };
        let mut store = EmbeddedStore::open(options)?;
        store.commit(&[&[session_set(1)]])?;
        let mut entry = 0;
        let written = written_bytes();
        let meter = Meter::start();
        for round in 0..20 {
            let first = entry + 1;
            for _ in 0..100 {
                store.commit(&[&messages(1, &mut entry, 1000, size)])?;
            }
            let full = store.usage().disk_bytes >> 20;
            drain(&mut store, 1, first..=entry, 1000)?;
            let empty = store.usage().disk_bytes >> 20;
            if round % 4 == 3 {
                println!("round {}: {full} MiB full, {empty} MiB drained", round + 1);
            }
        }
        meter.say(&format!("100,000 x {size} B filled and drained 20 times"), 2_000_000);
        let each = (written_bytes() - written) / 2_000_000;
        println!("{each} B written per message; RSS {} KiB", rss_kib());
        std::thread::sleep(Duration::from_secs(2));
        println!("a while later: {} MiB on disk", store.usage().disk_bytes >> 20);
        drop(store);
        let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir))?;
        store.load(&mut |_| {})?;
        println!("opened again: {} MiB on disk", store.usage().disk_bytes >> 20);
        drop(store);
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

/// A million retained messages.
fn retained(dir: &Path) -> Outcome {
    let options = EmbeddedOptions { sync: Sync::Off, ..EmbeddedOptions::new(dir) };
    let mut store = EmbeddedStore::open(options)?;
    let meter = Meter::start();
    for thousand in 0..1000 {
        let batch: Vec<StoreOp> = (0..1000)
            .map(|at| {
                let topic = format!("site/{}/sensor/{at}/value", thousand);
                let view = MessageView::internal(&topic, &[7; 16], QoS::AtLeastOnce, true);
                let message = Message::new(&view, &mut Vec::new());
                StoreOp::Retained { message, version: thousand * 1000 + at + 1 }
            })
            .collect();
        store.commit(&[&batch])?;
    }
    meter.say("Retained, new topics, groups of 1000", 1_000_000);
    drop(store);
    load_in_child(dir)
}

/// A hundred thousand sessions.
fn sessions(dir: &Path) -> Outcome {
    let options = EmbeddedOptions { sync: Sync::Off, ..EmbeddedOptions::new(dir) };
    let mut store = EmbeddedStore::open(options)?;
    let meter = Meter::start();
    for hundred in 0..1000 {
        let mut batch = Vec::new();
        for session in hundred * 100 + 1..=hundred * 100 + 100 {
            batch.push(session_set(session));
            batch.extend((0..3).map(|at| StoreOp::SubscriptionSet {
                session: SessionNo(session),
                subscription: StoredSubscription {
                    filter: format!("device/{session}/{at}/#").into(),
                    options: 1,
                    id: 0,
                },
            }));
        }
        store.commit(&[&batch])?;
    }
    meter.say("SessionSet + 3 SubscriptionSet, groups of 400", 400_000);
    drop(store);
    load_in_child(dir)
}

fn load(dir: &Path) -> Outcome {
    let before = rss_kib();
    let start = Instant::now();
    let mut store = EmbeddedStore::open(EmbeddedOptions::new(dir))?;
    let opened = start.elapsed();
    let report = store.load(&mut |_| {})?;
    println!("opened in {opened:.2?}, loaded after {:.2?}: {:?}", start.elapsed(), report.loaded);
    println!("RSS {} KiB, before {before} KiB; {:?}", rss_kib(), store.usage());
    Ok(())
}

fn messages(session: u64, entry: &mut u64, count: usize, size: usize) -> Vec<StoreOp> {
    let next = || {
        *entry += 1;
        enqueued(session, *entry, &message(size))
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn message(size: usize) -> Message {
    // Not of one byte only, so that nothing is won by compressing it.
    let payload: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
    let view = MessageView::internal("bench/topic", &payload, QoS::AtLeastOnce, false);
    Message::new(&view, &mut Vec::new())
}

fn enqueued(session: u64, entry: u64, message: &Message) -> StoreOp {
    StoreOp::Enqueued {
        session: SessionNo(session),
        entry: EntryNo(entry),
        delivery: StoredDelivery {
            message: message.clone(),
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: Ids::None,
            group: None,
        },
    }
}

fn delivered(session: u64, entry: u64) -> StoreOp {
    StoreOp::Delivered { session: SessionNo(session), entry: EntryNo(entry) }
}

fn session_set(session: u64) -> StoreOp {
    let record = SessionRecord {
        client: format!("client-{session}").into(),
        expiry_s: 3600,
        username: None,
        mount: None,
        left_at_ms: Some(1),
    };
    StoreOp::SessionSet { session: SessionNo(session), record }
}

/// Time and CPU time of all threads.
struct Meter(Instant, f64);

impl Meter {
    fn start() -> Self {
        Self(Instant::now(), cpu_s())
    }

    fn say(&self, what: &str, count: usize) {
        let (seconds, cpu) = (self.0.elapsed().as_secs_f64(), cpu_s() - self.1);
        let (rate, each) = (count as f64 / seconds, cpu / count as f64 * 1e6);
        println!("{what}: {rate:.0}/s, {each:.3} us CPU each ({seconds:.2} s)");
    }
}

fn cpu_s() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    usage.map_or(0.0, |it| {
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(it.user_time()) + seconds(it.system_time())
    })
}

fn rss_kib() -> u64 {
    field("/proc/self/status", "VmRSS:")
}

/// Bytes this process caused to be written, as the kernel counts them.
fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
