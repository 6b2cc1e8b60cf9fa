// The key by which a host is told from others.

import { send } from "./api.js";

// What the host at {address, port} shows: {type, fingerprint, address, known}. People compare
// fingerprints of Ed25519 keys, where there is one.
export async function keyOf({ address, port }) {
  const { keys, known } = await send("POST", "/api/hosts/look", { address, port });
  return { ...(keys.find(({ type }) => type.includes("ed25519")) ?? keys[0]), address, known };
}
