// MQTT.js through the broker.

import mqtt from "mqtt";
import { scram } from "./scram.mjs";
import { Waiting, ca, equal, run, soon, test, url } from "./tap.mjs";

const VERSIONS = { 3: "3.1", 4: "3.1.1", 5: "5.0" };

/** A connected client whose messages are a list to wait for. */
class Client {
  static async connect(version, clientId, options = {}) {
    const client = new Client();
    client.messages = options.messages ?? new Waiting();
    client.ends = new Waiting();
    client.mqtt = mqtt.connect(url, {
      protocolVersion: version,
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      clientId,
      // Reconnecting by itself would hide what the broker did.
      reconnectPeriod: 0,
      ca,
      ...options.connect,
    });
    client.version = version;
    // The packet's own topic is empty where an alias stood for it.
    client.mqtt.on("message", (topic, _, packet) => client.messages.put({ ...packet, topic }));
    client.mqtt.on("disconnect", (packet) => client.ends.put(packet));
    client.mqtt.on("close", () => client.ends.put("closed"));
    client.mqtt.on("error", () => {});
    client.connack = await soon(
      new Promise((resolve) => client.mqtt.once("connect", resolve)),
      "CONNACK",
    );
    return client;
  }

  async subscribe(topic, options = { qos: 0 }) {
    return soon(this.mqtt.subscribeAsync(topic, options), "SUBACK");
  }

  async publish(topic, payload, options = { qos: 0 }) {
    return soon(this.mqtt.publishAsync(topic, payload, options), "the publish's end");
  }

  /** Publishes all: at once, and in 5.0 as many as the broker takes, which MQTT.js ignores. */
  async publishAll(topic, payloads, options) {
    const all = this.version === 5 ? this.connack.properties.receiveMaximum : payloads.length;
    const left = payloads.values();
    const lane = async () => {
      for (const payload of left) await this.publish(topic, payload, options);
    };
    await Promise.all(Array.from({ length: all }, lane));
  }

  async expect(topic, payload) {
    const packet = await this.messages.take(`a message on ${topic}`);
    equal([packet.topic, packet.payload.toString()], [topic, payload]);
    return packet;
  }

  async disconnect() {
    await soon(this.mqtt.endAsync(), "the end");
  }

  /** Closes the socket without DISCONNECT. */
  vanish() {
    this.mqtt.stream.destroy();
  }
}

function eachVersion(name, body) {
  for (const version of [3, 4, 5]) {
    test(`${name}, MQTT ${VERSIONS[version]}`, () => body(version));
  }
}

eachVersion("connects and disconnects", async (version) => {
  await (await Client.connect(version, "hello")).disconnect();
});

eachVersion("all QoS levels arrive as published", async (version) => {
  const alice = await Client.connect(version, "alice");
  const bob = await Client.connect(version, "bob");
  await alice.subscribe("qos/#", { qos: 2 });
  for (const qos of [0, 1, 2]) {
    await bob.publish(`qos/${qos}`, "payload", { qos });
    equal((await alice.expect(`qos/${qos}`, "payload")).qos, qos, "QoS");
  }
  await alice.disconnect();
  await bob.disconnect();
});

eachVersion("retained messages are kept, marked and cleared", async (version) => {
  const topic = `retained/${version}`;
  const bob = await Client.connect(version, "bob");
  await bob.publish(topic, "kept", { qos: 1, retain: true });
  const alice = await Client.connect(version, "alice");
  await alice.subscribe(topic, { qos: 1 });
  equal((await alice.expect(topic, "kept")).retain, true, "RETAIN of the stored message");
  await bob.publish(topic, "", { qos: 1, retain: true });
  equal((await alice.expect(topic, "")).retain, false, "RETAIN of the live message");
  await alice.disconnect();
  await bob.disconnect();
});

