/** The comparison of two groups: the difference of their rates, with Newcombe's interval. */
import { scaleLinear } from "d3-scale";
import type { FigureRead } from "../../api/generated";
import { t } from "../../i18n";
import { Button } from "../../ui/parts";
import { difference } from "./newcombe";
import { points, shown } from "./words";

const WIDTH = 300;

type Props = { one: FigureRead; other: FigureRead; name: (figure: FigureRead) => string; onClose: () => void };

export function Comparison({ one, other, name, onClose }: Props) {
  const rate = (figure: FigureRead) => ({ part: Number(figure.numerator ?? 0), whole: Number(figure.denominator ?? 0) });
  const found = difference(rate(one), rate(other));
  const names = { one: name(one), other: name(other) };
  const most = found ? Math.max(Math.abs(found.low), Math.abs(found.high)) : 1;
  const x = scaleLinear().domain([-most, most]).nice(4).range([14, WIDTH - 14]);
  const sentence = !found
    ? t("One of the groups has no record.")
    : found.isSure
      ? found.value > 0
        ? t("{one} is higher than {other}. Chance alone would rarely show this.", names)
        : t("{one} is lower than {other}. Chance alone would rarely show this.", names)
      : t("These data do not show which of {one} and {other} is higher.", names);
  return (
    <section className="card card-body insight-compare" aria-labelledby="compare-title">
      <div className="insight-head">
        <h2 id="compare-title">{t("{one} against {other}", names)}</h2>
        <Button kind="quiet" onClick={onClose}>{t("End the comparison")}</Button>
      </div>
      <p>
        {shown(one.value, "rate")} − {shown(other.value, "rate")}
        {found && (
          <>
            {" = "}
            <strong data-difference={found.value.toFixed(4)} data-low={found.low.toFixed(4)} data-high={found.high.toFixed(4)}>
              {t("{n} points", { n: points(found.value) })}
            </strong>{" "}
            <span className="faint">{t("between {low} and {high}", { low: points(found.low), high: points(found.high) })}</span>
          </>
        )}
      </p>
      {found && (
        <svg className="chart" width={WIDTH} height={44} viewBox={`0 0 ${WIDTH} 44`} aria-hidden="true">
          {x.ticks(4).map((tick) => (
            <g key={tick}>
              <line x1={x(tick)} x2={x(tick)} y1={0} y2={24} className={tick === 0 ? "chart-zero" : "chart-grid"} data-tick={tick} />
              <text x={x(tick)} y={38} textAnchor="middle">{points(tick)}</text>
            </g>
          ))}
          <line data-whisker="" x1={x(found.low)} x2={x(found.high)} y1={12} y2={12} className="chart-whisker" />
          <circle data-dot="" cx={x(found.value)} cy={12} r={4.5} className="chart-dot" />
        </svg>
      )}
      <p>{sentence}</p>
      <p className="faint">{t("95 % interval of the difference (Newcombe).")}</p>
    </section>
  );
}
