"""What TLS and WebSocket cost a broker: CPU time per handshake and per message, memory per idle
connection, side by side.

    transports.py [--rounds N] NAME=PROGRAM...

PROGRAM is a broker that takes `-c FILE`. The load is `openssl s_time` for handshakes and MQTT.js
(see transports_load.mjs) for messages: one publisher of 4000 messages of 100 bytes a second, QoS 0,
and two subscribers, for eight seconds.
"""

import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
IDLE = 500
RATE, SECONDS = 4000, 8
CONF = """user root
allow_anonymous true
connection_messages false
log_type error
listener {0} 127.0.0.1
listener {1} 127.0.0.1
certfile {dir}/{key}.pem
keyfile {dir}/{key}.key
listener {2} 127.0.0.1
protocol websockets
listener {3} 127.0.0.1
protocol websockets
certfile {dir}/{key}.pem
keyfile {dir}/{key}.key
"""
# One packet: CONNECT of client IDn with a clean session.
CONNECT = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06%06d"


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) * 1024


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def make_certificates(folder):
    for key, kind in (("ec", "ec -pkeyopt ec_paramgen_curve:prime256v1"), ("rsa", "rsa:2048")):
        subprocess.run(
            f"openssl req -x509 -newkey {kind} -nodes -keyout {key}.key -out {key}.pem -days 100 "
            "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
            f"&& chmod a+r {key}.key",
            shell=True, check=True, cwd=folder, capture_output=True,
        )


class Broker:
    def __init__(self, program, folder, key):
        self.ports = free_ports(4)
        path = os.path.join(folder, "bench.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONF.format(*self.ports, dir=folder, key=key))
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([program, "-c", path], stdout=quiet, stderr=quiet)
        self.pid = self.process.pid
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports[3])).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def handshake_us(self, *args):
        before = cpu_s(self.pid)
        command = ["openssl", "s_time", "-connect", f"127.0.0.1:{self.ports[1]}", "-time", "5"]
        text = subprocess.run([*command, *args], capture_output=True, text=True).stdout
        used = cpu_s(self.pid) - before
        count = int(re.search(r"(\d+) connections in \d+ real seconds", text).group(1))
        return used / count * 1e6

    def message_us(self, scheme, port):
        command = ["node", os.path.join(HERE, "transports_load.mjs")]
        command += [f"{scheme}://127.0.0.1:{port}", str(RATE), str(SECONDS)]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        load.stdout.readline()
        before = cpu_s(self.pid)
        sent, received = map(int, load.stdout.readline().split())
        used = cpu_s(self.pid) - before
        load.wait()
        assert received == 2 * sent, f"{sent} sent, {received} received"
        return used / sent * 1e6

    def idle_bytes(self, tls):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        before = rss_bytes(self.pid)
        held = []
        for number in range(IDLE):
            stream = socket.create_connection(("127.0.0.1", self.ports[1 if tls else 0]))
            stream = context.wrap_socket(stream) if tls else stream
            stream.sendall(CONNECT % number)
            assert stream.recv(4)[3] == 0
            held.append(stream)
        return (rss_bytes(self.pid) - before) / IDLE


def measure(program, folder):
    found = {}
    for key in ("ec", "rsa"):
        with Broker(program, folder, key) as broker:
            name = {"ec": "ECDSA P-256", "rsa": "RSA 2048"}[key]
            for kind, args in (
                ("TLS 1.3", ("-new", "-tls1_3")),
                ("TLS 1.2", ("-new", "-tls1_2")),
                ("TLS 1.2 resumed", ("-reuse", "-tls1_2")),
            ):
                found[f"handshake, {kind}, {name}", "µs"] = broker.handshake_us(*args)
            if key == "ec":
                for scheme, port in zip(("mqtt", "mqtts", "ws", "wss"), broker.ports):
                    found[f"message, {scheme}", "µs"] = broker.message_us(scheme, port)
    for tls, name in ((False, "TCP"), (True, "TLS 1.3")):
        with Broker(program, folder, "ec") as broker:
            found[f"idle client, {name}", "bytes"] = broker.idle_bytes(tls)
    return found


def main():
    args = sys.argv[1:]
    rounds = 3
    if args[:1] == ["--rounds"]:
        rounds, args = int(args[1]), args[2:]
    brokers = dict(arg.split("=", 1) for arg in args)
    if not brokers:
        sys.exit(__doc__)
    runs = {name: [] for name in brokers}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        make_certificates(folder)
        for _ in range(rounds):
            for name, program in brokers.items():
                runs[name].append(measure(program, folder))
    print("| what | unit |", " | ".join(brokers), "| ratio |")
    print("|---|---|" + "---|" * (len(brokers) + 1))
    for what, unit in next(iter(runs.values()))[0]:
        values = [statistics.median(run[what, unit] for run in runs[name]) for name in brokers]
        shown = [f"{value:.2f}" if value < 100 else f"{value:,.0f}" for value in values]
        print(f"| {what} | {unit} |", " | ".join(shown), f"| {values[-1] / values[0]:.2f} |")


main()
