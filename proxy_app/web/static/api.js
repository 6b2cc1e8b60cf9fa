// One way to ask the gateway for something, and one kind of error when it refuses.

export class Refused extends Error {
  constructor(status, error) {
    super(error.message ?? `The gateway answered with status ${status}.`);
    this.status = status;
    this.code = error.code ?? null;
    this.param = error.param ?? null;
    this.job = error.job_id ?? null;
  }
}

export async function send(method, path, body) {
  const headers = { Accept: "application/json" };
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  if (token) headers["x-csrf-token"] = token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused(0, { message: "The gateway does not answer. Is it running?" });
  }
  // The session is over: the page itself leads to the login.
  if (response.status === 401) location.reload();
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error ?? {});
  return answer;
}
