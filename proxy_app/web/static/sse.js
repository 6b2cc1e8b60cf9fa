// Server-sent events by fetch, as EventSource gives up at the first 503 and does not notice a
// connection that died while the laptop slept.

import { setClock } from "./time.js";

const SILENCE_MS = 40_000; // the gateway says something every 15 s
const HIDDEN_MS = 30_000; // browsers allow six connections to a server: hidden tabs give theirs back
const LONGEST_PAUSE_MS = 15_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// `on` has a function per event, given its data and its id; `live(isLive)` says how the connection
// is; `refused(status)` ends it. Goes on behind the last id. Returns a function that ends it.
export function follow(address, { on, live = () => {}, refused = () => {} }) {
  let ended = false;
  let after = null;
  let heard = Date.now();
  let controller = new AbortController();
  let wake = () => {};

  function handle(block) {
    const fields = {};
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    if (fields.event === undefined) return; // a comment: it only says that somebody is there
    if (fields.id !== undefined) after = fields.id;
    on[fields.event]?.(JSON.parse(fields.data), fields.id);
  }

  async function read() {
    const url = new URL(address, location.origin);
    if (after !== null) url.searchParams.set("after", after);
    controller = new AbortController();
    heard = Date.now();
    const response = await fetch(url, { signal: controller.signal, cache: "no-store" });
    if ([401, 403, 404].includes(response.status)) {
      ended = true;
      refused(response.status);
      return;
    }
    if (!response.ok) throw new Error(`status ${response.status}`);
    setClock(response.headers.get("Date"));
    live(true);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard = Date.now();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(handle);
      if (ended) return;
    }
  }

  async function run() {
    let tries = 0;
    while (!ended) {
      const began = Date.now();
      try {
        await read();
      } catch {
        // Cut off, refused for the moment, or given back: all go on below.
      }
      if (ended) return;
      if (document.hidden) await new Promise((done) => { wake = done; });
      else if (tries > 0) live(false); // not for the moment of a restart
      tries = Date.now() - began > LONGEST_PAUSE_MS ? 0 : tries + 1;
      const longest = Math.min(LONGEST_PAUSE_MS, 250 * 2 ** tries);
      await Promise.race([pause(longest * (0.5 + Math.random() / 2)), new Promise((done) => { wake = done; })]);
    }
  }

  let hiding = null;
  function onVisibility() {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => controller.abort(), HIDDEN_MS);
    else wake();
  }
  const onOnline = () => controller.abort();
  const guard = setInterval(() => { if (Date.now() - heard > SILENCE_MS) controller.abort(); }, 5000);
  document.addEventListener("visibilitychange", onVisibility);
  window.addEventListener("online", onOnline);

  function end() {
    ended = true;
    clearInterval(guard);
    clearTimeout(hiding);
    document.removeEventListener("visibilitychange", onVisibility);
    window.removeEventListener("online", onOnline);
    controller.abort();
    wake();
  }
  run();
  return end;
}
