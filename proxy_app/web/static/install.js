// A form of variables becomes an order. What is left alone is left out: the role knows it, or the
// inventory, whose value may be another one than the role's default that is shown.

import "./actions.js";
import { send } from "./api.js";
import { complain } from "./dialogs.js";
import { busy, clearWrongs, showWrong } from "./forms.js";

const form = document.getElementById("order");
const chosen = new Set();

const READ = {
  bool: (input) => input.checked,
  int: (input) => (input.value.trim() === "" ? "" : Number(input.value)),
  list: (input) => input.value.split("\n").map((line) => line.trim()).filter(Boolean),
  dict: (input) => Object.fromEntries(
    input.value.split("\n").filter((line) => line.trim()).map((line) => {
      const [name, ...rest] = line.split("=");
      return [name.trim(), rest.join("=").trim()];
    }),
  ),
};

// What is typed and cannot be read would else be sent as if nothing was there.
function unreadable(input, type) {
  if (input.validity.badInput) return "A whole number is expected.";
  const line = type === "dict" && input.value.split("\n").find((each) => each.trim() && !/^\s*[^=\s]+\s*=/.test(each));
  return line ? `NAME=value is expected on each line, not: ${line.trim()}` : null;
}

function refuses() {
  for (const field of form.querySelectorAll(".field[data-type]")) {
    const input = field.querySelector("[name]");
    const message = unreadable(input, field.dataset.type);
    if (message) return showWrong(form, { param: input.name, message });
  }
  return false;
}

const isEmpty = (value) => value === "" || (typeof value === "object" && Object.keys(value).length === 0);

function variables() {
  const found = {};
  for (const field of form.querySelectorAll(".field[data-type]")) {
    const input = field.querySelector("[name]");
    const value = (READ[field.dataset.type] ?? (({ value: text }) => text.trim()))(input);
    const isAlone = JSON.stringify(value) === field.dataset.default && !chosen.has(input);
    if (!isEmpty(value) && (!isAlone || field.dataset.required === "yes")) found[input.name] = value;
  }
  return found;
}

form?.addEventListener("change", ({ target }) => chosen.add(target));

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  clearWrongs(form);
  if (refuses()) return;
  const preview = event.submitter?.value === "preview";
  const order = { kind: form.dataset.kind, host: form.elements.host.value, variables: variables(), preview };
  busy(event.submitter ?? form.querySelector(".primary"), async () => {
    try {
      const job = await send("POST", "/api/jobs", order);
      location.assign(`/jobs/${job.job_id}`);
    } catch (error) {
      if (error.job) complain(error);
      else showWrong(form, error);
    }
  });
});
