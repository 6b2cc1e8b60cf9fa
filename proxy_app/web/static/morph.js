// Makes an element's content what the server says it is now, changing only what differs: focus,
// opened folds, chosen options and what a screen reader has read stay as they are.
// The HTML is our own server's, which escapes what comes from outside; a parsed document runs no
// script, and the page's policy would not let it.

import { showTimes } from "./time.js";

// What a person has changed and the server knows nothing of.
const OWN = { DETAILS: ["open"] };
const keyOf = (node) => node.dataset?.key ?? (node.id || null);

export function morph(element, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const focused = around(document.activeElement, element);
  putChildren(element, fresh);
  keepFocus(focused);
  showTimes(element);
}

// An element and what is around it, up to `top`; nothing where it is not in there.
function around(node, top) {
  const found = [];
  for (let at = node; top.contains(at); at = at.parentElement) found.push(at);
  return found;
}

// What had the focus may be gone: then whoever uses the keyboard goes on from what is around it.
function keepFocus(focused) {
  if (!focused.length || focused[0].isConnected) return;
  const left = focused.find((node) => node.isConnected);
  left.tabIndex = -1;
  left.focus({ preventScroll: true });
}

function putChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (keyOf(child) !== null) keyed.set(keyOf(child), child);
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    const key = keyOf(node);
    const match = key !== null ? keyed.get(key) : at;
    if (match && isLike(match, node)) {
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      keyed.delete(key);
      put(match, node);
    } else {
      old.insertBefore(document.importNode(node, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const isLike = (old, fresh) => old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);

function put(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  const isSameTime = old.nodeName === "TIME" && old.dateTime === fresh.dateTime;
  putAttributes(old, fresh);
  if (old.nodeName === "INPUT") old.checked = fresh.checked;
  // Their words are the script's.
  if (!isSameTime) putChildren(old, fresh);
}

function putAttributes(old, fresh) {
  const own = OWN[old.nodeName] ?? [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !own.includes(name) && !(old.nodeName === "TIME" && name === "title")) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !own.includes(name)) old.setAttribute(name, value);
  }
}
