// Secrets: written, never read.

import "./time.js";
import { send } from "./api.js";
import { ask, complain, note } from "./dialogs.js";
import { busy, clearWrongs, showWrong } from "./forms.js";

function show(form, isSet) {
  const name = form.dataset.secret;
  form.elements.value.value = "";
  form.elements.value.placeholder = isSet ? "A new one takes its place" : "";
  form.querySelector("[data-forget]").hidden = !isSet;
  document.getElementById(`state-${name}`).textContent = isSet ? "Set just now." : "Not set.";
}

for (const form of document.querySelectorAll("[data-secret]")) {
  const path = `/api/secrets/${form.dataset.secret}`;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearWrongs(form);
    busy(form.querySelector(".primary"), async () => {
      try {
        await send("PUT", path, { value: form.elements.value.value });
        show(form, true);
        note("Saved.");
      } catch (error) {
        showWrong(form, { message: error.message });
      }
    });
  });
  form.querySelector("[data-forget]").addEventListener("click", async ({ currentTarget: button }) => {
    if (!(await ask("Forget it", "Services that were given it have it still."))) return;
    await busy(button, async () => {
      try {
        await send("DELETE", path);
        show(form, false);
      } catch (error) {
        complain(error);
      }
    });
  });
}
