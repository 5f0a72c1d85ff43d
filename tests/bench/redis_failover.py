"""How long acknowledgements pause when a master of Redis is killed.

With WAIT=1, which is what it is without a word, they go on when a replica is attached to the new
master: REPLICAS=2 gives each master two.
"""

import os
import selectors
import signal
import socket
import struct
import threading
import time

from mqtt_client import Client, text
from redis_site import COUNT, MQTT, PORT, pid_of

FAILOVERS = int(os.environ.get("FAILOVERS", 6))
CALM_S = 8
# Messages per second of each publisher, and how many of them may be on their way.
RATE = 100
WINDOW = 2000


def failover(site):
    """Publishers to sessions of each master, one whose client is there and one away."""
    slots = masters()
    load = Load(slots)
    print("| failover | without one, longest pause | other slots | election | its slots resumed "
          "after that | the generator's own pause |\n|---|---|---|---|---|---|")
    rows = []
    for number in range(FAILOVERS):
        calm = load.run(CALM_S)
        port = sorted(set(slots.values()))[number % 3]
        hit = {slot for slot, at in slots.items() if at == port}
        rows.append(one(site, load, port, hit))
        rows[-1]["calm"] = max(calm.values())
        print(f"| {number + 1}: node {port} | " + " | ".join(
            f"{rows[-1][name] * 1000:.0f} ms"
            for name in ("calm", "others", "election", "resumed", "own")) + " |", flush=True)
        # The dead node comes back as a replica; then the next one may die.
        site.redis("start")
        slots = masters()
    for name, values in (("median", lambda all: sorted(all)[len(all) // 2]), ("longest", max)):
        cells = (f"{values([row[what] for row in rows]) * 1000:.0f} ms"
                 for what in ("calm", "others", "election", "resumed", "own"))
        print(f"| {name} | " + " | ".join(cells) + " |")
    load.stop()


def one(site, load, port, hit):
    """Kills the node at that port, which has these slots; how long what paused."""
    elected = []
    watching = threading.Thread(target=watch, args=(replicas_of(port), elected))
    watching.start()
    killed = time.monotonic()
    os.kill(pid_of(f"{site.dir}/redis/{port}/redis.pid"), signal.SIGKILL)
    load.begin()
    until = killed + 60
    while time.monotonic() < until:
        load.turn()
        if elected and load.acked_since(elected[0], hit):
            until = min(until, time.monotonic() + 2)
    watching.join()
    if not elected or not load.acked_since(elected[0], hit):
        what = "is not acknowledged" if elected else "has no master"
        raise SystemExit(f"a slot of node {port} {what} a minute after its end")
    pauses, resumed = load.pauses(), load.first_after(elected[0], hit)
    return {"others": max(pause for slot, pause in pauses.items() if slot not in hit),
            "election": elected[0] - killed, "resumed": resumed - elected[0],
            "own": load.own}


def watch(ports, elected):
    """Waits until one of these nodes is a master."""
    replicas = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    until = time.monotonic() + 60
    while not elected and time.monotonic() < until:
        for node in replicas:
            node.sendall(b"INFO replication\r\n")
            if b"role:master" in node.recv(1 << 16):
                elected.append(time.monotonic())
        time.sleep(0.005)
    for node in replicas:
        node.close()


def ask(port, command):
    node = socket.create_connection(("127.0.0.1", port))
    node.sendall(command + b"\r\n")
    answer = b""
    while b"\r\n" not in answer or len(answer) < int(answer[1:answer.index(b"\r\n")]):
        answer += node.recv(1 << 16)
    node.close()
    return answer.decode()


def nodes():
    """Ids, ports, flags, masters and slots of all nodes."""
    up = next(at for at in range(PORT, PORT + COUNT) if listens(at))
    lines = (line.split() for line in ask(up, b"CLUSTER NODES").splitlines() if "@" in line)
    return [(at[0], int(at[1].split("@")[0].split(":")[1]), at[2], at[3], at[8:]) for at in lines]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def masters():
    """For each range of slots, by its first and its last one, the port of its master."""
    found = {}
    for _, port, flags, _, ranges in nodes():
        if "master" in flags and "fail" not in flags:
            found.update({tuple(map(int, some.split("-"))): port for some in ranges})
    return found


def replicas_of(port):
    every = nodes()
    master = next(name for name, at, *_ in every if at == port)
    return [at for _, at, flags, of, _ in every if of == master and "fail" not in flags]


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def client_in(slots, name):
    """A client id whose keys are in these slots."""
    number = 0
    while not slots[0] <= crc16(f"{name}{number}".encode()) % 16384 <= slots[1]:
        number += 1
    return f"{name}{number}"


class Publisher:
    """To a session in one of these slots, and when it was acknowledged."""

    def __init__(self, slots, topic):
        self.slots, self.topic = slots, text(topic)
        self.client = Client(MQTT + 1, f"to-{topic.replace('/', '-')}", lasting=False)
        self.sent = self.acked = 0
        self.due = time.monotonic()
        self.begin()

    def begin(self):
        self.last = time.monotonic()
        self.pause = 0
        self.acks = []

    def send(self, now):
        while self.due <= now:
            self.due += 1 / RATE
            if self.sent - self.acked < WINDOW:
                head = struct.pack(">HB", self.sent % 65535 + 1, 0)
                self.client.send(0x32, self.topic + head + b"x" * 64)
                self.sent += 1

    def take(self, kind, now):
        if kind == 0x40:
            self.acked += 1
            self.pause = max(self.pause, now - self.last)
            self.last = now
            self.acks.append(now)


class Load:
    """Publishers at one broker, to sessions of which half are connected to another."""

    def __init__(self, slots):
        self.selector = selectors.DefaultSelector()
        self.publishers = []
        for some in sorted(slots):
            for kind in ("away", "there"):
                name = client_in(some, f"{kind}-{some[0]}-")
                session = Client(MQTT + 2, name)
                session.subscribe(f"f/{name}")
                if kind == "away":
                    session.socket.close()
                else:
                    self.watch(session, None)
                publisher = Publisher(some, f"f/{name}")
                self.publishers.append(publisher)
                self.watch(publisher.client, publisher)
        self.begin()

    def watch(self, client, publisher):
        client.socket.setblocking(False)
        self.selector.register(client.socket, selectors.EVENT_READ, (client, publisher))

    def begin(self):
        self.own, self.seen = 0, time.monotonic()
        for publisher in self.publishers:
            publisher.begin()

    def turn(self):
        """Sends what is due, and takes what has come."""
        now = time.monotonic()
        self.own = max(self.own, now - self.seen)
        self.seen = now
        for publisher in self.publishers:
            publisher.send(now)
        for key, _ in self.selector.select(0.002):
            client, publisher = key.data
            now = time.monotonic()
            for kind, body in client.read_all():
                if publisher:
                    publisher.take(kind, now)
                elif kind & 0xF0 == 0x30:
                    at = 2 + struct.unpack_from(">H", body)[0]
                    client.send(0x40, body[at:at + 2])

    def run(self, seconds):
        """The longest pauses of so many seconds, by slots."""
        self.begin()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()
        return self.pauses()

    def pauses(self):
        pauses, now = {}, time.monotonic()
        for publisher in self.publishers:
            last = now - publisher.last if publisher.acked < publisher.sent else 0
            pause = max(pauses.get(publisher.slots, 0), publisher.pause, last)
            pauses[publisher.slots] = pause
        return pauses

    def acked_since(self, at, slots):
        return all(publisher.last > at for publisher in self.publishers if publisher.slots in slots)

    def first_after(self, at, slots):
        """When the last of the publishers to these slots was acknowledged again."""
        return max(next(ack for ack in publisher.acks if ack > at)
                   for publisher in self.publishers if publisher.slots in slots)

    def stop(self):
        for key in list(self.selector.get_map().values()):
            self.selector.unregister(key.fileobj)
            key.fileobj.close()
