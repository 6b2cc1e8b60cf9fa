// Buttons that send one request, wherever on a page they are and whenever they came there.

import { send } from "./api.js";
import { ask, complain, note } from "./dialogs.js";

async function press(button, work) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    complain(error);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

async function sendIt(button) {
  const { send: path, method, body, ask: question, follow } = button.dataset;
  const label = button.textContent.trim();
  if (question && !(await ask(label, question))) return;
  button.closest("details.more")?.removeAttribute("open");
  await press(button, async () => {
    const answer = await send(method, path, method === "DELETE" ? undefined : JSON.parse(body));
    if (answer.job_id && follow !== undefined) location.assign(`/jobs/${answer.job_id}`);
    else if (answer.job_id) note(`${answer.title}: job ${answer.number}.`, { link: { href: `/jobs/${answer.job_id}`, text: "Watch it" } });
  });
}

async function order(form) {
  const host = form.elements.host.value;
  const variables = JSON.parse(form.dataset.variables);
  await press(form.querySelector("button"), async () => {
    const job = await send("POST", "/api/jobs", { kind: form.dataset.order, host, variables });
    location.assign(`/jobs/${job.job_id}`);
  });
}

async function turn(input) {
  const on = input.checked;
  try {
    await send("PUT", input.dataset.switch, { on });
  } catch (error) {
    input.checked = !on;
    complain(error);
  }
}

// Browsers give the clipboard to pages of this machine and to https only; the old way works by http.
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "off-screen";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("The browser does not let this page copy.");
  return undefined;
}

async function copyOf(button) {
  try {
    await copy(document.getElementById(button.dataset.copy).textContent);
  } catch (error) {
    complain(error);
    return;
  }
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 2000);
}

const BUTTONS = [["[data-send]", sendIt], ["[data-copy]", copyOf]];

document.addEventListener("click", (event) => {
  for (const [selector, act] of BUTTONS) {
    const button = event.target.closest(selector);
    if (button) act(button);
  }
  // A menu closes when something else is clicked.
  for (const menu of document.querySelectorAll("details.more[open]")) {
    if (!menu.contains(event.target)) menu.removeAttribute("open");
  }
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-order]")) return;
  event.preventDefault();
  order(event.target);
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-switch]")) turn(event.target);
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest?.("details.more[open]");
  if (!menu) return;
  menu.removeAttribute("open");
  menu.querySelector("summary").focus();
});
