#!/usr/bin/env python3
"""Lets a Mosquitto write the persistence files that mogi-store's tests read.

    mosquitto-db-fixtures.py MOSQUITTO OUT_DIR [PORT]

MOSQUITTO is the broker's program (2.0 or 2.1), OUT_DIR gets one file for each function below
that is in FIXTURES, and PORT (21983) has to be free. What is in the files is what the functions
do; crates/mogi-store/tests/fixtures/README.md tells it in words.

The client in here does only what it is told, so that deliveries can be left half-way.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

LONG_S = 3_000_000_000


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(value)) + value


def varint(value):
    out = b""
    while True:
        byte, value = value & 127, value >> 7
        out += bytes([byte | (128 if value else 0)])
        if not value:
            return out


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


def u32(prop, value):
    return bytes([prop]) + struct.pack(">I", value)


def user(name, value):
    return b"\x26" + text(name) + text(value)


SESSION = u32(0x11, LONG_S)
EXPIRY = u32(0x02, LONG_S)


class Client:
    def __init__(self, port, name, v5=False, clean=False, username=None, props=b"", will=None):
        self.v5 = v5
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(10)
        flags = (2 if clean else 0) | (0x80 if username else 0)
        payload = text(name)
        if will:
            topic, message = will
            flags |= 4 | 8 | 0x20
            payload += self.section(b"") + text(topic) + text(message)
        payload += text(username) if username else b""
        head = text("MQTT") + bytes([5 if v5 else 4, flags]) + struct.pack(">H", 60)
        self.send(0x10, head + self.section(props) + payload)
        assert self.expect(2)[1] == 0

    def section(self, props):
        return varint(len(props)) + props if self.v5 else b""

    def send(self, first, body):
        self.socket.sendall(packet(first, body))

    def receive(self, count):
        out = b""
        while len(out) < count:
            more = self.socket.recv(count - len(out))
            assert more, "the broker closed the connection"
            out += more
        return out

    def expect(self, kind):
        first, length, shift = self.receive(1)[0], 0, 0
        while True:
            byte = self.receive(1)[0]
            length, shift = length | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        body = self.receive(length)
        assert first >> 4 == kind, (first, body)
        return body

    def subscribe(self, topic, options, props=b""):
        head = struct.pack(">H", 1) + self.section(props)
        self.send(0x82, head + text(topic) + bytes([options]))
        assert self.expect(9)[-1] < 3

    def publish(self, topic, payload, qos, mid=1, retain=False, props=b"", release=True):
        head = text(topic) + (struct.pack(">H", mid) if qos else b"")
        payload = payload.encode() if isinstance(payload, str) else payload
        first = 0x30 | qos << 1 | (1 if retain else 0)
        self.send(first, head + self.section(props) + payload)
        if qos == 1:
            self.expect(4)
        if qos == 2:
            self.expect(5)
        if qos == 2 and release:
            self.acknowledge(6, mid)
            self.expect(7)
        if qos == 0:
            self.send(0xC0, b"")
            self.expect(13)

    def acknowledge(self, kind, mid):
        self.send(kind << 4 | (2 if kind == 6 else 0), struct.pack(">H", mid))

    def close(self):
        """Says goodbye and waits until the broker has closed the connection."""
        self.send(0xE0, b"")
        while self.socket.recv(4096):
            pass
        self.socket.close()


class Broker:
    def __init__(self, program, port, options):
        self.folder = tempfile.TemporaryDirectory()
        self.file = os.path.join(self.folder.name, "mosquitto.db")
        config = os.path.join(self.folder.name, "mosquitto.conf")
        lines = ["allow_anonymous true", "persistence true", "user root"]
        lines += [f"persistence_location {self.folder.name}/", *options]
        lines += [f"listener {port} 127.0.0.1"]
        with open(config, "w") as out:
            out.write("\n".join(lines) + "\n")
        self.process = subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the broker does not start")

    def save(self):
        """Asks for a file while the broker goes on."""
        self.process.send_signal(signal.SIGUSR1)
        while not os.path.exists(self.file):
            time.sleep(0.05)
        return self.content()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        return self.content()

    def content(self):
        with open(self.file, "rb") as file:
            return file.read()


def empty(broker, port):
    return broker().stop()


def sessions(broker, port):
    """Three sessions, and what is queued for them."""
    broker = broker("queue_qos0_messages true")
    five = Client(port, "five", v5=True, props=SESSION, username="felicity")
    five.subscribe("p/#", 2 | 4 | 8 | 0x20, props=b"\x0b\x85\x02")
    five.subscribe("p/+", 1, props=b"\x0b\x07")
    five.subscribe("$share/group/p/#", 1)
    five.subscribe("other", 0x11)
    five.close()
    four = Client(port, "four", username="felix")
    four.subscribe("p/zero", 0)
    four.subscribe("größe/+", 1)
    four.close()
    last = Client(port, "no-subscription", username="Zoë")
    last.close()
    one = Client(port, "one", v5=True, clean=True, username="publisher")
    props = b"\x01\x01" + EXPIRY + b"\x23\x00\x05" + user("b", "2") + user("a", "1") + user("b", "")
    props += b"\x09" + text(b"\x00\xff\x10") + b"\x08" + text("reply/to") + b"\x03" + text("text")
    one.publish("p/all", "all properties", 2, mid=0x1234, retain=True, props=props)
    one.publish("p/empty", "", 1, mid=2)
    one.publish("p/zero", "at most once", 0)
    one.publish("größe/1", b"\x00\x01\xfe\xff", 1, mid=3)
    one.publish("nobody/waits", "for this", 1, mid=4)
    one.close()
    return broker.stop()


def states(broker, port):
    """A session whose connection broke with deliveries half-way in both directions."""
    broker = broker("max_inflight_messages 3")
    client = Client(port, "half-way")
    client.subscribe("out/#", 2)
    one = Client(port, "one", clean=True)
    for mid, qos in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 1)):
        one.publish(f"out/{mid}", f"message {mid}", qos, mid=mid)
    for _ in range(3):
        client.expect(3)
    client.acknowledge(5, 3)
    client.expect(6)
    client.publish("in/77", "not released", 2, mid=77, release=False)
    client.publish("in/78", "nor this", 2, mid=78, retain=True, release=False)
    client.socket.close()
    one.close()
    return broker.stop()


def retained(broker, port):
    """Retained messages, one of them the will that the broker's end sends."""
    broker = broker()
    one = Client(port, "one", clean=True)
    one.publish("replaced", "old", 1, retain=True)
    one.publish("replaced", "new", 1, retain=True)
    one.publish("deleted", "old", 1, retain=True)
    one.publish("deleted", "", 1, retain=True)
    one.publish("zero", "0", 0, retain=True)
    one.publish("$dollar/topic", "not for wildcards", 2, retain=True)
    one.publish("long/" + "t" * 300, b"p" * 2000, 1, mid=65535, retain=True)
    Client(port, "will", clean=True, will=("will", "last words"))
    return broker.stop()


