// What it does when it is told to come back. Its waits are written down and not waited for.
import { cases, client, MODEL as model } from "./common.mjs";

const timeout = 120_000;
const later = globalThis.setTimeout;
let waited = [];
globalThis.setTimeout = (work, ms, ...rest) => {
  const isTheSdks = new Error().stack.includes("node_modules/openai/"); // and not Node's own
  if (!isTheSdks || ms === timeout) return later(work, ms, ...rest); // the request's own limit
  waited.push(ms);
  return later(work, 0, ...rest);
};

const attempt = (apiKey) => async () => {
  waited = [];
  let code = null;
  try {
    await client({ apiKey, maxRetries: 2, timeout }).embeddings.create({ model, input: "x" });
  } catch (error) {
    code = [error.status, error.code];
  }
  return { waited, code };
};

await cases({
  first: attempt(process.env.LIMITED_KEY),
  limited: attempt(process.env.LIMITED_KEY),
  failing: attempt(process.env.API_KEY),
});
