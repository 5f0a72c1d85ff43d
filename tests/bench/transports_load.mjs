// A publisher and two subscribers of MQTT.js: URL MESSAGES_PER_SECOND SECONDS.
//
// Prints a line when it begins, and how many messages were sent and received when it ends.

import { createRequire } from "node:module";

const mqtt = createRequire(new URL("../clients/package.json", import.meta.url))("mqtt");

const [url, rate, seconds] = process.argv.slice(2);
const options = { rejectUnauthorized: false, reconnectPeriod: 0 };
const payload = Buffer.alloc(100, "x");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let received = 0;
for (let n = 0; n < 2; n += 1) {
  const subscriber = await mqtt.connectAsync(url, options);
  subscriber.on("message", () => {
    received += 1;
  });
  await subscriber.subscribeAsync("load");
}
const publisher = await mqtt.connectAsync(url, options);
await sleep(500);
console.log("begins");
let sent = 0;
const begun = performance.now();
for (let ms = 0; ms < seconds * 1000; ms = performance.now() - begun) {
  for (; sent < (ms / 1000) * rate; sent += 1) publisher.publish("load", payload);
  await sleep(1);
}
for (let n = 0; n < 200 && received < 2 * sent; n += 1) await sleep(50);
console.log(`${sent} ${received}`);
process.exit(0);
