// Text to speech: every format as base64, a stream, events, errors.
import { all, cases, client } from "./common.mjs";

const { speech } = client().audio;
const asked = { model: "tts-1", voice: "alloy", input: "This is a sentence with some words in it." };
const base64 = async (response) => Buffer.from(await response.arrayBuffer()).toString("base64");
const format = (response_format) => async () => {
  const response = await speech.create({ ...asked, response_format });
  return { type: response.headers.get("content-type"), data: await base64(response) };
};

await cases({
  mp3: format("mp3"),
  opus: format("opus"),
  aac: format("aac"),
  flac: format("flac"),
  wav: format("wav"),
  pcm: format("pcm"),
  unsaid: format(undefined),
  stream: async () => {
    const response = await speech.create({ ...asked, model: "gpt-4o-mini-tts", voice: "marin" });
    return Buffer.concat(await all(response.body)).toString("base64");
  },
  events: async () => {
    const response = await speech.create({ ...asked, stream_format: "sse" });
    return response.text();
  },
  no_voice: () => speech.create({ ...asked, voice: "bob" }),
  too_long: () => speech.create({ ...asked, input: "x".repeat(5000) }),
  too_fast: () => speech.create({ ...asked, speed: 9 }),
});
