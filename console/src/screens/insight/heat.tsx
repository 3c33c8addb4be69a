/** The hours of the week as a table: a column for each weekday, and a row for each hour. */
import type { FigureRead, InsightUnit } from "../../api/generated";
import { t } from "../../i18n";
import { scrolls } from "../../ui/parts";
import { idOf } from "./marks";
import { keyName, shown, tick, weekdayName } from "./words";

const DAYS = [1, 2, 3, 4, 5, 6, 7];

/** Show the table. The higher the value of a cell, the stronger its colour. */
export function Heat({ rows, unit, label, onOpen }: { rows: FigureRead[]; unit: InsightUnit; label: string; onOpen: (id: string) => void }) {
  const known = new Map(rows.filter((one) => one.key !== null).map((one) => [one.key!, one]));
  const hours = [...known.keys()].map((key) => Number(key.slice(2)));
  const [first, last] = [Math.min(...hours), Math.max(...hours)];
  const most = Math.max(...rows.map((one) => Number(one.value ?? 0)));
  if (!known.size) return null;
  return (
    <div className="scroll-x" ref={scrolls}>
      <table className="heat" aria-label={label}>
        <thead>
          <tr>
            <th scope="col"><span className="hidden">{t("Hour of the day")}</span></th>
            {DAYS.map((one) => <th key={one} scope="col"><span aria-hidden="true">{weekdayName(one, "short")}</span><span className="hidden">{weekdayName(one)}</span></th>)}
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: last - first + 1 }, (_, at) => String(first + at).padStart(2, "0")).map((hour) => (
            <tr key={hour}>
              <th scope="row">{hour}:00</th>
              {DAYS.map((one) => {
                const figure = known.get(`${one}/${hour}`);
                if (!figure) return <td key={one} className="heat-none"><span className="hidden">{t("nothing")}</span></td>;
                const level = most > 0 ? Number(figure.value ?? 0) / most : 0;
                return (
                  <td key={one} data-cell={figure.key} data-level={level.toFixed(3)} style={{ "--level": `${Math.round(level * 45)}%` } as never}>
                    <button
                      type="button"
                      className={figure.enough ? undefined : "insight-thin"}
                      aria-label={`${keyName("hour_of_week", figure)}: ${shown(figure.value, unit)}${figure.denominator === null ? "" : `, ${figure.numerator ?? ""} / ${figure.denominator}`}`}
                      onClick={() => onOpen(idOf(figure))}
                    >
                      {figure.value === null ? "–" : tick(Number(figure.value), unit)}
                    </button>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
