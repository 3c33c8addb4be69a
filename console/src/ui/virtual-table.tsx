/**
 * A table of any length. The page contains only the rows in sight, and memory contains only some of
 * the pages that were read. Pages by cursor have no row numbers, so the scrollbar covers only the
 * known rows.
 */
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useEffect, useRef, type KeyboardEvent, type ReactNode } from "react";
import { t } from "../i18n";
import { usePaced } from "./paced";

export type Column<Row> = {
  key: string;
  name: string;
  width: string;
  className?: string;
  cell: (row: Row) => ReactNode;
};

type Props<Row> = {
  label: string;
  columns: Column<Row>[];
  /** The number of rows that were read so far, including rows that are no longer in memory. */
  count: number;
  isComplete: boolean;
  rowAt: (index: number) => Row | undefined;
  keyOf: (row: Row) => string;
  /** Receives the range of the rows in sight, so that the pages around them can be read. */
  onSight: (first: number, last: number) => void;
  height?: number;
};

type LineProps = { row: unknown; index: number; start: number; columns: Column<unknown>[]; template: string; height: number };

/** Show one row. It is memoised: a scroll renders only the rows that come into sight. */
const Line = memo(function Line({ row, index, start, columns, template, height }: LineProps) {
  return (
    <div role="row" data-row={index} aria-rowindex={index + 2} className="vtable-row" style={{ gridTemplateColumns: template, blockSize: height, insetBlockStart: start }}>
      {columns.map((one) => (
        <div key={one.key} role="cell" className={one.className}>
          {row ? one.cell(row) : <span className="loading-line" />}
        </div>
      ))}
    </div>
  );
});

export function VirtualTable<Row>({ label, columns, count, isComplete, rowAt, keyOf, onSight, height = 40 }: Props<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({ count, getScrollElement: () => box.current, estimateSize: () => height, overscan: 8, useFlushSync: false });
  const items = rows.getVirtualItems();
  const sight = rows.range;
  const shown = usePaced(items.map((one) => one.index), (row) => !!sight && row >= sight.startIndex && row <= sight.endIndex);
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => onSight(first, last), [first, last, count, onSight]);
  const template = columns.map((one) => one.width).join(" ");
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const link = (event.target as HTMLElement).closest<HTMLElement>("[data-row]");
    if (!step || !link) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(count - 1, Number(link.dataset.row) + step));
    rows.scrollToIndex(to);
    requestAnimationFrame(() => box.current?.querySelector<HTMLElement>(`[data-row="${to}"] a`)?.focus());
  };
  return (
    <div className="vtable" role="table" aria-label={label} aria-rowcount={isComplete ? count + 1 : -1}>
      <div role="rowgroup" className="vtable-headgroup">
        <div role="row" className="vtable-head" style={{ gridTemplateColumns: template }}>
          {columns.map((one) => (
            <span key={one.key} role="columnheader" className={one.className}>
              {one.name}
            </span>
          ))}
        </div>
      </div>
      <div ref={box} className="vtable-body" role="rowgroup" onKeyDown={move} tabIndex={0} aria-label={t("Rows")}>
        <div role="presentation" style={{ blockSize: rows.getTotalSize() }} className="vtable-all">
          {shown.map((index) => {
            const row = rowAt(index);
            return <Line key={row ? keyOf(row) : index} row={row} index={index} start={index * height} columns={columns as Column<unknown>[]} template={template} height={height} />;
          })}
        </div>
      </div>
    </div>
  );
}
