// The one time axis of the page: every chart, the event strip and the event list read and set it here.

export type Range = readonly [number, number];

export class TimeAxis {
  readonly full: Range;
  readonly times: readonly number[];
  range: Range;
  /** Position in `times` that the reader points at; null when at none. */
  index: number | null = null;
  private readonly listeners = new Set<() => void>();

  constructor(times: readonly number[], end: number) {
    this.times = times;
    this.full = [0, Math.max(end, times.at(-1) ?? 0, 1)];
    this.range = this.full;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  get zoomed(): boolean {
    return this.range !== this.full;
  }

  get at(): number | null {
    return this.index === null ? null : (this.times[this.index] ?? null);
  }

  point(index: number | null): void {
    if (index === this.index) return;
    this.index = index;
    this.tell();
  }

  /** Point at the sample nearest to a moment, and bring it into view. */
  pointAt(seconds: number): void {
    if (!this.times.length) return;
    let [low, high] = [0, this.times.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle]! < seconds) low = middle + 1;
      else high = middle;
    }
    const before = this.times[low - 1];
    const nearer = before !== undefined && seconds - before < this.times[low]! - seconds;
    if (seconds < this.range[0] || seconds > this.range[1]) this.range = this.full;
    this.index = null;
    this.point(nearer ? low - 1 : low);
  }

  zoom(from: number, to: number): void {
    const [min, max] = [Math.max(this.full[0], Math.min(from, to)), Math.min(this.full[1], Math.max(from, to))];
    const step = this.times.length > 1 ? this.times[1]! - this.times[0]! : 1;
    if (max - min < 2 * step) return;
    this.range = min <= this.full[0] && max >= this.full[1] ? this.full : [min, max];
    this.tell();
  }

  reset(): void {
    this.range = this.full;
    this.tell();
  }

  /** Arrow keys move the cursor, + and - zoom around it, 0 and Escape show all. True when the key was taken. */
  key(name: string): boolean {
    const last = this.times.length - 1;
    const here = this.index ?? 0;
    const middle = this.at ?? (this.range[0] + this.range[1]) / 2;
    const half = (this.range[1] - this.range[0]) / 2;
    switch (name) {
      case "ArrowLeft":
        this.point(Math.max(0, here - 1));
        return true;
      case "ArrowRight":
        this.point(Math.min(last, this.index === null ? 0 : here + 1));
        return true;
      case "Home":
        this.point(0);
        return true;
      case "End":
        this.point(last);
        return true;
      case "+":
      case "=":
        this.zoom(middle - half / 2, middle + half / 2);
        return true;
      case "-":
        this.zoom(middle - half * 2, middle + half * 2);
        return true;
      case "0":
      case "Escape":
        this.index = null;
        this.reset();
        return true;
      default:
        return false;
    }
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/** Round moments within a range, at most `most` of them. */
export function ticks([min, max]: Range, most: number): number[] {
  const span = max - min;
  const step = STEPS.find((s) => span / s <= most) ?? Math.ceil(span / most / 86400) * 86400;
  const found: number[] = [];
  for (let at = Math.ceil(min / step) * step; at <= max; at += step) found.push(at);
  return found;
}
