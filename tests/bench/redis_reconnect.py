"""How long the clients of a killed broker take to come back to others and get their messages.

Its sessions are let go when it counts as dead: LEASE says after how many seconds.
"""

import json
import os
import signal
import subprocess

from redis_site import LEASE, MQTT, cpu

CLIENTS = int(os.environ.get("CLIENTS", 10_000))
QUEUED = int(os.environ.get("QUEUED", 10))


def reconnect(site):
    """All clients of the first broker go to the two others when it is killed."""
    command = [site.mogi, "bench", "reconnect", "-p", str(MQTT + 1), "--to", str(MQTT + 2), "--to",
               str(MQTT + 3), "-n", str(CLIENTS), "--items", str(QUEUED), "--drain", "20", "--keep",
               "--json"]
    bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "wait for the end" not in (line := bench.stderr.readline()):
        if not line:
            raise SystemExit("the generator has ended")
        print(line, end="")
    before = sum(cpu(site.processes[n].pid) for n in (2, 3)), sum(site.costs()[1])
    site.processes[1].send_signal(signal.SIGKILL)
    output, errors = bench.communicate()
    if bench.returncode != 0:
        raise SystemExit(errors)
    brokers = sum(cpu(site.processes[n].pid) for n in (2, 3)) - before[0]
    redis = sum(cpu(pid) for pid in site.masters) - before[1]
    _, connected, drained = json.loads(output)["reports"]
    latency = connected["latency_us"]
    p50, p99 = latency["p50"] / 1e6, latency["p99"] / 1e6
    print(f"| {CLIENTS} clients of a killed broker, a lease of {LEASE} s: last CONNACK | "
          f"{connected['seconds']:.2f} s, {CLIENTS / connected['seconds']:.0f}/s; p50 {p50:.2f} s, "
          f"p99 {p99:.2f} s | |")
    count = drained["delivered"]
    print(f"| their {QUEUED} messages each: the last one | {drained['seconds']:.2f} s, "
          f"{count / drained['seconds']:.0f}/s; {count} came, lost {drained['lost']}, repeated "
          f"{drained['duplicated']}, out of order {drained['reordered']} | the two brokers "
          f"{brokers / 1e6:.1f} s of CPU, Redis masters {redis / 1e6:.1f} s; load "
          f"{os.getloadavg()[0]:.1f} |")
    site.processes[1].wait()
    site.launch(1)
    site.wait_for(1, "running\n")
    site.brokers = [site.processes[n].pid for n in (1, 2, 3)]
