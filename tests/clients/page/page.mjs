// What a page does with MQTT.js at the broker it was served by, each case told to who opened it:
// `?tell=URL` in the address says where.

const tell = new URLSearchParams(location.search).get("tell");
const url = location.href.replace(/^http/, "ws").replace(/\/page\/.*/, "/mqtt");
const PATIENCE_MS = 20_000;
const VERSIONS = { 3: "3.1", 4: "3.1.1", 5: "5.0" };

function soon(promise, what) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]);
}

function equal(actual, expected, what) {
  if (actual !== expected) throw new Error(`${what}: ${actual}, not ${expected}`);
}

/** A connected client whose messages are a list to wait for. */
class Client {
  static async connect(version, clientId, options = {}) {
    const client = new Client();
    client.messages = [];
    client.mqtt = mqtt.connect(url, {
      protocolVersion: version,
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      clientId,
      // Reconnecting by itself would hide what the broker did.
      reconnectPeriod: 0,
      ...options,
    });
    client.mqtt.on("message", (topic, payload, packet) => {
      client.messages.push({ topic, payload, packet });
      client.wake?.();
    });
    client.mqtt.on("error", (error) => client.fail?.(error));
    const connected = new Promise((resolve, reject) => {
      client.mqtt.once("connect", resolve);
      client.fail = reject;
    });
    client.connack = await soon(connected, "CONNACK");
    return client;
  }

  async next(what) {
    const there = new Promise((resolve) => {
      this.wake = () => this.messages.length && resolve();
      this.wake();
    });
    await soon(there, what);
    return this.messages.shift();
  }

  subscribe(topic, qos) {
    return soon(this.mqtt.subscribeAsync(topic, { qos }), "SUBACK");
  }

  publish(topic, payload, options) {
    return soon(this.mqtt.publishAsync(topic, payload, options), "the publish's end");
  }

  end() {
    return soon(this.mqtt.endAsync(), "the end");
  }
}

async function everyQos(version) {
  const client = await Client.connect(version, `qos-${version}`);
  await client.subscribe("qos/#", 2);
  for (const qos of [0, 1, 2]) {
    await client.publish(`qos/${qos}`, "payload", { qos });
    const { topic, payload, packet } = await client.next(`QoS ${qos}`);
    equal(topic, `qos/${qos}`, "topic");
    equal(payload.toString(), "payload", "payload");
    equal(packet.qos, qos, "QoS");
  }
  await client.end();
}

async function megabyte(version) {
  const client = await Client.connect(version, `large-${version}`);
  await client.subscribe("large", 1);
  const payload = new Uint8Array(1 << 20).map((_, at) => at % 251);
  await client.publish("large", payload, { qos: 1 });
  const message = await client.next("a megabyte");
  equal(message.payload.length, payload.length, "length");
  const differs = message.payload.findIndex((byte, at) => byte !== payload[at]);
  equal(differs, -1, "first byte that differs");
  await client.end();
}

async function inOrder(version) {
  const client = await Client.connect(version, `order-${version}`);
  await client.subscribe("order", 1);
  const all = 500;
  for (let n = 0; n < all; n += 1) {
    client.publish("order", String(n), { qos: n % 2 }).catch(() => {});
  }
  const last = [-1, -1];
  for (let n = 0; n < all; n += 1) {
    const { payload, packet } = await client.next(`message ${n}`);
    const number = Number(payload.toString());
    equal(number > last[packet.qos], true, `${number} after ${last[packet.qos]}`);
    last[packet.qos] = number;
  }
  await client.end();
}

async function comesBack(version) {
  const options = { clean: false };
  if (version === 5) options.properties = { sessionExpiryInterval: 3600 };
  const sleeper = await Client.connect(version, `sleeper-${version}`, options);
  await sleeper.subscribe(`sleep/${version}`, 1);
  // As a page that is closed.
  sleeper.mqtt.stream.destroy();
  const other = await Client.connect(version, `other-${version}`);
  await other.publish(`sleep/${version}`, "wake up", { qos: 1 });
  await other.end();
  const back = await Client.connect(version, `sleeper-${version}`, options);
  equal((await back.next("what waited")).payload.toString(), "wake up", "payload");
  await back.end();
}

const cases = [
  ["every QoS arrives as published", everyQos],
  ["a megabyte arrives as it was", megabyte],
  ["500 messages arrive in order", inOrder],
  ["a session waits for a page that comes back", comesBack],
];

const all = cases.flatMap(([name, body]) => {
  return [3, 4, 5].map((version) => [`${name}, MQTT ${VERSIONS[version]}`, () => body(version)]);
});
const results = [];
for (const [name, body] of all) {
  let problem = null;
  try {
    await body();
  } catch (error) {
    problem = String(error.stack ?? error);
  }
  results.push([name, problem]);
}
await fetch(tell, { method: "POST", mode: "no-cors", body: JSON.stringify(results) });
