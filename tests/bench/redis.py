#!/usr/bin/env python3
"""Measures what brokers on a Redis Cluster cost, in CPU time, and how long a takeover takes.

Usage: tests/bench/redis.py MOGI [qos1] [offline] [qos0] [takeover] [start] [failover] [reconnect]
                            [loss] [aedes]

MOGI is the binary, of the brokers and of the generator. It starts three Redis masters with
REPLICAS (1) replicas each, and three brokers with "redis_wait WAIT" (1) and "cluster_lease_seconds
LEASE" (10). PORT (18000) is the first of the nodes' ports, and MQTT (18900) is below those of the
brokers. MESSAGES (200000), TAKEOVERS (100), SESSIONS (100000), RETAINED (1000000), STARTS (3),
FAILOVERS (6), CLIENTS (10000), QUEUED (10), LOSSES (3), WINDOW (500) and SIZE (64) say how much of
it. For aedes, AEDES names a folder where "npm install aedes aedes-persistence-redis" was run.
CPU time is that of the processes, so a busy machine changes it little; wall time is as it is.
"""

import json
import os
import socket
import subprocess
import sys
import time

from mqtt_client import Client
from redis_failover import failover
from redis_loss import loss
from redis_reconnect import reconnect
from redis_site import HERE, MQTT, PORT, Site, cpu
from redis_start import start

MESSAGES = int(os.environ.get("MESSAGES", 200_000))
TAKEOVERS = int(os.environ.get("TAKEOVERS", 100))
QUEUED = 1000


def qos1(site):
    """QoS 1 to one persistent session, stored on a master and its replica before each PUBACK."""
    def bench(count, *more):
        words = ["bench", "pairs", "-p", str(MQTT + 1), "-n", "1", "-q", "1", "--persistent",
                 "--json", "--window", "1000", "--warmup", "0", "--count", str(count), *more]
        output = subprocess.run([site.mogi, *words], check=True, capture_output=True)
        return json.loads(output.stdout)

    bench(20_000)
    for name, more in [("as fast as it goes", ()), ("2,000 messages/s", ("-r", "2000"))]:
        count = MESSAGES if not more else MESSAGES // 10
        before, begun = site.costs(), time.monotonic()
        bench(count, *more)
        took = time.monotonic() - begun
        after = site.costs()
        parts = [sum(b - a for a, b in zip(x, y)) / count for x, y in zip(before, after)]
        broker = (after[0][0] - before[0][0]) / count
        print(f"| QoS 1, one persistent session, {name} | {count / took:.0f} messages/s | broker "
              f"{broker:.1f} µs, Redis masters {parts[1]:.1f} µs, replicas {parts[2]:.1f} µs |")


def offline(site):
    """QoS 1 to a session whose client is away: every message is written, read and removed."""
    words = [site.mogi, "bench", "offline", "-p", str(MQTT + 1), "-n", "1", "--window", "1000",
             "--items", str(MESSAGES)]
    before, begun = site.costs(), time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - begun
    after = site.costs()
    parts = [sum(b - a for a, b in zip(x, y)) / MESSAGES for x, y in zip(before, after)]
    print(f"| QoS 1 to a client that is away, filled and drained | {took:.1f} s | brokers "
          f"{parts[0]:.1f} µs, Redis masters {parts[1]:.1f} µs, replicas {parts[2]:.1f} µs |")


