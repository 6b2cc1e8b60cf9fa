// Colours of a terminal as classes: text in, {text, style} out. Nothing here makes HTML.

const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const CODE = /\x1b\[([0-9;]*)m/g;
const OTHER = /\x1b(?:\[[0-?]*[ -/]*[@-~])?/g;

function colour(code, first) {
  return code >= first && code < first + 8 ? NAMES[code - first] : null;
}

// The style after one escape sequence: {bold, dim, italic, underline, ink}.
function after(style, codes) {
  const next = { ...style };
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index];
    if (code === 0) Object.keys(next).forEach((name) => delete next[name]);
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 22) { delete next.bold; delete next.dim; }
    else if (code === 23) delete next.italic;
    else if (code === 24) delete next.underline;
    else if (code === 39) delete next.ink;
    else if (code === 38 || code === 48) {
      const isIndexed = codes[index + 1] === 5;
      const value = isIndexed ? codes[index + 2] : null;
      if (code === 38 && value !== null) next.ink = colour(value, 0) ?? colour(value, 8) ?? undefined;
      index += isIndexed ? 2 : 4;
    } else next.ink = colour(code, 30) ?? colour(code, 90) ?? next.ink;
  }
  return next;
}

const classes = (style) => Object.entries(style)
  .filter(([, value]) => value)
  .map(([name, value]) => (name === "ink" ? `ink-${value}` : `ansi-${name}`)).join(" ");

export const plain = (text) => text.replace(CODE, "").replace(OTHER, "");

// The pieces of one line, each with one style.
export function pieces(line) {
  const found = [];
  let style = {};
  let at = 0;
  const push = (text) => { if (text) found.push({ text: text.replace(OTHER, ""), style: classes(style) }); };
  for (const match of line.matchAll(CODE)) {
    push(line.slice(at, match.index));
    style = after(style, match[1].split(";").map(Number));
    at = match.index + match[0].length;
  }
  push(line.slice(at));
  return found;
}

// The lines of a text, each of which begins with the colours that the one before it left on.
export function split(text) {
  let carried = "";
  return text.split("\n").map((line) => {
    const whole = carried + line;
    for (const [code, numbers] of line.matchAll(CODE)) {
      const isReset = numbers === "" || numbers.split(";").every((number) => Number(number) === 0);
      carried = isReset ? "" : carried + code;
    }
    return whole;
  });
}
