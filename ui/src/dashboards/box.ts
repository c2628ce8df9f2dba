// The size of an element, followed as it changes.
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface Box {
  width: number;
  height: number;
}

export function useBox(element: RefObject<HTMLElement | null>): Box {
  const [box, setBox] = useState<Box>({ width: 0, height: 0 });
  useEffect(() => {
    const node = element.current!;
    const fit = () => setBox((old) => (old.width === node.clientWidth && old.height === node.clientHeight ? old : { width: node.clientWidth, height: node.clientHeight }));
    fit();
    const resize = new ResizeObserver(fit);
    resize.observe(node);
    return () => resize.disconnect();
  }, [element]);
  return box;
}

/** How many columns and rows of cells fill a box best for `count` items of the given shape. */
export function cells(count: number, box: Box, orientation: string, shape: number): { columns: number; rows: number } {
  if (orientation === "vertical") return { columns: count, rows: 1 };
  if (orientation === "horizontal") return { columns: 1, rows: count };
  let [columns, size] = [1, 0];
  for (let n = 1; n <= count; n++) {
    const [w, h] = [box.width / n, box.height / Math.ceil(count / n)];
    const fit = Math.min(w, h * shape);
    if (fit > size) [columns, size] = [n, fit];
  }
  return { columns, rows: Math.ceil(count / columns) };
}
