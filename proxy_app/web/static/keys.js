// API keys: made, shown once, revoked.

import { send } from "./api.js";
import { ask, complain } from "./dialogs.js";
import { busy, clearWrongs, showWrong } from "./forms.js";

const list = document.getElementById("keys");
const form = document.getElementById("new-key");
const made = document.getElementById("made-key");

function row(key) {
  const item = document.createElement("li");
  item.dataset.key = key.id;
  item.dataset.name = key.name;
  const text = document.createElement("span");
  const name = document.createElement("b");
  name.textContent = key.name;
  const shown = document.createElement("code");
  shown.textContent = `sk-spark-${key.id}-…`;
  text.append(name, " ", shown);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button careful";
  button.dataset.revoke = "";
  button.setAttribute("aria-label", `Revoke ${key.name}`);
  button.textContent = "Revoke";
  item.append(text, button);
  return item;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearWrongs(form);
  const fields = { name: form.elements.name.value.trim() };
  for (const limit of ["per_minute", "max_in_flight"]) {
    if (form.elements[limit].value) fields[limit] = Number(form.elements[limit].value);
  }
  busy(form.querySelector(".primary"), async () => {
    try {
      const key = await send("POST", "/api/keys", fields);
      list.querySelector("li:not([data-key])")?.remove();
      list.append(row(key));
      made.querySelector("code").textContent = key.key;
      made.hidden = false;
      form.reset();
    } catch (error) {
      showWrong(form, { message: error.message });
    }
  });
});

list.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-revoke]");
  if (!button) return;
  const item = button.closest("li");
  if (!(await ask("Revoke", `${item.dataset.name} is refused from now on.`))) return;
  await busy(button, async () => {
    try {
      await send("DELETE", `/api/keys/${item.dataset.key}`);
      item.remove();
      made.hidden = true;
    } catch (error) {
      complain(error);
    }
  });
});
