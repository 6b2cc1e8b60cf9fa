// Three steps: where it is, whether it is the right one and lets us in, what it is for. Each opens
// the next, and changing an earlier one closes those after it.

import "./actions.js";
import { send } from "./api.js";
import { busy, clearWrongs, missing, showWrong } from "./forms.js";
import { keyOf } from "./host_key.js";

const byId = (id) => document.getElementById(id);
const [where, who, what] = ["where", "who", "what"].map(byId);
const GIGA = 1e9;
let key = null; // the one whose fingerprint a person compares

const login = () => ({
  address: where.elements.address.value.trim(),
  port: Number(where.elements.port.value),
  user: where.elements.user.value.trim(),
});

function open(step) {
  step.hidden = false;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  step.scrollIntoView({ block: "nearest", behavior: isCalm ? "instant" : "smooth" });
  byId("said").textContent = step.querySelector("h2").textContent.slice(1);
  step.querySelector("input, button").focus({ preventScroll: true });
}

function step(form, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearWrongs(form);
    busy(form.querySelector("button.primary"), async () => {
      try {
        await work();
      } catch (error) {
        // An address that turns out wrong only at a later step is shown at the first one.
        const place = error.param && !form.elements[error.param] && where.elements[error.param] ? where : form;
        showWrong(place, error);
      }
    });
  });
}

step(where, async () => {
  if (missing(where, ["address", "user", "port"])) return;
  key = await keyOf(login());
  byId("key-type").textContent = `${key.type} of ${key.address}`;
  byId("fingerprint").textContent = key.fingerprint;
  byId("key-known").hidden = !key.known;
  byId("confirmed").checked = key.known;
  what.hidden = true;
  await showOurKey();
  open(who);
});

async function showOurKey() {
  const { key: ours } = await send("GET", "/api/hosts");
  byId("public-key").textContent = `mkdir -p ~/.ssh && echo '${ours.public}' >> ~/.ssh/authorized_keys`;
}

step(who, async () => {
  if (!byId("confirmed").checked) {
    showWrong(who, { message: "Compare the fingerprints first, and say that they are the same." });
    return;
  }
  const isByPassword = who.elements.way.value === "password";
  if (isByPassword && missing(who, ["password"])) return;
  const password = isByPassword ? { password: who.elements.password.value } : {};
  const result = await send("POST", "/api/hosts/try", { ...login(), fingerprint: key.fingerprint, ...password });
  who.elements.password.value = "";
  if (!result.ok) {
    showWrong(who, { message: result.detail });
    return;
  }
  showFound(result.found ?? {});
  open(what);
});

step(what, async () => {
  if (missing(what, ["name"])) return;
  const groups = [...what.querySelectorAll('[name="groups"]:checked')].map(({ value }) => value);
  await send("POST", "/api/hosts", {
    ...login(), fingerprint: key.fingerprint, name: what.elements.name.value.trim(), groups,
  });
  location.assign("/");
});

const giga = (bytes) => `${Math.round(bytes / GIGA)} GB`;

function showFound(found) {
  const rows = [
    [Boolean(found.docker), found.docker ? "Docker, which this user may use"
      : `No Docker that this user may use, so nothing can be installed yet. ${found.docker_error ?? ""}`],
    [Boolean(found.gpu), found.gpu ?? "No GPU: services will run on the CPU"],
  ];
  if (found.memory_available_bytes) rows.push([true, `${giga(found.memory_available_bytes)} of memory available`]);
  if (found.disk_free_bytes) rows.push([true, `${giga(found.disk_free_bytes)} of disk free`]);
  for (const [name, title] of [["parakeet", "Parakeet"], ["magpie", "Magpie"], ["whisperx", "WhisperX"]]) {
    const it = found[name];
    if (!it) continue;
    rows.push([true, `${title} runs there already: container ${it.container}, port ${it.port ?? "unknown"}`]);
    for (const group of name === "parakeet" ? ["parakeet", "sortformer"] : [name]) {
      const box = what.querySelector(`[name="groups"][value="${group}"]`);
      if (box) box.checked = true;
    }
  }
  byId("found-list").replaceChildren(...rows.map(([good, text]) => {
    const row = document.createElement("li");
    row.dataset.good = good ? "yes" : "no";
    row.textContent = text;
    return row;
  }));
  const name = what.elements.name;
  if (!name.value) name.value = login().address.split(".")[0].toLowerCase().replace(/[^a-z0-9-]/g, "-").replace(/^[0-9-]+$/, "spark");
}

who.addEventListener("change", () => {
  for (const part of who.querySelectorAll("[data-way]")) part.hidden = part.dataset.way !== who.elements.way.value;
});
where.addEventListener("input", () => { who.hidden = true; what.hidden = true; });
