// Times in words, kept true: <time data-ago> is "3 min ago", <time data-since> counts on.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
let offsetMs = 0; // of the server's clock from this one's

export function setClock(date) {
  const server = Date.parse(date ?? "");
  if (!Number.isNaN(server)) offsetMs = server - Date.now();
}

// As web/words.py: the two largest units.
export function lasted(seconds) {
  const parts = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [unit, length] of UNITS) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count || (unit === "s" && !parts.length)) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ");
}

function ago(seconds) {
  if (seconds < 60) return "just now";
  const [unit, length] = UNITS.find(([, size]) => seconds >= size);
  return `${Math.floor(seconds / length)} ${unit} ago`;
}

function show(element) {
  const time = Date.parse(element.dateTime);
  const seconds = (Date.now() + offsetMs - time) / 1000;
  const words = "ago" in element.dataset ? ago(seconds) : lasted(seconds);
  if (element.textContent !== words) element.textContent = words;
  const whole = new Date(time).toLocaleString();
  if (element.title !== whole) element.title = whole;
}

export function showTimes(root = document) {
  root.querySelectorAll("time[data-ago], time[data-since]").forEach(show);
}

showTimes();
setInterval(showTimes, 1000);
