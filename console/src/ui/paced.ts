/** Function that renders few rows per frame, so that a fast scroll does not block the page. */
import { useLayoutEffect, useReducer, useRef } from "react";

const FEW = 4;

type Built = { rows: number[]; frame: unknown };

/** Return the rows of this frame. `isWhole` is false if the next frame must change more rows. */
function step(built: Built, wanted: number[], isInSight: (row: number) => boolean, frame: unknown): Built & { isWhole: boolean } {
  const had = new Set(built.rows);
  const wants = new Set(wanted);
  const missing = wanted.filter((row) => !had.has(row));
  const gone = built.rows.filter((row) => !wants.has(row));
  if (!missing.length && !gone.length) return { rows: wanted, frame: built.frame, isWhole: true };
  if (built.frame === frame) return { ...built, isWhole: false };
  const first = [...missing.filter(isInSight), ...missing.filter((row) => !isInSight(row))];
  const rows = [...built.rows.filter((row) => wants.has(row)), ...gone.slice(FEW), ...first.slice(0, FEW)];
  return { rows: rows.sort((a, b) => a - b), frame, isWhole: missing.length <= FEW && gone.length <= FEW };
}

/**
 * Return the rows to show now, in their order. Each frame adds a few of the wanted rows (visible
 * rows first) and removes a few rows that are no longer wanted.
 */
export function usePaced(wanted: number[], isInSight: (row: number) => boolean): number[] {
  const built = useRef<Built>({ rows: [], frame: undefined });
  const [, again] = useReducer((turn: number) => turn + 1, 0);
  const { rows, frame, isWhole } = step(built.current, wanted, isInSight, document.timeline.currentTime);
  useLayoutEffect(() => {
    built.current = { rows, frame };
    if (isWhole) return;
    const next = requestAnimationFrame(again);
    return () => cancelAnimationFrame(next);
  });
  return rows;
}
