"""paho-mqtt through the broker."""

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

import tap
from tap import CAFILE, HOST, PATIENCE_S, PORT, SCHEME, Waiting, case, equal

V31, V311, V5 = mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5
NAMES = {V31: "3.1", V311: "3.1.1", V5: "5.0"}


class Client:
    """A connected client whose callbacks are lists to wait for."""

    def __init__(self, version, client_id, persistent=False, will=None, connect=None,
                 messages=None, **more):
        kwargs = {} if version == V5 else {"clean_session": not persistent}
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=version,
            transport="websockets" if SCHEME in ("ws", "wss") else "tcp", **kwargs
        )
        if SCHEME in ("mqtts", "wss"):
            self.mqtt.tls_set(CAFILE)
        self.version = version
        self.connects, self.acks, self.published = Waiting(), Waiting(), Waiting()
        self.messages, self.ends = messages or Waiting(), Waiting()
        self.mqtt.on_connect = lambda c, u, *args: self.connects.put(args)
        self.mqtt.on_message = lambda c, u, message: self.messages.put(message)
        self.mqtt.on_subscribe = lambda c, u, mid, codes, p: self.acks.put(codes)
        self.mqtt.on_unsubscribe = lambda c, u, mid, codes, p: self.acks.put(codes)
        self.mqtt.on_publish = lambda c, u, mid, code, p: self.published.put(code)
        self.mqtt.on_disconnect = lambda c, u, f, code, p: self.ends.put(code)
        if will:
            self.mqtt.will_set(**will)
        if version == V5:
            more["clean_start"] = not persistent
            more["properties"] = properties(PacketTypes.CONNECT, **(connect or {}))
        # Reconnecting by itself would hide what the broker did.
        self.mqtt.reconnect_delay_set(3600, 3600)
        self.mqtt.connect(HOST, PORT, keepalive=more.pop("keepalive", 60), **more)
        self.mqtt.loop_start()
        self.flags, self.code, self.properties = self.connects.take("CONNACK")
        equal(self.code.is_failure, False, f"CONNACK {self.code}")

    def subscribe(self, *args, **kwargs):
        self.mqtt.subscribe(*args, **kwargs)
        codes = self.acks.take("SUBACK")
        equal([code.is_failure for code in codes], [False] * len(codes), f"SUBACK {codes}")
        return codes

    def unsubscribe(self, topic):
        self.mqtt.unsubscribe(topic)
        return self.acks.take("UNSUBACK")

    def publish(self, topic, payload, qos=0, retain=False, **props):
        info = self.send(topic, payload, qos, retain, **props)
        info.wait_for_publish(PATIENCE_S)
        equal(info.is_published(), True, "is_published")

    def send(self, topic, payload, qos=0, retain=False, **props):
        given = properties(PacketTypes.PUBLISH, **props) if props else None
        return self.mqtt.publish(topic, payload, qos, retain, given)

    def expect(self, topic, payload):
        message = self.messages.take(f"a message on {topic}")
        equal((message.topic, message.payload), (topic, payload), "message")
        return message

    def disconnect(self):
        self.mqtt.disconnect()
        self.ends.take("the end")
        self.mqtt.loop_stop()

    def vanish(self):
        """Closes the socket without DISCONNECT."""
        sock = self.mqtt.socket()
        # That of a WebSocket is within.
        getattr(sock, "_socket", sock).shutdown(2)
        self.ends.take("the end")
        self.mqtt.loop_stop()


