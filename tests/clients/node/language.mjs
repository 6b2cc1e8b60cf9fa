// Models and language models: lists, chats whole and streamed, completions, embeddings, responses.
import { all, cases, client, MODEL as model } from "./common.mjs";

const openai = client();
const messages = [{ role: "user", content: "one two three" }];

await cases({
  models: async () => (await all(await openai.models.list())).map((model) => model.id),
  retrieved: () => openai.models.retrieve(model),
  no_model: () => openai.models.retrieve("whisper-9"),
  chat: () => openai.chat.completions.create({ model, messages }),
  chat_streamed: async () =>
    all(await openai.chat.completions.create({ model, messages, stream: true })),
  completion: () => openai.completions.create({ model, prompt: "again" }),
  embeddings: () => openai.embeddings.create({ model, input: ["ab"], encoding_format: "float" }),
  response: async () => (await openai.responses.create({ model, input: "once more" })).output_text,
  response_streamed: async () =>
    all(await openai.responses.create({ model, input: "once more", stream: true })),
  left: async () => {
    const stream = await openai.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) {
      stream.controller.abort();
      return chunk.choices[0].delta.content;
    }
  },
  wrong_key: () => client({ apiKey: "sk-somebody-elses" }).embeddings.create({ model, input: "x" }),
});
