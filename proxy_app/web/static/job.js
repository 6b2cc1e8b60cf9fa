// The view of one job: its phases and its log as they come, and what can be done about it.

import { copy } from "./actions.js";
import { send } from "./api.js";
import { complain } from "./dialogs.js";
import { Log } from "./log.js";
import { morph } from "./morph.js";
import { follow } from "./sse.js";

const POLL_HIDDEN_MS = 20_000;
const SIGNS = { succeeded: "✓", failed: "✗", timed_out: "✗", lost: "✗", canceled: "–" };
const byId = (id) => document.getElementById(id);
const id = byId("job").dataset.job;
const head = byId("part-job");
const log = new Log(byId("log"), showLog);
const phaseLines = []; // the number of each phase's first line
let isOver = byId("job").dataset.over === "yes";
let wanted = lineOfAddress();

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function lineOfAddress() {
  const found = /^#L(\d{1,9})$/.exec(location.hash);
  return found ? Number(found[1]) : null;
}

function showLog() {
  if (wanted !== null && (log.length >= wanted || (isOver && log.length))) {
    log.reveal(wanted);
    wanted = null;
  }
  byId("log-empty").hidden = log.length > 0;
  byId("follow").setAttribute("aria-pressed", String(log.following));
  const isBehind = !log.following && log.unseen > 0;
  byId("to-end").hidden = !isBehind;
  if (isBehind) setText(byId("to-end"), `↓ ${log.unseen} new line${log.unseen === 1 ? "" : "s"}`);
  const count = log.matches.length;
  const many = count >= 10_000 ? "10 000+" : count;
  setText(byId("found"), log.query ? (count ? `${log.match + 1} of ${many}` : "None") : "");
  for (const name of ["before", "next"]) byId(name).disabled = count === 0;
}

async function showHead() {
  const response = await fetch(`/jobs/${id}/head`, { cache: "no-store" });
  if (response.ok) morph(head, await response.text());
}

function showStatus(job) {
  isOver = job.over;
  byId("job").dataset.state = job.state;
  byId("job").dataset.over = isOver ? "yes" : "no";
  document.title = `${SIGNS[job.state] ?? "●"} ${job.title}, job ${job.number}`;
  setText(byId("log-empty"), isOver ? "This job wrote no log." : job.state === "queued"
    ? "It waits for its turn. The log begins with its first line." : "The log begins with its first line.");
  showHead();
}

function begun({ name, state }) {
  if (state !== "running") return;
  phaseLines.push(log.length + 1);
  setText(byId("said"), `Phase ${name}`);
}

const end = follow(`/api/jobs/${id}/stream`, {
  on: {
    status: showStatus,
    phase: begun,
    log: ({ line, text }) => log.add(line, text),
    end: ({ state, reason }) => {
      end();
      setText(byId("said"), `${state.replace("_", " ")}. ${reason}`);
      if (wanted !== null) log.repaint();
    },
  },
  live: (isLive) => { byId("job").dataset.live = isLive ? "yes" : "no"; byId("lost-touch").hidden = isLive; },
  refused: () => location.reload(),
});

// A hidden tab gives its stream back, but its title goes on telling.
setInterval(async () => {
  if (!document.hidden || isOver) return;
  try {
    showStatus(await send("GET", `/api/jobs/${id}`));
  } catch {
    // It is asked again.
  }
}, POLL_HIDDEN_MS);

function point(number) {
  history.replaceState(null, "", `#L${number}`);
}

head.addEventListener("click", (event) => {
  const phase = event.target.closest("[data-phase]");
  const line = phase && phaseLines[Number(phase.dataset.phase)];
  if (!line || line > log.length) return;
  point(line);
  log.reveal(line);
  byId("log").focus({ preventScroll: true });
});
byId("log").addEventListener("click", (event) => {
  const number = event.target.closest(".number")?.dataset.number;
  if (!number || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  point(number);
  log.follow(false);
  log.select(Number(number));
});
window.addEventListener("hashchange", () => {
  wanted = lineOfAddress();
  log.repaint();
});
byId("follow").addEventListener("click", () => log.follow(!log.following));
byId("to-end").addEventListener("click", () => { log.follow(true); byId("log").focus(); });

let typing = null;
function search() {
  clearTimeout(typing);
  typing = null;
  log.search(byId("search").value);
}
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, 150);
});
function step(by) {
  if (typing === null) log.step(by);
  else search(); // Enter came before what was typed was looked for
  if (log.match >= 0) point(log.matches[log.match].number);
}
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    byId("search").value = "";
    search();
  }
  if (event.key !== "Enter") return;
  event.preventDefault();
  step(event.shiftKey ? -1 : 1);
});
byId("before").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("copy-log").addEventListener("click", async ({ currentTarget: button }) => {
  try {
    await copy(log.text());
  } catch (error) {
    complain(error);
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
