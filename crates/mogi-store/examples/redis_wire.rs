//! Measures the wire layer of the Redis backend: `redis_wire URL [REQUESTS [IN-FLIGHT]]`.
//!
//! Each request is an `XADD` of a small message to one of 1000 streams. Prints requests per
//! second and the CPU time of this process per request.

use mogi_store::redis::wire::{Cluster, Commands, Depth, Options, Request, Wait, slot_of};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://127.0.0.1".to_owned());
    let mut number =
        |default: u64| arguments.next().map_or(default, |it| it.parse().expect("a number"));
    let (count, window, replicas) = (number(500_000), number(2000), number(0));
    let mut options = Options::from_url(&url).expect("an address of Redis");
    if replicas > 0 {
        let timeout = Duration::from_secs(1);
        options.wait =
            Some(Wait { replicas: replicas as u32, depth: Depth::Memory, timeout, if_any: false });
    }
    let cluster = Cluster::start(options, |notice| println!("{notice}")).expect("started");
    let (sender, done) = mpsc::channel();
    let names: Vec<_> = (0..1000).map(|name| format!("queue:{{bench{name}}}")).collect();
    let slots: Vec<_> = names.iter().map(|name| slot_of(name.as_bytes())).collect();
    let reset = names
        .iter()
        .zip(&slots)
        .map(|(name, slot)| Request::new(*slot, Commands::one(&[b"DEL", name.as_bytes()])));
    cluster.call(reset.collect(), Duration::from_secs(30)).expect("answers");
    let (start, cpu) = (Instant::now(), cpu_us());
    let mut waiting = 0;
    for index in 0..count {
        let at = (index % 1000) as usize;
        let mut commands = Commands::new();
        commands.push(&[
            b"XADD",
            names[at].as_bytes(),
            b"*",
            b"topic",
            b"sensors/temperature/7",
            b"payload",
            b"0123456789012345678901234567890123456789",
            b"qos",
            b"1",
        ]);
        let mut request = Request::new(slots[at], commands);
        request.durable = replicas > 0;
        let sender = sender.clone();
        cluster.send(request, move |outcome| {
            let fine = outcome.is_ok_and(|reply| reply.values[0].error().is_none());
            sender.send(fine).expect("somebody listens");
        });
        waiting += 1;
        if waiting == window {
            // Half of them at once, as a worker's turns do.
            for _ in 0..window / 2 {
                assert!(done.recv().expect("an answer"), "an XADD failed");
                waiting -= 1;
            }
        }
    }
    for _ in 0..waiting {
        assert!(done.recv().expect("an answer"), "an XADD failed");
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_us() - cpu);
    let per_second = count as f64 / elapsed.as_secs_f64();
    println!("{per_second:.0} XADD/s, {:.2} us CPU each", cpu as f64 / count as f64);
}

/// CPU time of this process so far.
fn cpu_us() -> i64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let usage = usage.expect("the system tells");
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    us(usage.user_time()) + us(usage.system_time())
}