eachVersion("a will is sent when the client vanishes", async (version) => {
  const alice = await Client.connect(version, "alice");
  await alice.subscribe("will/#", { qos: 1 });
  const will = { topic: "will/bob", payload: Buffer.from("gone"), qos: 1, retain: false };
  const connect = { will };
  await (await Client.connect(version, "bob", { connect })).disconnect();
  (await Client.connect(version, "bob", { connect })).vanish();
  equal((await alice.expect("will/bob", "gone")).qos, 1, "QoS");
  await alice.publish("will/end", "end");
  await alice.expect("will/end", "end");
  await alice.disconnect();
});

eachVersion("a session keeps messages while its client is away", async (version) => {
  await (await Client.connect(version, "sleeper")).disconnect();
  const connect = { clean: false };
  if (version === 5) connect.properties = { sessionExpiryInterval: 3600 };
  let sleeper = await Client.connect(version, "sleeper", { connect });
  equal(sleeper.connack.sessionPresent, false, "session present at first");
  await sleeper.subscribe("sleep/#", { qos: 2 });
  await sleeper.disconnect();
  const bob = await Client.connect(version, "bob");
  for (let n = 0; n < 10; n += 1) await bob.publish(`sleep/${n}`, "wake up", { qos: 1 });
  await bob.disconnect();
  sleeper = await Client.connect(version, "sleeper", { connect });
  if (version !== 3) equal(sleeper.connack.sessionPresent, true, "session present");
  for (let n = 0; n < 10; n += 1) await sleeper.expect(`sleep/${n}`, "wake up");
  await sleeper.disconnect();
  await (await Client.connect(version, "sleeper")).disconnect();
});

eachVersion("1000 messages of each QoS arrive in order", async (version) => {
  const alice = await Client.connect(version, "alice");
  const bob = await Client.connect(version, "bob");
  await alice.subscribe("order", { qos: 2 });
  const numbers = Array.from({ length: 1000 }, (_, n) => String(n));
  for (const qos of [0, 1, 2]) {
    const sent = bob.publishAll("order", numbers, { qos });
    const received = await alice.messages.takeAll(1000, "message");
    equal(received.map((packet) => packet.payload.toString()), numbers, `QoS ${qos}`);
    await sent;
  }
  await alice.disconnect();
  await bob.disconnect();
});

eachVersion("a payload of 1 MB arrives whole", async (version) => {
  const alice = await Client.connect(version, "alice");
  await alice.subscribe("large", { qos: 2 });
  const payload = Buffer.alloc(1_000_000, "0123456789");
  for (const qos of [0, 1, 2]) {
    await alice.publish("large", payload, { qos });
    const packet = await alice.messages.take("1 MB");
    equal(Buffer.compare(packet.payload, payload), 0, "payload");
  }
  await alice.disconnect();
});

eachVersion("sixteen clients, spread over the workers, all hear each other", async (version) => {
  const names = Array.from({ length: 16 }, (_, n) => `peer-${n}`);
  const clients = await Promise.all(names.map((name) => Client.connect(version, name)));
  await Promise.all(clients.map((client) => client.subscribe("peers", { qos: 1 })));
  await Promise.all(clients.map((client, n) => client.publish("peers", names[n], { qos: 1 })));
  for (const client of clients) {
    const packets = await client.messages.takeAll(16, "message");
    equal(packets.map((packet) => packet.payload.toString()).sort(), names.toSorted());
    await client.disconnect();
  }
});

test("properties reach the subscriber as they were set", async () => {
  const alice = await Client.connect(5, "alice");
  await alice.subscribe("props", { qos: 2 });
  const properties = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 3600,
    contentType: "text/plain",
    responseTopic: "answer/here",
    correlationData: Buffer.from([0, 255]),
    userProperties: { a: ["1", "3"], b: "2" },
  };
  for (const qos of [0, 1, 2]) {
    await alice.publish("props", "text", { qos, properties });
    const received = (await alice.expect("props", "text")).properties;
    equal(received.payloadFormatIndicator, true, "payload format");
    equal(received.contentType, "text/plain", "content type");
    equal(received.responseTopic, "answer/here", "response topic");
    equal([...received.correlationData], [0, 255], "correlation data");
    equal({ ...received.userProperties }, { a: ["1", "3"], b: "2" }, "user properties");
    equal(received.messageExpiryInterval > 3500, true, "message expiry");
  }
  await alice.disconnect();
});

