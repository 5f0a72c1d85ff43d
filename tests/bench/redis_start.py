"""How long brokers take to start with a full Redis, and from when on they serve."""

import os
import subprocess
import threading
import time

from mqtt_client import Client
from redis_site import MQTT, cpu, rss

SESSIONS = int(os.environ.get("SESSIONS", 100_000))
RETAINED = int(os.environ.get("RETAINED", 1_000_000))
STARTS = int(os.environ.get("STARTS", 3))

# What changed so long ago is not sent over the links to nodes that join as well.
LATELY_S = 35


def start(site):
    """Starts one broker, and all three at once, with many sessions and retained messages."""
    fill(site)
    time.sleep(LATELY_S)
    site.end()
    print(f"| {SESSIONS} sessions, {RETAINED} retained messages | Redis masters "
          f"{sum(rss(pid) for pid in site.masters):.0f} MB | |")
    for number in range(STARTS):
        site.launch(1)
        print(f"| one broker, start {number + 1} | {told(site, [1])} |", flush=True)
        site.end()
    for n in (1, 2, 3):
        site.launch(n)
    print(f"| three at once | {told(site, [1, 2, 3])} |", flush=True)
    site.brokers = [site.processes[n].pid for n in (1, 2, 3)]


def fill(site):
    options = ["-p", str(MQTT + 1), "-t", "start"]
    retained = ["retained", "--items", str(RETAINED), "--keep", "--rounds", "0", "-q", "1"]
    for mode in (["sessions", "--items", str(SESSIONS)], retained):
        command = [site.mogi, "bench", *mode, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def told(site, numbers):
    """What was seen of brokers that were started just now."""
    begun, redis = time.monotonic(), sum(cpu(pid) for pid in site.masters)
    results = {n: {} for n in numbers}
    probes = [threading.Thread(target=probe, args=(MQTT + n, begun, results[n]))
              for n in numbers for probe in (connect, publish, resume, subscribe)]
    for probe in probes:
        probe.start()
    for n in numbers:
        site.wait_for(n, f" {RETAINED} retained messages")
        results[n]["loaded"] = time.monotonic() - begun
    for probe in probes:
        probe.join()
    cells = []
    for n in numbers:
        pid = site.processes[n].pid
        seen = ", ".join(f"{what} {at:.2f} s" for what, at in
                         sorted(results[n].items(), key=lambda item: item[1]))
        cells.append(f"n{n}: {seen}; {cpu(pid) / 1e6:.1f} s of CPU, {rss(pid):.0f} MB")
    redis = (sum(cpu(pid) for pid in site.masters) - redis) / 1e6
    load = os.getloadavg()[0]
    return "; ".join(cells) + f" | Redis masters {redis:.1f} s of CPU; load {load:.1f}"


def connect(port, begun, seen):
    Client(port, f"probe-c{port}", lasting=False)
    seen["CONNACK"] = time.monotonic() - begun


def publish(port, begun, seen):
    """To a lasting session whose client is away."""
    client = Client(port, f"probe-p{port}", lasting=False)
    client.publish("start/5/0/x", 1, b"x" * 64)
    client.expect(0x40)
    seen["PUBACK"] = time.monotonic() - begun


def resume(port, begun, seen):
    client = Client(port, f"start-{port - MQTT + 10}")
    assert client.connack[0] == 1, "there was no session"
    seen["session resumed"] = time.monotonic() - begun


def subscribe(port, begun, seen):
    client = Client(port, f"probe-s{port}", lasting=False)
    client.subscribe("start/+/state")
    seen["SUBACK"] = time.monotonic() - begun
    client.expect(0x30)
    seen["first retained message"] = time.monotonic() - begun
