// SCRAM-SHA-256 (RFC 7677) for MQTT.js: the password is shown to be known, and not sent, and the
// broker shows that it knows it too.
//
//   const login = scram("ann", "secret");
//   const client = mqtt.connect(url, { protocolVersion: 5, properties: login.properties });
//   client.handleAuth = login.handleAuth;
//   client.on("connect", (connack) => login.verify(connack));

import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";

const METHOD = "SCRAM-SHA-256";
const HEADER = "n,,";

const hmac = (key, text) => createHmac("sha256", key).update(text).digest();

/** A login: `properties` of CONNECT, `handleAuth` of the client, and `verify` for CONNACK. */
export function scram(username, password) {
  const name = username.replaceAll("=", "=3D").replaceAll(",", "=2C");
  const ours = randomBytes(18).toString("base64");
  const bare = `n=${name},r=${ours}`;
  let expected;

  /** The client's last message, as an answer to the server's first. */
  function answer(challenge) {
    const part = (key) => challenge.split(",").find((it) => it.startsWith(`${key}=`)).slice(2);
    const nonce = part("r");
    if (!nonce.startsWith(ours)) throw new Error("the broker answers somebody else");
    const salt = Buffer.from(part("s"), "base64");
    const salted = pbkdf2Sync(password.normalize("NFKC"), salt, Number(part("i")), 32, "sha256");
    const key = hmac(salted, "Client Key");
    const last = `c=${Buffer.from(HEADER).toString("base64")},r=${nonce}`;
    const said = `${bare},${challenge},${last}`;
    const signature = hmac(createHash("sha256").update(key).digest(), said);
    const proof = Buffer.from(key.map((byte, at) => byte ^ signature[at]));
    expected = hmac(hmac(salted, "Server Key"), said);
    return `${last},p=${proof.toString("base64")}`;
  }

  return {
    properties: { authenticationMethod: METHOD, authenticationData: Buffer.from(HEADER + bare) },
    handleAuth(packet, callback) {
      try {
        const data = answer(packet.properties.authenticationData.toString());
        const properties = { authenticationMethod: METHOD, authenticationData: Buffer.from(data) };
        callback(null, { cmd: "auth", reasonCode: 0x18, properties });
      } catch (error) {
        callback(error);
      }
    },
    verify(connack) {
      const shown = connack.properties?.authenticationData?.toString() ?? "";
      const signature = Buffer.from(shown.replace(/^v=/, ""), "base64");
      const whole = expected !== undefined && signature.length === expected.length;
      if (!whole || !timingSafeEqual(signature, expected)) {
        throw new Error("the broker does not know the password");
      }
    },
  };
}
