// What is wrong with a form, said where it is wrong.

export function clearWrongs(form) {
  for (const text of form.querySelectorAll(".wrong, .form-wrong")) text.hidden = true;
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

// At the field that an error names, else above all of them. Returns whether it was the former.
export function showWrong(form, error, prefix = "") {
  const input = error.param ? form.querySelector(`[name="${CSS.escape(error.param)}"]`) : null;
  const place = input && document.getElementById(`wrong-${prefix}${error.param}`);
  const text = place ?? form.querySelector(".form-wrong");
  text.textContent = error.message;
  text.hidden = false;
  if (!place) {
    text.scrollIntoView({ block: "nearest" });
    return false;
  }
  input.setAttribute("aria-invalid", "true");
  const fold = input.closest("details");
  if (fold) fold.open = true;
  input.focus();
  return true;
}

// Whether one of these fields is empty; the first one that is says so.
export function missing(form, names) {
  const empty = names.find((name) => !form.elements[name].value.trim());
  if (empty) showWrong(form, { param: empty, message: "This is needed." });
  return empty !== undefined;
}

// While `work` goes on its button cannot be pressed again.
export async function busy(button, work) {
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    return await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}