test("topic aliases in both directions, assigned by the clients", async () => {
  const connect = { autoUseTopicAlias: true, autoAssignTopicAlias: true };
  connect.properties = { topicAliasMaximum: 10 };
  const alice = await Client.connect(5, "alice", { connect });
  await alice.subscribe("alias/#", { qos: 1 });
  for (let round = 0; round < 3; round += 1) {
    for (let n = 0; n < 15; n += 1) await alice.publish(`alias/${n}`, `${round}`, { qos: 1 });
  }
  for (let round = 0; round < 3; round += 1) {
    for (let n = 0; n < 15; n += 1) await alice.expect(`alias/${n}`, `${round}`);
  }
  await alice.disconnect();
});

test("request and response find each other", async () => {
  const server = await Client.connect(5, "server");
  const asker = await Client.connect(5, "asker");
  await server.subscribe("service", { qos: 1 });
  await asker.subscribe("reply/asker", { qos: 1 });
  const properties = { responseTopic: "reply/asker", correlationData: Buffer.from("42") };
  await asker.publish("service", "question", { qos: 1, properties });
  const asked = (await server.expect("service", "question")).properties;
  const { correlationData, responseTopic } = asked;
  await server.publish(responseTopic, "answer", { qos: 1, properties: { correlationData } });
  const answer = await asker.expect("reply/asker", "answer");
  equal(answer.properties.correlationData.toString(), "42", "correlation data");
  await server.disconnect();
  await asker.disconnect();
});

test("members of a shared subscription divide the messages", async () => {
  const messages = new Waiting();
  const members = await Promise.all(
    [1, 2, 3].map((n) => Client.connect(5, `member-${n}`, { messages })),
  );
  for (const member of members) await member.subscribe("$share/team/work", { qos: 1 });
  const bob = await Client.connect(5, "bob");
  const numbers = Array.from({ length: 300 }, (_, n) => n);
  await bob.publishAll("work", numbers.map(String), { qos: 1 });
  const packets = await messages.takeAll(300, "message");
  const received = packets.map((packet) => Number(packet.payload)).sort((a, b) => a - b);
  equal(received, numbers, "messages, each once");
  for (const client of [...members, bob]) await client.disconnect();
});

test("a second client of the same id takes over, and the first is told why", async () => {
  const first = await Client.connect(5, "twin");
  const second = await Client.connect(5, "twin");
  equal((await first.ends.take("DISCONNECT")).reasonCode, 0x8e, "reason code");
  await second.publish("twin", "still here", { qos: 1 });
  await second.disconnect();
});

test("what the broker can do stands in CONNACK", async () => {
  const alice = await Client.connect(5, "");
  const { assignedClientIdentifier, receiveMaximum } = alice.connack.properties;
  equal(assignedClientIdentifier.length > 0, true, "assigned id");
  equal(receiveMaximum > 0, true, "receive maximum");
  await alice.disconnect();
});

/** What comes of a login: CONNACK, or the error. */
async function scramLogin(login) {
  const client = mqtt.connect(url, {
    protocolVersion: 5,
    clientId: "scram",
    reconnectPeriod: 0,
    ca,
    properties: login.properties,
  });
  client.handleAuth = login.handleAuth;
  const answer = await soon(
    new Promise((resolve) => client.once("connect", resolve).once("error", resolve)),
    "CONNACK",
  );
  await soon(client.endAsync(true), "the end");
  return answer;
}

test("a password is known to both and sent by nobody", async () => {
  const login = scram("ann,=", "a secret");
  login.verify(await scramLogin(login));
  const wrong = await scramLogin(scram("ann,=", "another"));
  equal(wrong.code, 0x87, "reason code");
});

await run("MQTT.js");
