// What a person does before a page's scripts have come is not lost: it is done again once they are
// there. The head waits for this file, so that it is there before anything can be pressed; browsers
// say DOMContentLoaded when all modules have run.
{
  const OURS = "form:not([action]), form[data-order]"; // the others, and links, work by themselves
  const done = [];

  const hear = (event) => {
    const { type, target, submitter } = event;
    if (type === "submit") {
      if (!target.matches(OURS)) return;
      event.preventDefault();
      done.push(() => target.requestSubmit(submitter));
    } else if (type === "click") {
      const button = target.closest("button[type=button]");
      if (button) done.push(() => button.click());
    } else {
      done.push(() => target.dispatchEvent(new Event(type, { bubbles: true })));
    }
  };

  const TYPES = ["click", "submit", "input", "change"];
  for (const type of TYPES) document.addEventListener(type, hear);
  document.addEventListener("DOMContentLoaded", () => {
    for (const type of TYPES) document.removeEventListener(type, hear);
    for (const again of done) again();
  });
}
