// What the page says beside its content: short notes, and a question before what cannot be undone.

const SHOWN_MS = 10_000;
const byId = (id) => document.getElementById(id);

// A note at the edge of the page, read out once; `link` is {href, text}.
export function note(text, { link = null, bad = false } = {}) {
  const box = document.createElement("p");
  box.className = bad ? "toast bad" : "toast";
  box.append(text);
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link.href;
    anchor.textContent = link.text;
    box.append(" ", anchor);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "toast-close";
  close.setAttribute("aria-label", "Dismiss");
  close.textContent = "×";
  close.addEventListener("click", () => box.remove());
  box.append(close);
  byId("toasts").append(box);
  if (!bad) setTimeout(() => box.remove(), SHOWN_MS);
}

// What went wrong with a request, and the job that is in the way where one is.
export function complain(error) {
  const link = error.job ? { href: `/jobs/${error.job}`, text: "Watch it" } : null;
  note(error.job ? "That is already being done." : error.message, { link, bad: !error.job });
}

// Whether a person agrees.
export function ask(title, text) {
  const dialog = byId("ask");
  byId("ask-title").textContent = `${title}?`;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = title;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}
