// aedes with aedes-persistence-redis on a Redis Cluster, to be measured by redis.py.
//
// Usage: node aedes.mjs FOLDER PORT REDIS-PORT
//
// FOLDER has both in its node_modules (npm install aedes aedes-persistence-redis); the cluster's
// first three nodes are at REDIS-PORT and behind it. Prints "ready" when it listens.

import { createRequire } from "node:module";
import { createServer } from "node:net";
import { pathToFileURL } from "node:url";

const [folder, port, redis] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const { Aedes } = await load("aedes");
const { default: persistence } = await load("aedes-persistence-redis");
const nodes = [0, 1, 2].map((at) => ({ host: "127.0.0.1", port: Number(redis) + at }));
const broker = await Aedes.createBroker({ persistence: persistence({ cluster: nodes }) });
createServer(broker.handle).listen(Number(port), "127.0.0.1", () => console.log("ready"));
