// Keeps the page up to date: the same elements as the server made, filled from /api/services.
// Everything from outside is put in as text, never as HTML.
"use strict";

const PERIOD_MS = 4000;
const TIMEOUT_MS = 15000;
const byId = (id) => document.getElementById(id);

function setText(element, text) {
  // Only what changed: a screen reader repeats what is written anew.
  if (element.textContent !== text) element.textContent = text;
}

function fillCard(card, service) {
  card.dataset.state = service.state;
  card.dataset.name = service.name;
  for (const field of card.querySelectorAll("[data-field]")) {
    const value = service[field.dataset.field];
    const shown = value === null || value === undefined ? "" : String(value);
    setText(field, shown);
    const row = field.tagName === "DD" ? field.parentElement : field;
    if (row !== field || field.dataset.field === "detail") row.hidden = shown === "";
  }
}

function newCard() {
  const row = document.createElement("li");
  row.append(byId("card").content.cloneNode(true));
  return row;
}

function showServices(services) {
  const list = byId("cards");
  while (list.children.length > services.length) list.lastElementChild.remove();
  while (list.children.length < services.length) list.append(newCard());
  services.forEach((service, index) => fillCard(list.children[index].querySelector(".card"), service));
  byId("empty").hidden = services.length > 0;
}

function showMalformed(files) {
  byId("malformed").hidden = files.length === 0;
  byId("malformed-list").replaceChildren(...files.map(({ file, reason }) => {
    const row = document.createElement("li");
    const name = document.createElement("code");
    const why = document.createElement("span");
    name.textContent = file;
    why.textContent = reason;
    row.append(name, " ", why);
    return row;
  }));
}

function showLive(isLive, text) {
  byId("live").dataset.live = isLive ? "yes" : "no";
  setText(byId("live-text"), text);
}

let malformedShown = null;

async function refresh() {
  try {
    const response = await fetch("/api/services", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const snapshot = await response.json();
    showServices(snapshot.services);
    const malformed = JSON.stringify(snapshot.malformed);
    if (malformed !== malformedShown) showMalformed(snapshot.malformed);
    malformedShown = malformed;
    setText(byId("summary"), snapshot.summary);
    showLive(true, "Live");
  } catch {
    showLive(false, "The gateway does not answer");
  }
}

async function watch() {
  if (!document.hidden) await refresh();
  setTimeout(watch, PERIOD_MS);
}

function offerCopy(button) {
  // Browsers give the clipboard to pages of this machine and to https only.
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

document.querySelectorAll(".copy").forEach(offerCopy);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
watch();
