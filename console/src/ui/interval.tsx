/** A chart of rates: each row shows a rate as a dot, and its 95 % interval as a line. */
import { scaleLinear } from "d3-scale";
import { rate } from "../format";
import { t } from "../i18n";

type Row = { name: string; value: string | null; low?: string | undefined; high?: string | undefined };

const WIDTH = 220;
const ROW = 24;

export function Intervals({ rows, label }: { rows: Row[]; label: string }) {
  const most = Math.max(0.01, ...rows.map((one) => Number(one.high ?? one.value ?? 0)));
  const x = scaleLinear().domain([0, most]).nice(4).range([14, WIDTH - 16]);
  const described = rows
    .map((one) => t("{name}: {value}, between {low} and {high}", { name: one.name, value: rate(one.value), low: rate(one.low), high: rate(one.high) }))
    .join("; ");
  return (
    <svg className="intervals" viewBox={`0 0 ${WIDTH} ${rows.length * ROW + 18}`} width={WIDTH} height={rows.length * ROW + 18} role="img" aria-label={`${label}. ${described}`}>
      {x.ticks(4).map((tick) => (
        <g key={tick}>
          <line x1={x(tick)} x2={x(tick)} y1={0} y2={rows.length * ROW} className="interval-grid" />
          <text x={x(tick)} y={rows.length * ROW + 13} textAnchor="middle">{rate(tick, 0)}</text>
        </g>
      ))}
      {rows.map((one, at) => (
        <g key={one.name} transform={`translate(0 ${at * ROW + ROW / 2})`}>
          {one.low !== undefined && one.high !== undefined && (
            <line x1={x(Number(one.low))} x2={x(Number(one.high))} className="interval-whisker" data-low={one.low} data-high={one.high} />
          )}
          {one.value !== null && <circle cx={x(Number(one.value))} r={4} className="interval-dot" data-value={one.value} />}
        </g>
      ))}
    </svg>
  );
}
