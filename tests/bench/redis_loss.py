"""What is lost of what was acknowledged when a Redis master is killed, by the broker's setting.

One publisher, one lasting session whose client is away, and one broker. The master that has the
session is killed while messages come; its replica takes over, and the dead node is started again.
Then the broker starts anew, so that nothing comes from its memory, and the client comes back and
counts. In the second scenario the replica is stopped (SIGSTOP) for a second before the kill, and
goes on when its master is dead. LOSSES says how often each is done; SETTINGS names other lines of
mogi.conf, with ";" between them.
"""

import os
import select
import signal
import struct
import threading
import time

from mqtt_client import Client, text, varint
from redis_failover import ask, client_in, masters, replicas_of, watch
from redis_site import MQTT, PORT, pid_of

LOSSES = int(os.environ.get("LOSSES", 3))
# Messages on their way, and bytes of each.
WINDOW = int(os.environ.get("WINDOW", 500))
SIZE = int(os.environ.get("SIZE", 64))
SETTINGS = "redis_wait 0;redis_wait 1 1000;redis_wait_aof 0 1"
SETTINGS = os.environ.get("SETTINGS", SETTINGS).split(";")
CALM_S = 3
STOPPED_S = 1
# The client has all there is when nothing has come for so long, and everything it should have.
QUIET_S = 1
MISSING_S = 5


def loss(site):
    """Kills a master with each setting, with a replica that runs and with one that was stopped."""
    site.end()
    usual = site.setting
    print("| setting | replica | acknowledged | lost | acknowledged so long before the kill | came "
          "twice | pause |\n|---|---|---|---|---|---|---|", flush=True)
    for setting in SETTINGS:
        if "aof" in setting and not has_waitaof():
            print(f"| {setting} | this Redis has no WAITAOF | | | | | |")
            continue
        site.setting = setting
        begin(site)
        for stopped in (False, True):
            for number in range(LOSSES):
                name = f"{setting}-{stopped}-{number}-".replace(" ", "-")
                one(site, setting, stopped, name)
        site.end()
    site.setting = usual
    site.start()


def begin(site):
    site.launch(1)
    site.wait_for(1, "running\n")


def has_waitaof():
    lines = ask(PORT, b"INFO server").splitlines()
    version = next(line.split(":")[1] for line in lines if line.startswith("redis_version:"))
    return tuple(map(int, version.split(".")[:2])) >= (7, 2)


def one(site, setting, stopped, name):
    slots, port = sorted(masters().items())[0]
    replica = replicas_of(port)[0]
    master, follower = (pid_of(f"{site.dir}/redis/{at}/redis.pid") for at in (port, replica))
    name = client_in(slots, name)
    away = Client(MQTT + 1, name)
    away.subscribe(f"l/{name}")
    away.socket.close()

    publisher = Publisher(f"l/{name}")
    publisher.run(CALM_S)
    if stopped:
        os.kill(follower, signal.SIGSTOP)
        publisher.run(STOPPED_S)
    killed = time.monotonic()
    os.kill(master, signal.SIGKILL)
    if stopped:
        os.kill(follower, signal.SIGCONT)
    back = threading.Thread(target=bring_back, args=(site, replica))
    back.start()
    while back.is_alive():
        publisher.turn()
    publisher.run(1)
    publisher.finish()

    site.end()
    begin(site)
    acked = publisher.acked
    came = Counter(MQTT + 1, name).all(len(acked))
    lost = [number for number in range(len(acked)) if number not in came]
    twice = sum(count - 1 for count in came.values())
    before = [killed - acked[number] for number in lost]
    span = f"{max(before) * 1000:.0f} to {min(before) * 1000:.0f} ms" if lost else ""
    pause = max(later - sooner for sooner, later in zip([publisher.begun, *acked], acked))
    print(f"| {setting} | {'stopped' if stopped else 'runs'} | {len(acked)}, "
          f"{sum(at < killed for at in acked)} of them before the kill | {len(lost)} | {span} | "
          f"{twice} | {pause:.1f} s |", flush=True)


def bring_back(site, replica):
    """Starts the dead node again when its replica has taken over."""
    elected = []
    watch([replica], elected)
    if not elected:
        raise SystemExit(f"node {replica} has not taken over after a minute")
    site.redis("start")


class Publisher:
    """Sends numbered messages at QoS 1, as fast as acknowledgements come."""

    def __init__(self, topic):
        self.topic = text(topic)
        self.client = Client(MQTT + 1, "publisher", lasting=False)
        self.client.socket.setblocking(False)
        self.sent, self.out, self.begun = 0, b"", time.monotonic()
        # When each message was acknowledged.
        self.acked = []

    def run(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()

    def turn(self, more=True):
        """Takes what has come, and sends what there is room for."""
        while more and self.sent - len(self.acked) < WINDOW:
            head = struct.pack(">HB", self.sent % 65535 + 1, 0)
            body = self.topic + head + str(self.sent).encode().ljust(SIZE)
            self.out += b"\x32" + varint(len(body)) + body
            self.sent += 1
        sends = [self.client.socket] if self.out else []
        readable, writable, _ = select.select([self.client.socket], sends, [], 0.01)
        if writable:
            self.out = self.out[self.client.socket.send(self.out):]
        if readable:
            packets, now = list(self.client.read_all()), time.monotonic()
            for kind, body in packets:
                if kind != 0x40:
                    raise SystemExit(f"the publisher got a packet {kind:#x}")
                # They come in order.
                assert struct.unpack_from(">H", body)[0] == len(self.acked) % 65535 + 1
                self.acked.append(now)

    def finish(self):
        """Waits until everything is acknowledged."""
        until = time.monotonic() + 60
        while len(self.acked) < self.sent:
            if time.monotonic() > until:
                raise SystemExit("something is not acknowledged after a minute")
            self.turn(more=False)
        self.client.socket.close()


class Counter:
    """The session's client, which acknowledges all that comes."""

    def __init__(self, port, name):
        self.client = Client(port, name)
        assert self.client.connack[0] == 1, "there was no session"

    def all(self, count):
        """How often each message came, by its number."""
        came, last = {}, time.monotonic()
        while time.monotonic() < last + (MISSING_S if len(came) < count else QUIET_S):
            if not select.select([self.client.socket], [], [], 0.1)[0]:
                continue
            acks = b""
            for kind, body in self.client.read_all():
                if kind & 0xF0 != 0x30:
                    continue
                at = 2 + struct.unpack_from(">H", body)[0]
                # After the packet id there are properties, of less than 128 bytes.
                number = int(body[at + 3 + body[at + 2]:])
                came[number] = came.get(number, 0) + 1
                acks += b"\x40\2" + body[at:at + 2]
                last = time.monotonic()
            self.client.socket.sendall(acks)
        self.client.socket.close()
        return came
