// Elements, times and matchers as text: what the pages share. Everything shown goes through text nodes.

export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "selected") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Asks the API below the page's own path. Throws Error with what the server said. */
export async function api(path, options = {}) {
  const response = await fetch(`api/v2/${path}`, options);
  const text = await response.text();
  let body = text;
  try { body = JSON.parse(text); } catch { /* an answer without a body, or a proxy's page */ }
  if (!response.ok) throw new Error(body?.message ?? (body || `${response.status} ${response.statusText}`));
  return body;
}

export function when(text) {
  const at = new Date(text);
  return h("time", { datetime: text, title: text }, at.toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" }));
}

const UNITS = { d: 86400, h: 3600, m: 60, s: 1 };

/** 5400 to "1h30m": the two largest units. */
export function lasting(seconds) {
  const parts = [];
  let left = Math.max(0, Math.round(seconds));
  for (const [unit, size] of Object.entries(UNITS)) {
    const count = Math.floor(left / size);
    left %= size;
    if (count) parts.push(`${count}${unit}`);
  }
  return parts.slice(0, 2).join("") || "0s";
}

/** "1h30m" to seconds; NaN for what is none. */
export function seconds(text) {
  const found = text.trim().match(/^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$/);
  if (!found || !text.trim()) return NaN;
  return found.slice(1).reduce((sum, part) => sum + (part ? parseInt(part, 10) * UNITS[part.at(-1)] : 0), 0);
}

const quoted = (text) => `"${text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replace(/"/g, '\\"')}"`;
const named = (name) => (/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name) ? name : quoted(name));

export function matcherText({ name, value, isRegex, isEqual = true }) {
  const operator = isRegex ? (isEqual ? "=~" : "!~") : isEqual ? "=" : "!=";
  return named(name) + operator + quoted(value);
}

export const equals = (name, value) => matcherText({ name, value, isRegex: false });

function unquoted(text) {
  if (!/^".*"$/s.test(text)) return text;
  return text.slice(1, -1).replace(/\\(n|"|\\)/g, (_, sign) => (sign === "n" ? "\n" : sign));
}

/** `{a="b", c=~d}` or one matcher a line, as objects of the API. Throws Error for what is no matcher. */
export function parseMatchers(text) {
  const inside = text.trim().replace(/^\{/, "").replace(/\}$/, "");
  const found = [];
  const one = /\s*("(?:\\.|[^"\\])*"|[^\s"=!~,{}]+)\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\])*"|[^\s,"]*)\s*(?:,|\n|$)/gy;
  while (one.lastIndex < inside.length && inside.slice(one.lastIndex).trim()) {
    const rest = inside.slice(one.lastIndex);
    const parts = one.exec(inside);
    if (!parts) throw new Error(`not a matcher: ${rest.trim().split("\n")[0]}`);
    const [, name, operator, value] = parts;
    found.push({ name: unquoted(name), value: unquoted(value), isRegex: operator.includes("~"), isEqual: operator[0] === "=" });
  }
  return found;
}

export const counted = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

/** Without milliseconds, which nobody types. */
export const iso = (at) => `${at.toISOString().slice(0, 19)}Z`;

export const problem = (error) => h("p", { class: "note bad", role: "alert" }, error.message);
