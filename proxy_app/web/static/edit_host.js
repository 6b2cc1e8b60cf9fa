// The fields of a host that was added on the page, saved together or not at all.

import "./actions.js";
import { send } from "./api.js";
import { complain } from "./dialogs.js";
import { busy, clearWrongs, missing, showWrong } from "./forms.js";
import { keyOf } from "./host_key.js";

const byId = (id) => document.getElementById(id);
const form = byId("host");
let key = null; // the one that a person compares, where the host shows another one than before

const where = () => ({ address: form.elements.address.value.trim(), port: Number(form.elements.port.value) });

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearWrongs(form);
  if (missing(form, ["address", "user", "port"])) return;
  const groups = [...form.querySelectorAll('[name="groups"]:checked')].map(({ value }) => value);
  const confirmed = key && byId("confirmed").checked ? { fingerprint: key.fingerprint } : {};
  const changes = { ...where(), user: form.elements.user.value.trim(), groups, ...confirmed };
  busy(form.querySelector(".primary"), async () => {
    try {
      await send("PATCH", `/api/hosts/${form.dataset.name}`, changes);
      location.assign("/");
    } catch (error) {
      if (error.job) complain(error);
      else showWrong(form, error);
    }
  });
});

byId("look").addEventListener("click", ({ currentTarget: button }) => {
  clearWrongs(form);
  busy(button, async () => {
    try {
      key = await keyOf(where());
      byId("key-type").textContent = `${key.type} of ${key.address}`;
      byId("fingerprint").textContent = key.fingerprint;
      byId("confirmed").checked = key.known;
      byId("shown-key").hidden = false;
      byId("said").textContent = `It shows the key ${key.fingerprint}`;
      byId("confirmed").focus();
    } catch (error) {
      showWrong(form, error);
    }
  });
});
form.elements.address.addEventListener("input", forget);
form.elements.port.addEventListener("input", forget);

// A key that was compared is one of the address that it was shown at.
function forget() {
  key = null;
  byId("shown-key").hidden = true;
}