def properties(packet, **values):
    made = Properties(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def each_version(name):
    """A case for every version of MQTT."""

    def register(function):
        for version in (V31, V311, V5):
            case(f"{name}, MQTT {NAMES[version]}", version)(function)
        return function

    return register


@each_version("connects and disconnects")
def connects(version):
    Client(version, "hello").disconnect()


@each_version("all QoS levels arrive as published")
def qos_levels(version):
    alice, bob = Client(version, "alice"), Client(version, "bob")
    alice.subscribe("qos/#", 2)
    for qos in (0, 1, 2):
        bob.publish(f"qos/{qos}", b"payload", qos)
        equal(alice.expect(f"qos/{qos}", b"payload").qos, qos, "QoS")
    alice.disconnect()
    bob.disconnect()


@each_version("the granted QoS bounds the delivery")
def granted_qos(version):
    alice = Client(version, "alice")
    for qos in (0, 1, 2):
        alice.subscribe("granted", qos)
        alice.publish("granted", b"x", 2)
        equal(alice.expect("granted", b"x").qos, qos, "QoS")
    alice.disconnect()


@each_version("retained messages are kept, marked and cleared")
def retained(version):
    topic = f"retained/{version}"
    bob = Client(version, "bob")
    bob.publish(topic, b"kept", 1, retain=True)
    alice = Client(version, "alice")
    alice.subscribe(topic, 1)
    equal(alice.expect(topic, b"kept").retain, True, "RETAIN of the stored message")
    bob.publish(topic, b"", 1, retain=True)
    equal(alice.expect(topic, b"").retain, False, "RETAIN of the live message")
    alice.unsubscribe(topic)
    alice.subscribe([(topic, 1), ("marker", 1)])
    bob.publish("marker", b"nothing before me", 1)
    alice.expect("marker", b"nothing before me")
    alice.disconnect()
    bob.disconnect()


@each_version("a will is sent when the client vanishes, and not when it says goodbye")
def will(version):
    alice = Client(version, "alice")
    alice.subscribe("will/#", 1)
    testament = {"topic": "will/bob", "payload": b"gone", "qos": 1}
    Client(version, "bob", will=testament).disconnect()
    Client(version, "bob", will=testament).vanish()
    equal(alice.expect("will/bob", b"gone").qos, 1, "QoS")
    alice.publish("will/end", b"end")
    alice.expect("will/end", b"end")
    alice.disconnect()


@each_version("a session keeps subscriptions and messages while its client is away")
def session(version):
    more = {"persistent": True}
    if version == V5:
        more["connect"] = {"SessionExpiryInterval": 3600}
    Client(version, "sleeper").disconnect()
    sleeper = Client(version, "sleeper", **more)
    equal(sleeper.flags.session_present, False, "session present at first")
    sleeper.subscribe("sleep/#", 2)
    sleeper.disconnect()
    bob = Client(version, "bob")
    for number in range(10):
        bob.publish(f"sleep/{number}", b"wake up", 1 + number % 2)
    bob.disconnect()
    sleeper = Client(version, "sleeper", **more)
    if version != V31:
        equal(sleeper.flags.session_present, True, "session present")
    # paho hands out a QoS 2 message at its PUBREL, so order shows only within a level.
    received = [(m.topic, m.qos) for m in sleeper.messages.take_all(10, "message")]
    for qos in (1, 2):
        sent = [(f"sleep/{number}", qos) for number in range(10) if 1 + number % 2 == qos]
        equal([it for it in received if it[1] == qos], sent, "messages")
    sleeper.disconnect()
    Client(version, "sleeper").disconnect()


@each_version("1000 messages of each QoS arrive in order")
def in_order(version):
    alice, bob = Client(version, "alice"), Client(version, "bob")
    alice.subscribe("order", 2)
    for qos in (0, 1, 2):
        infos = [bob.send("order", b"%d" % number, qos) for number in range(1000)]
        received = [message.payload for message in alice.messages.take_all(1000, "message")]
        equal(received, [b"%d" % number for number in range(1000)], f"QoS {qos}")
        for info in infos:
            info.wait_for_publish(PATIENCE_S)
    alice.disconnect()
    bob.disconnect()


@each_version("a payload of 1 MB arrives whole")
def large(version):
    alice, bob = Client(version, "alice"), Client(version, "bob")
    alice.subscribe("large", 2)
    payload = bytes(range(256)) * 4096
    for qos in (0, 1, 2):
        bob.publish("large", payload, qos)
        equal(alice.messages.take("1 MB").payload == payload, True, "payload")
    alice.disconnect()
    bob.disconnect()


@each_version("unsubscribing stops messages")
def unsubscribes(version):
    alice = Client(version, "alice")
    alice.subscribe([("un/a", 1), ("un/b", 1)])
    alice.unsubscribe("un/a")
    alice.publish("un/a", b"lost", 1)
    alice.publish("un/b", b"found", 1)
    alice.expect("un/b", b"found")
    alice.disconnect()


@each_version("wildcards match levels")
def wildcards(version):
    alice = Client(version, "alice")
    alice.subscribe([("w/+/c", 0), ("w/d/#", 0)])
    for topic in ("w/b/c", "w/c", "w/b/b/c", "w/d", "w/d/e/f", "v/b/c", "w//c"):
        alice.publish(topic, b"x")
    for topic in ("w/b/c", "w/d", "w/d/e/f", "w//c"):
        alice.expect(topic, b"x")
    alice.disconnect()


@each_version("sixteen clients, spread over the workers, all hear each other")
def all_to_all(version):
    clients = [Client(version, f"peer-{n}") for n in range(16)]
    for client in clients:
        client.subscribe("peers", 1)
    for number, client in enumerate(clients):
        client.publish("peers", b"%d" % number, 1)
    for client in clients:
        payloads = sorted(int(message.payload) for message in client.messages.take_all(16))
        equal(payloads, list(range(16)), "senders")
        client.disconnect()


@each_version("a second client of the same id takes over")
def takeover(version):
    first = Client(version, "twin")
    second = Client(version, "twin")
    code = first.ends.take("the first one's end")
    if version == V5:
        equal(code.value, 0x8E, "reason code")
    first.mqtt.loop_stop()
    second.publish("twin", b"still here", 1)
    second.disconnect()


@case("properties reach the subscriber as they were set")
def forwards_properties():
    alice, bob = Client(V5, "alice"), Client(V5, "bob")
    alice.subscribe("props", 2)
    users = [("a", "1"), ("b", "2"), ("a", "3")]
    for qos in (0, 1, 2):
        bob.publish(
            "props",
            "text",
            qos,
            PayloadFormatIndicator=1,
            MessageExpiryInterval=3600,
            ContentType="text/plain",
            ResponseTopic="answer/here",
            CorrelationData=b"\x00\xff",
            UserProperty=users,
        )
        props = alice.expect("props", b"text").properties
        equal(props.PayloadFormatIndicator, 1, "payload format")
        equal(3500 < props.MessageExpiryInterval <= 3600, True, "message expiry")
        equal(props.ContentType, "text/plain", "content type")
        equal(props.ResponseTopic, "answer/here", "response topic")
        equal(props.CorrelationData, b"\x00\xff", "correlation data")
        equal(props.UserProperty, users, "user properties")
    alice.disconnect()
    bob.disconnect()


@case("a client may use topic aliases")
def topic_alias():
    alice, bob = Client(V5, "alice"), Client(V5, "bob")
    alice.subscribe("alias/#", 1)
    equal(bob.properties.TopicAliasMaximum >= 2, True, "topic alias maximum")
    bob.publish("alias/one", b"1", 1, TopicAlias=1)
    bob.publish("alias/two", b"2", 1, TopicAlias=2)
    bob.publish("", b"3", 1, TopicAlias=1)
    bob.publish("", b"4", 0, TopicAlias=2)
    for topic, payload in (("one", b"1"), ("two", b"2"), ("one", b"3"), ("two", b"4")):
        alice.expect(f"alias/{topic}", payload)
    alice.disconnect()
    bob.disconnect()


@case("request and response find each other")
def request_response():
    server, asker = Client(V5, "server"), Client(V5, "asker")
    server.subscribe("service", 1)
    asker.subscribe("reply/asker", 1)
    for number in range(10):
        ask = {"ResponseTopic": "reply/asker", "CorrelationData": b"%d" % number}
        asker.publish("service", b"2*%d" % number, 1, **ask)
    for number in range(10):
        props = server.expect("service", b"2*%d" % number).properties
        data = props.CorrelationData
        server.publish(props.ResponseTopic, b"%d" % (2 * number), 1, CorrelationData=data)
    for number in range(10):
        answer = asker.expect("reply/asker", b"%d" % (2 * number))
        equal(answer.properties.CorrelationData, b"%d" % number, "correlation data")
    server.disconnect()
    asker.disconnect()


@case("members of a shared subscription divide the messages")
def shared():
    taken = Waiting()
    members = [Client(V5, f"member-{n}", messages=taken) for n in range(3)]
    for member in members:
        member.subscribe("$share/team/work", 1)
    bob = Client(V5, "bob")
    for number in range(300):
        bob.send("work", b"%d" % number, 1)
    received = sorted(int(message.payload) for message in taken.take_all(300, "message"))
    equal(received, list(range(300)), "messages, each once")
    for client in [*members, bob]:
        client.disconnect()


@case("subscription identifiers say why a message came")
def subscription_identifiers():
    alice = Client(V5, "alice")
    for identifier, topic in ((1, "ids/#"), (300, "ids/+")):
        made = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier)
        alice.subscribe(topic, 1, properties=made)
    alice.publish("ids/a", b"x", 1)
    alice.publish("end", b"x", 1)
    seen = []
    while sum(len(ids) for ids in seen) < 2:
        seen.append(alice.messages.take("a message").properties.SubscriptionIdentifier)
    equal(sorted(sum(seen, [])), [1, 300], "identifiers")
    alice.disconnect()


