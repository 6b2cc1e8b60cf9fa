// Speech to text: what a file may be, every format, streams, errors.
import { createReadStream, openAsBlob } from "node:fs";
import { readFile } from "node:fs/promises";
import { toFile } from "openai";
import { all, cases, client, CLIP } from "./common.mjs";

const { transcriptions, translations } = client().audio;
const file = () => createReadStream(CLIP);
const create = (more) => transcriptions.create({ file: file(), model: "whisper-1", ...more });

await cases({
  stream_of_a_file: () => create(),
  buffer_without_a_type: async () =>
    create({ file: await toFile(await readFile(CLIP), "x", { type: "application/octet-stream" }) }),
  file: async () => create({ file: new File([await openAsBlob(CLIP)], "recording.wav") }),
  text: () => create({ response_format: "text" }),
  srt: () => create({ response_format: "srt" }),
  vtt: () => create({ response_format: "vtt" }),
  verbose_json: () =>
    create({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] }),
  diarized_json: () =>
    create({
      model: "gpt-4o-transcribe-diarize",
      response_format: "diarized_json",
      chunking_strategy: "auto",
    }),
  stream: async () => all(await create({ model: "gpt-4o-transcribe", stream: true })),
  stream_of_speakers: async () =>
    all(
      await create({
        model: "gpt-4o-transcribe-diarize",
        response_format: "diarized_json",
        chunking_strategy: { type: "server_vad", threshold: 0.5 },
        stream: true,
      }),
    ),
  translation: () => translations.create({ file: file(), model: "whisper-1" }),
  no_recording: async () => create({ file: await toFile(Buffer.from("hello ".repeat(99)), "a.wav") }),
});
