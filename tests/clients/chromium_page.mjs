// A page in a headless Chromium, served by the broker (`http_dir`), with MQTT.js in it.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { soon, url } from "./tap.mjs";

const LIMIT_MS = 240_000;
const browser = process.env.MOGI_TEST_CHROMIUM ?? "chromium-headless-shell";

let told;
const results = new Promise((resolve) => (told = resolve));
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    response.end();
    if (request.method === "POST") told(JSON.parse(body));
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const tell = `http://127.0.0.1:${server.address().port}/`;
const page = `${url.replace(/^ws/, "http")}/page/index.html?tell=${encodeURIComponent(tell)}`;
const profile = mkdtempSync(join(tmpdir(), "mogi-chromium-"));
// The certificate is of an authority for this test. The port keeps the browser running.
const flags = ["--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"];
const more = [`--user-data-dir=${profile}`, "--remote-debugging-port=0", page];
// A group of its own, which ends as one: what is called may be a script around the browser.
const stdio = ["ignore", "ignore", "pipe"];
const child = spawn(browser, [...flags, ...more], { stdio, detached: true });
let said = "";
child.stderr.on("data", (part) => (said = (said + part).slice(-4000)));
const ended = new Promise((_, reject) => {
  child.once("error", (error) => reject(new Error(`${browser}: ${error.message}`)));
  child.once("exit", (code) => reject(new Error(`${browser} ended with ${code}`)));
});

let failed = 0;
let count = 1;
try {
  const all = await soon(Promise.race([results, ended]), "what the page has to tell", LIMIT_MS);
  count = all.length;
  for (const [index, [name, problem]] of all.entries()) {
    console.log(`${problem ? "not ok" : "ok"} ${index + 1} - Chromium: ${name}`);
    if (problem) console.log(`# ${problem.replaceAll("\n", "\n# ")}`);
    failed += problem ? 1 : 0;
  }
} catch (error) {
  failed = 1;
  console.log("not ok 1 - Chromium: the page comes to its end");
  console.log(`# ${error.message}\n# ${said.replaceAll("\n", "\n# ")}`);
}
console.log(`1..${count}`);
ended.catch(() => {});
const gone = new Promise((resolve) => child.once("exit", resolve));
try {
  process.kill(-child.pid, "SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await gone;
} catch {
  // Nothing of it is left.
}
rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
process.exit(failed ? 1 : 0);