def online(broker, port):
    """Written while clients are connected."""
    broker = broker("persistent_client_expiration 1000d")
    clients = [
        Client(port, "clean", clean=True),
        Client(port, "stays"),
        Client(port, "v5-ends", v5=True, props=u32(0x11, 0)),
        Client(port, "v5-stays", v5=True, props=SESSION),
        Client(port, "v5-never", v5=True, props=u32(0x11, 0xFFFFFFFF)),
    ]
    for client in clients:
        client.subscribe("a", 1)
    data = broker.save()
    broker.stop()
    return data


def usernames(broker, port):
    """Sessions with and without user names: Mosquitto 2.0.11 mixes them up."""
    broker = broker()
    names = [None, "f", None, None, "g", "g", None]
    for number, name in enumerate(names):
        Client(port, f"client-{number}", username=name).close()
    data = bytearray(broker.stop())
    # What it writes behind a stale name is its memory, which is different each time.
    for stale in (b"client-2f\0", b"client-6g\0"):
        end = data.find(stale) + len(stale)
        if end >= len(stale):
            data[end : end + 254] = bytes(254)
    return bytes(data)


def bridge(broker, port):
    """The session of the broker's own bridge, whose other end does not answer."""
    lines = ["connection b", "address 127.0.0.1:1", "topic x/# out 1", "cleansession false"]
    broker = broker(*lines, "remote_clientid remote")
    one = Client(port, "one", clean=True)
    one.publish("x/1", "for the other end", 1)
    one.close()
    return broker.stop()


FIXTURES = [empty, sessions, states, retained, online, usernames, bridge]


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    program, folder = sys.argv[1:3]
    port = int(sys.argv[3]) if len(sys.argv) == 4 else 21983
    os.makedirs(folder, exist_ok=True)
    for fixture in FIXTURES:
        data = fixture(lambda *options: Broker(program, port, options), port)
        with open(os.path.join(folder, f"{fixture.__name__}.db"), "wb") as out:
            out.write(data)


if __name__ == "__main__":
    main()
