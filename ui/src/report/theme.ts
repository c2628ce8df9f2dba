// Light and dark: the system's choice unless the reader chose. Canvas colours are read from the style sheet.

export type Choice = "auto" | "light" | "dark";

const KEY = "wavetank-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();
let choice: Choice = stored();
let printing = false;
let colours = new Map<string, string>();

function stored(): Choice {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto"; // some browsers refuse storage to files
  }
}

function apply(): void {
  const isDark = !printing && (choice === "dark" || (choice === "auto" && dark.matches));
  document.documentElement.dataset["theme"] = isDark ? "dark" : "light";
  document.documentElement.toggleAttribute("data-printing", printing);
  colours = new Map();
  for (const listener of listeners) listener();
}

export function currentChoice(): Choice {
  return choice;
}

export function choose(next: Choice): void {
  choice = next;
  try {
    if (next === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // the choice then lasts as long as the page
  }
  apply();
}

/** The value of a custom property of the style sheet, as `colour("--blue")`. */
export function colour(name: string): string {
  let value = colours.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    colours.set(name, value);
  }
  return value;
}

export function onThemeChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function startTheme(): void {
  dark.addEventListener("change", apply);
  // Paper is white and narrow: charts are drawn anew, since a canvas does not follow the print's own style.
  window.addEventListener("beforeprint", () => ((printing = true), apply()));
  window.addEventListener("afterprint", () => ((printing = false), apply()));
  apply();
}
