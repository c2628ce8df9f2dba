// Canvas colours come from the style sheet; charts are told when the theme changes.
const listeners = new Set<() => void>();
let seen = "";

export function token(name: string, element: Element = document.documentElement): string {
  return getComputedStyle(element).getPropertyValue(name).trim() || "#888";
}

export function onTheme(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

new MutationObserver(() => {
  const now = document.documentElement.dataset["theme"] ?? "";
  if (now !== seen) for (const listener of listeners) listener();
  seen = now;
}).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

/** A colour with an opacity, whatever CSS form it has. */
export function faded(colour: string, opacity: number): string {
  if (opacity >= 1) return colour;
  if (/^#[0-9a-f]{6}$/i.test(colour)) return `${colour}${Math.round(opacity * 255).toString(16).padStart(2, "0")}`;
  if (colour === "transparent") return colour;
  return `color-mix(in srgb, ${colour} ${opacity * 100}%, transparent)`;
}
