// The little that tests of a client need: cases, waiting, and lines for the runner.
//
// Every case prints `ok N - name` or `not ok N - name`, and the last line is `1..N`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const scheme = process.env.MQTT_SCHEME ?? "mqtt";
export const url = `${scheme}://${process.env.MQTT_HOST ?? "127.0.0.1"}:${process.env.MQTT_PORT}`;
// Who has signed the broker's certificate.
export const ca = process.env.MQTT_CAFILE && readFileSync(process.env.MQTT_CAFILE);

// Far more than anything needs on a busy machine.
const PATIENCE_MS = 20_000;

const cases = [];

export function test(name, body) {
  cases.push([name, body]);
}

/** Runs all cases in the order they were written, and ends the program. */
export async function run(client) {
  let failed = 0;
  for (const [index, [name, body]] of cases.entries()) {
    try {
      await soon(body(), "the case's end", 4 * PATIENCE_MS);
      console.log(`ok ${index + 1} - ${client}: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${index + 1} - ${client}: ${name}`);
      console.log(`# ${String(error.stack).replaceAll("\n", "\n# ")}`);
    }
  }
  console.log(`1..${cases.length}`);
  // Clients that a failed case left behind must not keep the program.
  process.exit(failed ? 1 : 0);
}

/** `promise`, or an error that says what did not come. */
export async function soon(promise, what, limit_ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), limit_ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A list that events fill, and that can be waited for. */
export class Waiting {
  #items = [];
  #takers = [];

  put(item) {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  }

  /** The next item, removed. */
  take(what = "something") {
    if (this.#items.length) return Promise.resolve(this.#items.shift());
    return soon(new Promise((resolve) => this.#takers.push(resolve)), what);
  }

  async takeAll(count, what = "something") {
    const all = [];
    for (let n = 1; n <= count; n += 1) all.push(await this.take(`${what} ${n} of ${count}`));
    return all;
  }
}

export function equal(actual, expected, what) {
  assert.deepEqual(actual, expected, what && `${what}: ${JSON.stringify(actual)}`);
}
