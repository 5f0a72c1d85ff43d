//! Every mode against a broker that loses, repeats and overtakes on purpose: what it did is what
//! the report says.

use super::faulty::{Faults, start};
use super::measure;
use super::options::Options;
use super::report::Report;
use std::net::TcpListener;

/// Runs a load against such a broker.
fn run(args: &str, faults: Faults) -> Vec<Report> {
    run_at(start(faults), args)
}

fn run_at(port: u16, args: &str) -> Vec<Report> {
    let port = port.to_string();
    let args = args.split(' ').chain([
        "-h",
        "127.0.0.1",
        "--port",
        &port,
        "--warmup",
        "0",
        "--drain",
        "1",
    ]);
    let options = Options::parse(args).expect("good options");
    measure(&options).expect("measured")
}

/// How many of the first `published` numbers end in `digit`.
fn ending_in(digit: u64, published: u64) -> u64 {
    (0..published).filter(|seq| seq % 10 == digit).count() as u64
}

const STEADY: &[&str] = &[
    "pairs -n 3 -q 0 -c 3000",
    "pairs -n 3 -q 1 -c 3000 -V 5",
    "pairs -n 3 -q 2 -c 1000",
    "fan-out -n 5 -c 500",
    "fan-in -n 5 -q 1 -c 2000",
    "shared -n 4 --members 3 -c 2000",
    "pingpong -q 2 -c 100",
    "filters -n 2 --items 250 -c 1000",
    "pairs -n 2 --rate 2000 -c 500",
    "pairs -n 3 -q 1 -c 1000 --persistent",
    "pairs -n 2 -q 2 -c 500 -V 5 --persistent --receive-maximum 10",
    "shared -n 2 --members 2 -q 1 -c 1000 --persistent",
];

#[test]
fn a_good_broker_gets_a_clean_report() {
    for line in STEADY {
        let report = run(line, Faults::default()).remove(0);
        assert!(report.clean(), "{line}: {report:?}");
        assert!(report.measured.published > 0, "{line}");
        let latency = report.latency_us.expect("messages arrived");
        assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max, "{line}");
    }
}

#[test]
fn what_is_lost_and_repeated_is_counted() {
    let faults = Faults { lose: true, repeat: true, overtake: false };
    for (line, deliveries) in [
        ("pairs -n 1 -c 1000", 1),
        ("pairs -n 1 -q 2 -c 1000 -V 5", 1),
        ("fan-out -n 3 -c 300", 3),
        ("shared -n 1 --members 1 -c 1000", 1),
    ] {
        let report = run(line, faults).remove(0);
        let published = report.measured.published;
        assert_eq!(report.lost, deliveries * ending_in(3, published), "{line}");
        assert_eq!(report.duplicated, deliveries * ending_in(5, published), "{line}");
        assert_eq!((report.reordered, report.foreign), (0, 0), "{line}");
    }
}

#[test]
fn what_overtakes_is_counted() {
    let faults = Faults { overtake: true, ..Faults::default() };
    for line in ["pairs -n 1 -c 1000", "shared -n 1 --members 1 -c 1000"] {
        let report = run(line, faults).remove(0);
        let published = report.measured.published;
        // One held back at the very end is never sent.
        let stuck = u64::from(published % 10 == 8);
        assert_eq!(report.reordered, ending_in(7, published) - stuck, "{line}");
        assert_eq!((report.lost, report.duplicated), (stuck, 0), "{line}");
    }
}

#[test]
fn retained_messages_are_stored_fetched_and_deleted() {
    for line in ["retained --items 500 --rounds 2", "retained --items 500 -q 1 -V 5"] {
        let reports = run(line, Faults::default());
        let parts: Vec<_> = reports.iter().map(|report| report.part.as_str()).collect();
        assert_eq!(parts, ["retained-store", "retained-deliver"]);
        assert!(reports.iter().all(Report::clean), "{reports:?}");
        assert_eq!(reports[0].measured.published, 500);
        assert!(reports[1].measured.delivered >= 1000);
    }
}

#[test]
fn what_is_kept_is_not_deleted() {
    let port = start(Faults::default());
    for (line, expected) in [
        ("retained --items 50 --keep", true),
        ("retained --items 50 --rounds 1 -t other", true),
        ("retained --items 50 --keep --rounds 1", true),
    ] {
        let reports = run_at(port, line);
        assert_eq!(reports.iter().all(Report::clean), expected, "{line}: {reports:?}");
    }
    let line = "retained --items 40 --rounds 1 --keep";
    let reports = run_at(port, line);
    assert_eq!(reports[1].foreign, 10, "ten more than were stored are still there");
}

#[test]
fn an_offline_queue_is_filled_and_drained() {
    for line in [
        "offline --items 500",
        "offline -n 3 --items 200 -q 2 -V 5 --receive-maximum 20",
        "offline --items 100 --cycles 3",
    ] {
        let reports = run(line, Faults::default());
        assert!(reports.iter().all(Report::clean), "{line}: {reports:?}");
        for pair in reports.chunks(2) {
            let [fill, drain] = pair else {
                panic!("no pair: {pair:?}");
            };
            assert_eq!(
                (fill.part.as_str(), drain.part.as_str()),
                ("offline-fill", "offline-drain")
            );
            assert_eq!(fill.cycle, drain.cycle);
            let clients = u64::from(fill.clients);
            assert_eq!(drain.measured.delivered, fill.measured.published * clients);
        }
    }
    let reports = run("offline --items 100 --keep --cycles 2", Faults::default());
    assert_eq!(reports.len(), 1, "what is kept is not drained");
}

#[test]
fn what_an_offline_queue_loses_repeats_and_overtakes_is_counted() {
    let faults = Faults { lose: true, repeat: true, overtake: true };
    let reports = run("offline -n 2 --items 1000 --cycles 2", faults);
    for drain in reports.iter().filter(|report| report.part == "offline-drain") {
        let counts = (drain.lost, drain.duplicated, drain.reordered, drain.foreign);
        assert_eq!(counts, (200, 200, 200, 0), "{drain:?}");
    }
}

#[test]
fn who_is_away_is_not_waited_for() {
    let report = run("pingpong -q 1 -c 200 --persistent --away", Faults::default()).remove(0);
    assert!(report.clean(), "{report:?}");
    assert_eq!((report.measured.published, report.measured.delivered), (200, 0));
    assert!(report.latency_us.is_some(), "the acknowledgements tell it");
}

#[test]
fn sessions_are_made_and_left() {
    let report = run("sessions --items 25 -n 10 --filters 4", Faults::default()).remove(0);
    assert_eq!((report.measured.delivered, report.items), (25, Some(25)));
}

#[test]
fn connections_are_counted() {
    let report = run("connect -n 20 -d 0", Faults::default()).remove(0);
    assert_eq!(report.measured.delivered, 20);
    let report = run("connect -n 20 --hold 0", Faults::default()).remove(0);
    assert_eq!((report.measured.delivered, report.disconnected), (20, 0));
}

#[test]
fn nobody_there_is_said_in_words() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("bound").port().to_string();
    drop(free);
    for mode in ["pairs", "connect", "retained"] {
        let options = Options::parse([mode, "-h", "127.0.0.1", "-p", &port]).expect("good");
        let err = measure(&options).expect_err("nobody listens");
        assert!(err.contains(&port) && err.contains("refused"), "{mode}: {err}");
    }
}