def qos0(site):
    """QoS 0 to a subscriber of the same broker, and to one of another."""
    costs = []
    for port in (MQTT + 1, MQTT + 2):
        sub = subprocess.Popen([site.mogi, "sub", "-p", str(port), "-t", "t/0", "-C",
                                str(MESSAGES), "-F", "%l", "-W", "120"], stdout=subprocess.DEVNULL)
        time.sleep(2)
        before, redis = sum(site.costs()[0][:2]), sum(site.costs()[1])
        pub = subprocess.Popen([site.mogi, "pub", "-p", str(MQTT + 1), "-t", "t/0", "-l"],
                               stdin=subprocess.PIPE)
        # As fast as it goes, QoS 0 is dropped where it piles up.
        for _ in range(MESSAGES // 100):
            pub.stdin.write((b"x" * 63 + b"\n") * 100)
            pub.stdin.flush()
            time.sleep(0.004)
        pub.stdin.close()
        pub.wait()
        code = sub.wait()
        costs.append((sum(site.costs()[0][:2]) - before) / MESSAGES)
        redis = (sum(site.costs()[1]) - redis) / MESSAGES
        where = "the same broker" if port == MQTT + 1 else "another broker"
        lost = "" if code == 0 else " (not all came)"
        print(f"| QoS 0 to {where}{lost} | | brokers {costs[-1]:.2f} µs, Redis {redis:.2f} µs |")
    print(f"| QoS 0: another broker / the same | {costs[1] / costs[0]:.2f} | |")


def percentiles(times):
    times = sorted(time * 1000 for time in times)
    return f"p50 {times[len(times) // 2]:.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms"


def takeover(site):
    """A client with 1,000 queued messages connects to another broker than before."""
    client = Client(MQTT + 1, "taken")
    client.subscribe("q/#")
    client.socket.close()
    lines = (b"x" * 63 + b"\n") * QUEUED
    subprocess.run([site.mogi, "pub", "-p", str(MQTT + 3), "-t", "q/a", "-q", "1", "-l"],
                   input=lines, check=True)
    accepted, first, bare, clean = [], [], [], []
    for number in range(TAKEOVERS):
        begun = time.monotonic()
        client = Client(MQTT + 2 - number % 2, "taken")
        accepted.append(time.monotonic() - begun)
        client.expect(0x30)
        first.append(time.monotonic() - begun)
        # It acknowledges nothing, and stays connected while the next one takes over.
        keep = client
        begun = time.monotonic()
        other = Client(MQTT + 2 - number % 2, f"new{number}")
        clean.append(time.monotonic() - begun)
        other.socket.close()
        redis = socket.create_connection(("127.0.0.1", PORT))
        begun = time.monotonic()
        redis.sendall(b"PING\r\n")
        redis.recv(100)
        bare.append(time.monotonic() - begun)
        redis.close()
        assert keep
    print(f"| takeover with {QUEUED} queued messages: CONNACK | {percentiles(accepted)} | |")
    print(f"| the same: the first message | {percentiles(first)} | |")
    print(f"| a client without a session: CONNACK | {percentiles(clean)} | |")
    print(f"| a PING of Redis | {percentiles(bare)} | |")


def aedes(site):
    """The same load on mogi and on aedes, one broker each, on the same cluster, in turns."""
    folder = os.path.abspath(os.environ["AEDES"])
    port = MQTT + 20
    node = subprocess.Popen(["node", f"{HERE}/aedes.mjs", folder, str(port), str(PORT)],
                            stdout=subprocess.PIPE)
    assert node.stdout.readline() == b"ready\n", "aedes does not start"
    brokers = [("mogi", MQTT + 1, site.brokers[0], MESSAGES), ("aedes", port, node.pid,
                                                              MESSAGES // 10)]
    loads = [("its client there", "pairs", []), ("its client away", "pairs", ["--away"])]
    rates = {}
    for turn in range(3):
        for load, mode, more in loads:
            for name, at, pid, count in brokers:
                words = [site.mogi, "bench", mode, "-p", str(at), "-n", "1", "-q", "1",
                         "--persistent", "--json", "--window", "1000", "--warmup", "0",
                         "--count", str(count), *more]
                before, redis = cpu(pid), site.costs()[1:]
                begun = time.monotonic()
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=600)
                took = time.monotonic() - begun
                spent, after = cpu(pid) - before, site.costs()[1:]
                redis = [sum(after[at]) - sum(redis[at]) for at in (0, 1)]
                rates.setdefault((load, name), []).append(count / took)
                print(f"| {load}: {name}, turn {turn + 1} | {count / took:.0f} messages/s | "
                      f"broker {spent / count:.1f} µs, Redis masters "
                      f"{redis[0] / count:.1f} µs, replicas {redis[1] / count:.1f} µs |",
                      flush=True)
    for load, *_ in loads:
        ours, theirs = (sorted(rates[load, name])[1] for name in ("mogi", "aedes"))
        print(f"| {load}: mogi / aedes, medians | {ours / theirs:.1f} | |")
    node.terminate()
    node.wait()


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    parts = {"qos1": qos1, "offline": offline, "qos0": qos0, "takeover": takeover, "start": start,
             "failover": failover, "reconnect": reconnect, "loss": loss,
             "aedes": aedes}
    site = Site(os.path.abspath(sys.argv[1]))
    try:
        print("| what | | CPU per message |\n|---|---|---|", flush=True)
        for part in sys.argv[2:] or ["qos1", "offline", "qos0", "takeover"]:
            parts[part](site)
            sys.stdout.flush()
    finally:
        site.stop()


main()