@case("the options of a subscription hold: no local, retain as published, retain handling")
def options():
    alice, bob = Client(V5, "alice"), Client(V5, "bob")
    bob.publish("opt", b"old", 1, retain=True)
    handling = SubscribeOptions.RETAIN_DO_NOT_SEND
    alice.subscribe("opt", options=SubscribeOptions(1, True, True, handling))
    alice.publish("opt", b"my own", 1)
    bob.publish("opt", b"new", 1, retain=True)
    equal(alice.expect("opt", b"new").retain, True, "RETAIN as published")
    handling = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
    alice.subscribe("opt", options=SubscribeOptions(1, False, False, handling))
    bob.publish("opt", b"live", 1, retain=True)
    equal(alice.expect("opt", b"live").retain, False, "RETAIN of a live message")
    bob.publish("opt", b"", 1, retain=True)
    alice.disconnect()
    bob.disconnect()


@case("a publisher hears that nobody listens")
def no_matching_subscribers():
    alice = Client(V5, "alice")
    for qos in (1, 2):
        alice.publish("nobody/listens", b"x", qos)
        equal(alice.published.take("an acknowledgement").value, 0x10 if qos == 1 else 0)
    alice.disconnect()


@case("the broker tells a client without an id which it has got")
def assigned_id():
    alice, bob = Client(V5, ""), Client(V5, "")
    ids = {alice.properties.AssignedClientIdentifier, bob.properties.AssignedClientIdentifier}
    equal(len(ids), 2, "different ids")
    alice.disconnect()
    bob.disconnect()


@case("a will with properties, asked for by DISCONNECT 0x04")
def will_on_request():
    alice = Client(V5, "alice")
    alice.subscribe("last/#", 1)
    props = properties(PacketTypes.WILLMESSAGE, ContentType="text/x-will")
    props.UserProperty = ("k", "v")
    testament = {"topic": "last/words", "payload": b"bye", "qos": 1, "properties": props}
    bob = Client(V5, "bob", will=testament)
    bob.mqtt.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
    received = alice.expect("last/words", b"bye").properties
    equal((received.ContentType, received.UserProperty), ("text/x-will", [("k", "v")]))
    alice.disconnect()


@case("keep alive of one second keeps an idle client connected")
def keep_alive():
    alice = Client(V311, "alice", keepalive=1)
    alice.subscribe("alive", 0)
    # Time itself is what is tested: twice what the broker waits for a silent client.
    equal(alice.ends.stays_empty(3), True, "connected all the time")
    alice.publish("alive", b"yes")
    alice.expect("alive", b"yes")
    alice.disconnect()


tap.run("paho-mqtt")
