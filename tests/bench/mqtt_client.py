"""A client of MQTT 5.0, as much of it as the measurements take."""

import socket
import struct
import time


def varint(number):
    out = b""
    while True:
        number, low = divmod(number, 128)
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


def text(words):
    return struct.pack(">H", len(words)) + words.encode()


class Client:
    """Connects, with a session that lasts for an hour if there is to be one."""

    def __init__(self, port, name, lasting=True):
        self.socket = dial(port)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        properties = struct.pack(">BIBH", 17, 3600 if lasting else 0, 33, 65535)
        flags = 0 if lasting else 2
        body = text("MQTT") + bytes([5, flags, 0, 60]) + varint(len(properties)) + properties
        self.send(0x10, body + text(name))
        self.connack = self.expect(0x20)

    def send(self, kind, body):
        self.socket.sendall(bytes([kind]) + varint(len(body)) + body)

    def publish(self, topic, packet_id, payload):
        """Sends a message at QoS 1."""
        self.send(0x32, text(topic) + struct.pack(">HB", packet_id, 0) + payload)

    def subscribe(self, topic):
        """Subscribes at QoS 1, and waits until that is acknowledged."""
        self.send(0x82, b"\0\1\0" + text(topic) + b"\1")
        self.expect(0x90)

    def read(self):
        """The next packet: its first byte, and what follows its length."""
        while True:
            packet = self.packet()
            if packet:
                return packet
            self.receive()

    def read_all(self):
        """Everything that has come, of a socket that does not block."""
        self.receive()
        return iter(self.packet, None)

    def receive(self):
        more = self.socket.recv(1 << 16)
        if not more:
            raise SystemExit("the broker closed the connection")
        self.buffer += more

    def packet(self):
        """The first packet that was received, if all of it is there."""
        length, shift, at = 0, 0, 1
        while at < len(self.buffer):
            byte = self.buffer[at]
            length |= (byte & 127) << shift
            shift, at = shift + 7, at + 1
            if byte < 128:
                break
        else:
            return None
        if len(self.buffer) < at + length:
            return None
        kind, body = self.buffer[0], self.buffer[at:at + length]
        self.buffer = self.buffer[at + length:]
        return kind, body

    def expect(self, kind):
        while True:
            got, body = self.read()
            if got & 0xF0 == kind:
                return body


def dial(port):
    """Connects as soon as somebody listens."""
    until = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.005)
