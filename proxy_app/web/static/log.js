// A log of any length in a page of bounded size. All lines are kept as text; those in sight are
// elements. Lines are put together in chunks, and a chunk out of sight is one empty element of the
// height that its lines have.

import { pieces, plain, split } from "./ansi.js";

const CHUNK = 200;
const AHEAD_PX = 1500;
const NEAR_END_PX = 30;
const MOST_MATCHES = 10_000;

export class Log {
  // `changed()` is called when lines came, matches were found, or following began or ended.
  constructor(box, changed) {
    this.box = box;
    this.changed = changed;
    this.lines = [];
    this.chunks = [];
    this.following = true;
    this.unseen = 0;
    this.selected = null;
    this.query = "";
    this.matches = [];
    this.match = -1;
    this.searched = 0;
    this.painting = false;
    this.lastTop = 0;
    this.first = 1; // the first line in sight
    this.body = box.querySelector(".lines");
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.resized()).observe(box);
  }

  get length() { return this.lines.length; }

  text() { return this.lines.map((line) => plain(line ?? "")).join("\n"); }

  // Lines from number `first` on; an event that comes again changes nothing.
  add(first, text) {
    const lines = split(text);
    if (first - 1 + lines.length <= this.lines.length) return;
    lines.forEach((line, index) => { this.lines[first - 1 + index] = line; });
    if (!this.following) this.unseen += lines.length;
    this.repaint();
  }

  follow(on) {
    this.following = on;
    if (on) this.unseen = 0;
    this.repaint();
  }

  // Show a line, and mark it as the one that is meant.
  reveal(number) {
    this.following = false;
    this.select(number);
    this.bring(number, this.box.clientHeight / 3);
    this.repaint();
  }

  select(number) {
    this.body.querySelector(".line.is-selected")?.classList.remove("is-selected");
    this.selected = number;
    this.row(number)?.classList.add("is-selected");
  }

  row(number) {
    const chunk = this.chunks[Math.floor((number - 1) / CHUNK)];
    return chunk?.filled > 0 ? chunk.element.children[(number - 1) % CHUNK] : null;
  }

  search(query) {
    this.query = query.toLowerCase();
    this.matches = [];
    this.match = -1;
    this.searched = 0;
    this.look();
    for (const chunk of this.chunks) if (chunk.filled) this.empty(chunk);
    const begin = this.matches.findIndex(({ number }) => number >= this.first);
    if (this.matches.length) this.step(0, begin < 0 ? 0 : begin);
    this.repaint();
  }

  // Go so many matches on, or back.
  step(by, from = this.match) {
    if (!this.matches.length) return;
    const count = this.matches.length;
    this.match = (from + by + count) % count;
    this.reveal(this.matches[this.match].number);
    const chunk = this.chunks[Math.floor((this.matches[this.match].number - 1) / CHUNK)];
    this.empty(chunk); // to mark another one of its matches
    this.fill(chunk);
  }

  // Below: how it is done.

  // Scroll until a line is so many pixels below the upper edge.
  bring(number, below) {
    this.grow();
    const index = Math.min(number, this.lines.length) - 1;
    const chunk = this.chunks[Math.floor(index / CHUNK)];
    if (!chunk) return;
    this.fill(chunk);
    const row = chunk.element.children[index % CHUNK];
    this.box.scrollTop += row.getBoundingClientRect().top - this.box.getBoundingClientRect().top - below;
    this.lastTop = this.box.scrollTop;
  }

  // The first line in sight.
  topLine() {
    const { scrollTop } = this.box;
    const chunk = this.chunks.find(({ element }) => element.offsetTop + element.offsetHeight > scrollTop);
    const rows = [...(chunk?.element.children ?? [])];
    const row = rows.findIndex(({ offsetTop, offsetHeight }) => offsetTop + offsetHeight > scrollTop);
    return (chunk?.start ?? 0) + Math.max(0, row) + 1;
  }

  look() {
    if (!this.query) return;
    for (; this.searched < this.lines.length && this.matches.length < MOST_MATCHES; this.searched += 1) {
      const text = plain(this.lines[this.searched] ?? "").toLowerCase();
      for (let at = text.indexOf(this.query); at >= 0; at = text.indexOf(this.query, at + this.query.length)) {
        this.matches.push({ number: this.searched + 1, at });
      }
    }
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    const wentUp = scrollTop < this.lastTop - 1;
    this.lastTop = scrollTop;
    if (isAtEnd !== this.following && (isAtEnd || wentUp)) {
      this.following = isAtEnd;
      if (isAtEnd) this.unseen = 0;
    }
    this.repaint();
  }

  resized() {
    const width = this.box.clientWidth;
    if (width !== this.width) {
      this.width = width;
      this.columns = null;
      for (const chunk of this.chunks) if (!chunk.filled) this.empty(chunk);
      if (!this.following && this.chunks.length) this.bring(this.first, 0);
    }
    this.repaint();
  }

  repaint() {
    if (this.painting) return;
    this.painting = true;
    requestAnimationFrame(() => {
      this.painting = false;
      this.paint();
    });
  }

  paint() {
    this.grow();
    this.look();
    if (this.following) this.box.scrollTop = this.box.scrollHeight;
    this.fillSight();
    if (this.following) {
      this.box.scrollTop = this.box.scrollHeight;
      this.fillSight(); // the heights were estimates
      this.box.scrollTop = this.box.scrollHeight;
    }
    this.lastTop = this.box.scrollTop;
    this.first = this.topLine();
    this.changed();
  }

  // As many chunks as the lines need; new ones are empty.
  grow() {
    const last = this.chunks.at(-1);
    if (last && last.count < CHUNK) {
      last.count = Math.min(CHUNK, this.lines.length - (this.chunks.length - 1) * CHUNK);
      if (!last.filled) this.empty(last);
    }
    while (this.chunks.length * CHUNK < this.lines.length) {
      const start = this.chunks.length * CHUNK;
      const element = document.createElement("div");
      const chunk = { element, start, count: Math.min(CHUNK, this.lines.length - start), filled: 0 };
      this.chunks.push(chunk);
      this.body.append(element);
      this.empty(chunk);
    }
  }

  fillSight() {
    const top = this.box.scrollTop - AHEAD_PX;
    const bottom = this.box.scrollTop + this.box.clientHeight + AHEAD_PX;
    // All positions are read before anything is changed.
    const inSight = this.chunks.map(({ element }) => (
      element.offsetTop < bottom && element.offsetTop + element.offsetHeight > top
    ));
    this.chunks.forEach((chunk, index) => {
      if (inSight[index]) this.fill(chunk);
      else if (chunk.filled) this.empty(chunk);
    });
  }

  fill(chunk) {
    if (chunk.filled === chunk.count) return;
    chunk.element.style.height = "";
    const rows = [];
    for (; chunk.filled < chunk.count; chunk.filled += 1) rows.push(this.made(chunk.start + chunk.filled + 1));
    chunk.element.append(...rows);
  }

  empty(chunk) {
    const height = chunk.filled === chunk.count && chunk.count
      ? chunk.element.getBoundingClientRect().height : this.estimate(chunk);
    chunk.element.replaceChildren();
    chunk.filled = 0;
    chunk.element.style.height = `${height}px`;
  }

  // Letters are all as wide, so that a line's rows follow from its length.
  estimate(chunk) {
    if (!this.columns) {
      const probe = this.made(0, "0".repeat(100));
      probe.classList.add("is-probe");
      this.body.append(probe);
      const code = probe.querySelector("code");
      const { width } = code.getBoundingClientRect();
      this.rowHeight = probe.getBoundingClientRect().height;
      const room = this.box.clientWidth - (probe.getBoundingClientRect().width - width);
      this.columns = Math.max(1, Math.floor(room / (width / 100)));
      probe.remove();
    }
    let rows = 0;
    for (let index = chunk.start; index < chunk.start + chunk.count; index += 1) {
      rows += Math.max(1, Math.ceil(plain(this.lines[index] ?? "").length / this.columns));
    }
    return rows * this.rowHeight;
  }

  made(number, text = this.lines[number - 1] ?? "") {
    const row = document.createElement("div");
    row.className = number === this.selected ? "line is-selected" : "line";
    const link = document.createElement("a");
    link.className = "number";
    link.href = `#L${number}`;
    link.tabIndex = -1; // thousands of stops for the Tab key would be none
    link.dataset.number = number;
    link.setAttribute("aria-label", `Line ${number}`);
    const code = document.createElement("code");
    code.append(...this.coloured(number, text));
    row.append(link, code);
    return row;
  }

  // Text nodes in elements with classes: never HTML, whatever a host has written.
  coloured(number, text) {
    const found = this.query ? this.matches.filter((match) => match.number === number) : [];
    const nodes = [];
    let at = 0;
    for (const { text: piece, style } of pieces(text)) {
      let rest = piece;
      while (rest) {
        const inside = found.find((match) => match.at <= at && at < match.at + this.query.length);
        const next = found.find((match) => match.at > at);
        const end = inside ? inside.at + this.query.length : (next?.at ?? Infinity);
        const part = rest.slice(0, end - at);
        const element = document.createElement(inside ? "mark" : "span");
        if (inside && this.matches[this.match] === inside) element.className = "is-current";
        if (style) element.className += ` ${style}`;
        element.textContent = part;
        nodes.push(element);
        at += part.length;
        rest = rest.slice(part.length);
      }
    }
    return nodes;
  }
}
