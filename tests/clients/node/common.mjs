// What the scripts share: the client, from BASE_URL and API_KEY, and a line of JSON for each case.
import OpenAI from "openai";

export const CLIP = process.env.CLIP;
export const MODEL = process.env.MODEL;

export function client(more = {}) {
  const { BASE_URL: baseURL, API_KEY: apiKey } = process.env;
  return new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 120_000, ...more });
}

export async function cases(named) {
  for (const [name, work] of Object.entries(named)) {
    let line;
    try {
      line = { name, got: await work() };
    } catch (error) {
      const { status, type, param, code, message } = error;
      line = { name, raised: error.constructor.name, status, type, param, code, message };
    }
    console.log(JSON.stringify(line));
  }
}

export async function all(stream) {
  const found = [];
  for await (const event of stream) found.push(event);
  return found;
}
