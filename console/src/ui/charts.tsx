/** Charts of figures by group or over time, as dots and lines with intervals, or as bars. */
import { scaleLinear } from "d3-scale";
import { area, line } from "d3-shape";
import { useLayoutEffect, useRef, useState } from "react";
import "./charts.css";

/** One figure in a chart. Screen readers read `text`, and the pointer shows it. */
export type Mark = {
  id: string;
  name: string;
  value: number | null;
  low: number | null;
  high: number | null;
  enough: boolean;
  text: string;
};
export type TimeMark = Mark & { at: number };
type Common = { label: string; shape: "interval" | "bars"; format: (value: number) => string; onOpen?: ((id: string) => void) | undefined };

const num = (value: number) => Math.round(value * 100) / 100;
const ROW = 26;

/** Return the width of an element in pixels, so that a chart can be drawn in this width. */
function useWidth(first: number) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(first);
  useLayoutEffect(() => {
    if (!box.current) return undefined;
    const watcher = new ResizeObserver(([entry]) => entry && setWidth(Math.max(240, Math.floor(entry.contentRect.width))));
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  return { box, width };
}

function domainOf(marks: Mark[]): [number, number] {
  const all = marks.flatMap((one) => [one.value, one.low, one.high]).filter((one) => one !== null);
  const most = Math.max(0, ...all);
  return [Math.min(0, ...all), most || 1];
}

function clipped(name: string, pixels: number): string {
  const most = Math.max(4, Math.floor(pixels / 6.4));
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}

const described = (label: string, marks: Mark[]) => `${label}. ${marks.map((one) => one.text).join("; ")}`;
const faint = (mark: Mark) => (mark.enough ? "" : " chart-thin");

export function GroupChart({ marks, label, shape, format, onOpen }: Common & { marks: Mark[] }) {
  const { box, width } = useWidth(480);
  const left = Math.min(170, width * 0.36);
  const height = marks.length * ROW;
  const x = scaleLinear().domain(domainOf(marks)).nice(4).range([left, width - 18]);
  return (
    <div ref={box} className="chart">
      <svg width={width} height={height + 22} viewBox={`0 0 ${width} ${height + 22}`} role="img" aria-label={described(label, marks)}>
        {x.ticks(4).map((tick) => (
          <g key={tick}>
            <line x1={num(x(tick))} x2={num(x(tick))} y1={0} y2={height} className="chart-grid" data-tick={tick} />
            <text x={num(x(tick))} y={height + 15} textAnchor="middle">{format(tick)}</text>
          </g>
        ))}
        {marks.map((one, at) => (
          <g key={one.id} data-mark={one.id} className={`chart-mark${faint(one)}`} transform={`translate(0 ${at * ROW + ROW / 2})`} onClick={() => onOpen?.(one.id)}>
            <title>{one.text}</title>
            <rect x={0} y={-ROW / 2} width={width} height={ROW} className="chart-hit" />
            <text x={left - 10} y={4} textAnchor="end">{clipped(one.name, left - 14)}</text>
            {one.value !== null && shape === "bars" && (
              <rect data-bar="" x={num(Math.min(x(0), x(one.value)))} width={num(Math.abs(x(one.value) - x(0)))} y={-7} height={14} rx={2} className="chart-bar" />
            )}
            {one.low !== null && one.high !== null && <line data-whisker="" x1={num(x(one.low))} x2={num(x(one.high))} y1={0} y2={0} className="chart-whisker" />}
            {one.value !== null && shape === "interval" && <circle data-dot="" cx={num(x(one.value))} cy={0} r={4.5} className="chart-dot" />}
          </g>
        ))}
      </svg>
    </div>
  );
}

const HEIGHT = 196;
const TOP = 10;

type TimeProps = Common & { marks: TimeMark[]; length: number; dateOf: (at: number) => string; isShort?: boolean; domain?: [number, number] };

/**
 * Show figures over time. The line is broken where a period has no figure. `length` is the length
 * of a period in ms.
 */
export function TimeChart({ marks, label, shape, format, onOpen, length, dateOf, isShort, domain }: TimeProps) {
  const { box, width } = useWidth(520);
  const left = 52;
  const height = isShort ? HEIGHT / 2 : HEIGHT;
  const first = marks[0]?.at ?? 0;
  const last = (marks.at(-1)?.at ?? 0) + length;
  const x = scaleLinear().domain([first, last]).range([left, width - 10]);
  const y = scaleLinear().domain(domain ?? domainOf(marks)).nice(4).range([TOP + height, TOP]);
  const middle = (one: TimeMark) => x(one.at + length / 2);
  const parts: (TimeMark & { value: number })[][] = [];
  for (const one of marks) {
    const before = parts.at(-1)?.at(-1);
    if (one.value === null) continue;
    const known = one as TimeMark & { value: number };
    if (before && one.at - before.at < length * 1.5) parts.at(-1)!.push(known);
    else parts.push([known]);
  }
  const band = area<TimeMark>().x(middle).y0((one) => y(one.low ?? 0)).y1((one) => y(one.high ?? 0)).digits(2);
  const path = line<TimeMark>().x(middle).y((one) => y(one.value ?? 0)).digits(2);
  const every = Math.max(1, Math.ceil(marks.length / Math.max(1, Math.floor((width - left) / 74))));
  return (
    <div ref={box} className="chart">
      <svg width={width} height={height + TOP + 24} viewBox={`0 0 ${width} ${height + TOP + 24}`} role="img" aria-label={described(label, marks)}>
        {y.ticks(isShort ? 2 : 4).map((tick) => (
          <g key={tick}>
            <line x1={left} x2={width - 10} y1={num(y(tick))} y2={num(y(tick))} className="chart-grid" data-tick={tick} />
            <text x={left - 8} y={num(y(tick)) + 4} textAnchor="end">{format(tick)}</text>
          </g>
        ))}
        {marks.map((one, at) => at % every === 0 && (
          <text key={one.id} x={num(middle(one))} y={height + TOP + 16} textAnchor="middle">{dateOf(one.at)}</text>
        ))}
        {shape === "interval" && parts.map((part) => <path key={part[0]!.id} d={band(part.filter((one) => one.low !== null)) ?? ""} className="chart-band" />)}
        {shape === "interval" && parts.map((part) => <path key={part[0]!.id} d={path(part) ?? ""} className="chart-line" />)}
        {marks.map((one) => (
          <g key={one.id} data-mark={one.id} className={`chart-mark${faint(one)}`} onClick={() => onOpen?.(one.id)}>
            <title>{one.text}</title>
            {one.value !== null && shape === "bars" && (
              <rect
                data-bar=""
                x={num(x(one.at) + 1)}
                width={num(Math.max(1, x(one.at + length) - x(one.at) - 2))}
                y={num(Math.min(y(one.value), y(0)))}
                height={num(Math.abs(y(0) - y(one.value)))}
                className="chart-bar"
              />
            )}
            {shape === "interval" && one.low !== null && one.high !== null && (
              <line data-whisker="" x1={num(middle(one))} x2={num(middle(one))} y1={num(y(one.low))} y2={num(y(one.high))} className="chart-whisker chart-whisker-faint" />
            )}
            {one.value !== null && shape === "interval" && <circle data-dot="" cx={num(middle(one))} cy={num(y(one.value))} r={3.5} className="chart-dot" />}
          </g>
        ))}
      </svg>
    </div>
  );
}

/** Show the parts of a whole beside each other, such as attributed and unattributed money. */
export function PartsBar({ parts, label }: { parts: { id: string; name: string; value: number; text: string }[]; label: string }) {
  const { box, width } = useWidth(480);
  const whole = parts.reduce((sum, one) => sum + one.value, 0);
  const x = scaleLinear().domain([0, whole || 1]).range([0, width]);
  let begins = 0;
  return (
    <div ref={box} className="chart">
      <svg width={width} height={18} viewBox={`0 0 ${width} 18`} role="img" aria-label={`${label}. ${parts.map((one) => one.text).join("; ")}`}>
        <rect x={0} y={0} width={width} height={18} rx={3} className="chart-empty" />
        {parts.map((one, at) => {
          const from = begins;
          begins += one.value;
          return (
            <rect key={one.id} data-bar="" data-mark={one.id} x={num(x(from))} y={0} width={num(x(begins) - x(from))} height={18} className={`chart-part-${at}`}>
              <title>{one.text}</title>
            </rect>
          );
        })}
      </svg>
    </div>
  );
}
