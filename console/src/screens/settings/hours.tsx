/** The office hours, the holidays, and the message that people get while the office is closed. */
import { useState } from "react";
import type { Holiday, OfficeSpan, SettingsRead, SettingsUpdate, Weekday } from "../../api/generated";
import { Meanwhile } from "../../api/changes";
import { fieldError, sentenceOf } from "../../api/problem";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { Button, Field } from "../../ui/parts";
import { dayName } from "../compose/when";
import { DAYS } from "../compose/draft";
import { useSave, type FormProps } from "./company";

const LONGEST_REPLY = 480;

const hoursOf = ({ office_hours, holidays, away_reply }: SettingsRead): SettingsUpdate => ({ office_hours, holidays, away_reply });

export function Hours(props: FormProps) {
  const { settings } = props;
  const { save, load, isPending, isConflict, error } = useSave(props, hoursOf);
  const [isOpenAlways, setOpenAlways] = useState(settings.office_hours === null);
  const [zone, setZone] = useState(settings.office_hours?.timezone ?? currentZone());
  const [days, setDays] = useState<Partial<Record<Weekday, OfficeSpan[]>>>(settings.office_hours?.days ?? Object.fromEntries(DAYS.slice(0, 5).map((day) => [day, [{ start: "08:00", end: "17:00" }]])));
  const [holidays, setHolidays] = useState<Holiday[]>(settings.holidays);
  const [reply, setReply] = useState(settings.away_reply ?? "");
  const spans = (day: Weekday) => days[day] ?? [];
  const setSpans = (day: Weekday, changed: OfficeSpan[]) => setDays((was) => ({ ...was, [day]: changed }));
  const submit = () =>
    save({
      office_hours: isOpenAlways ? null : { timezone: zone, days },
      holidays: holidays.filter((one) => one.date && one.name.trim()),
      away_reply: reply.trim() || null,
    });
  const failed = Object.values((error as { fields?: Record<string, string> } | null)?.fields ?? {})[0];
  return (
    <section className="card card-body" aria-labelledby="hours-title">
      <h2 id="hours-title">{t("Office hours")}</h2>
      <form className="form" onSubmit={(event) => (event.preventDefault(), submit())}>
        {isConflict && <Meanwhile onLoad={load} />}
        {error && <p className="notice notice-bad" role="alert">{failed ?? sentenceOf(error)}</p>}
        <label className="check"><input type="checkbox" checked={isOpenAlways} onChange={(event) => setOpenAlways(event.target.checked)} />{t("Always open, so no reply for a closed office")}</label>
        {!isOpenAlways && (
          <>
            <ul className="office-days">
              {DAYS.map((day) => (
                <li key={day}>
                  <span className="office-day">{dayName(day)}</span>
                  {spans(day).length === 0 && <span className="faint">{t("closed")}</span>}
                  {spans(day).map((span, at) => (
                    <span key={at} className="office-span">
                      <input type="time" aria-label={t("{day} opens", { day: dayName(day) })} value={span.start} onChange={(event) => setSpans(day, spans(day).map((one, index) => (index === at ? { ...one, start: event.target.value } : one)))} />
                      –
                      <input type="time" aria-label={t("{day} closes", { day: dayName(day) })} value={span.end} onChange={(event) => setSpans(day, spans(day).map((one, index) => (index === at ? { ...one, end: event.target.value } : one)))} />
                      <Button kind="quiet" icon="close" aria-label={t("Remove hours of {day}", { day: dayName(day) })} onClick={() => setSpans(day, spans(day).filter((_, index) => index !== at))} />
                    </span>
                  ))}
                  <Button kind="quiet" icon="plus" aria-label={t("Add hours to {day}", { day: dayName(day) })} onClick={() => setSpans(day, [...spans(day), { start: "08:00", end: "17:00" }])} />
                </li>
              ))}
            </ul>
            <datalist id="office-zones">{Intl.supportedValuesOf("timeZone").map((one) => <option key={one} value={one} />)}</datalist>
            <Field label={t("Time zone of the office")} error={fieldError(error, "/office_hours/timezone")}>
              {(attributes) => <input {...attributes} list="office-zones" value={zone} onChange={(event) => setZone(event.target.value)} />}
            </Field>
          </>
        )}
        <h3>{t("Holidays")}</h3>
        {holidays.map((one, at) => (
          <div key={at} className="office-span">
            <input type="date" aria-label={t("Date of holiday {n}", { n: at + 1 })} value={one.date} onChange={(event) => setHolidays(holidays.map((other, index) => (index === at ? { ...other, date: event.target.value } : other)))} />
            <input aria-label={t("Name of holiday {n}", { n: at + 1 })} value={one.name} onChange={(event) => setHolidays(holidays.map((other, index) => (index === at ? { ...other, name: event.target.value } : other)))} />
            <Button kind="quiet" icon="close" aria-label={t("Remove holiday {n}", { n: at + 1 })} onClick={() => setHolidays(holidays.filter((_, index) => index !== at))} />
          </div>
        ))}
        <p><Button icon="plus" onClick={() => setHolidays([...holidays, { date: "", name: "" }])}>{t("Add a holiday")}</Button></p>
        <Field label={t("Reply while the office is closed")} error={fieldError(error, "/away_reply")} hint={t("Once per conversation. Leave it empty to send none. {n} of {all} characters.", { n: reply.length, all: LONGEST_REPLY })}>
          {(attributes) => <textarea {...attributes} rows={2} maxLength={LONGEST_REPLY} value={reply} onChange={(event) => setReply(event.target.value)} />}
        </Field>
        <p><Button type="submit" busy={isPending}>{t("Save the hours")}</Button></p>
      </form>
    </section>
  );
}
