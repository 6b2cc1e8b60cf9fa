// Keeps the page Speech up to date: its parts come over one stream, as the server makes them.

import "./actions.js";
import { morph } from "./morph.js";
import { follow } from "./sse.js";

const byId = (id) => document.getElementById(id);

function showLive(isLive) {
  byId("live").dataset.live = isLive ? "yes" : "no";
  byId("live-text").textContent = isLive ? "Live" : "The gateway does not answer";
}

// Only a change of a state is read out, not every new number.
function announce() {
  const states = [...document.querySelectorAll("#part-services .card")].map(
    (card) => [card.getAttribute("aria-label"), card.querySelector(".pill").textContent.trim()],
  );
  const now = new Map(states);
  const news = known === null ? [] : states.filter(([name, state]) => known.get(name) !== state);
  if (news.length) byId("said").textContent = news.map(([name, state]) => `${name}: ${state}`).join(". ");
  known = now;
}

let known = null;
const on = {};
for (const part of ["offers", "services", "hosts", "jobs"]) {
  on[part] = (html) => {
    morph(byId(`part-${part}`), html);
    if (part === "services") announce();
  };
}
announce();
follow("/live", { on, live: showLive, refused: () => location.reload() });
