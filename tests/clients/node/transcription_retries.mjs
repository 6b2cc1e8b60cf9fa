// What it does when a transcription cannot be had now. Each wait is told in a line of its own, and
// is over when whoever reads it says so.
import { createReadStream, openAsBlob } from "node:fs";
import { createInterface } from "node:readline";
import { all, cases, client, CLIP } from "./common.mjs";

const timeout = 120_000;
const later = globalThis.setTimeout;
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
globalThis.setTimeout = (work, ms, ...rest) => {
  const isTheSdks = new Error().stack.includes("node_modules/openai/"); // and not Node's own
  if (!isTheSdks || ms === timeout) return later(work, ms, ...rest); // the request's own limit
  console.log(JSON.stringify({ waits: ms }));
  return void told.next().then(() => later(work, 0, ...rest));
};

const { transcriptions, translations } = client({ maxRetries: 2, timeout }).audio;
const file = new File([await openAsBlob(CLIP)], "recording.wav");
const streamed = { model: "gpt-4o-transcribe", stream: true };
const asked = {
  whole: () => transcriptions.create({ file, model: "whisper-1" }),
  of_a_stream: () => transcriptions.create({ file: createReadStream(CLIP), model: "whisper-1" }),
  streamed: async () => all(await transcriptions.create({ file, ...streamed })),
  translated: () => translations.create({ file, model: "whisper-1" }),
  translated_verbose: () =>
    translations.create({ file, model: "whisper-1", response_format: "verbose_json" }),
};

await cases({ [process.env.CASE]: asked[process.env.CASE] });
process.exit();
