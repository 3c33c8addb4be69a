/** The sending times, daily limit, repetition and pause limits in the campaign form. */
import type { Weekday } from "../../api/generated";
import { fieldError } from "../../api/problem";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { Field } from "../../ui/parts";
import { DAYS } from "./draft";
import { Repeats } from "./repeats";
import type { Part } from "./who";

export function dayName(day: Weekday): string {
  return { mon: t("Mon"), tue: t("Tue"), wed: t("Wed"), thu: t("Thu"), fri: t("Fri"), sat: t("Sat"), sun: t("Sun") }[day];
}

export function When({ draft, set, error }: Part) {
  const isAllDay = draft.start === "00:00" && draft.end === "24:00";
  const zone = currentZone();
  return (
    <fieldset className="card card-body form">
      <legend>{t("When")}</legend>
      <div className="days" role="group" aria-label={t("Days")}>
        {DAYS.map((day) => (
          <label key={day}>
            <input
              type="checkbox"
              checked={draft.days.includes(day)}
              onChange={(event) => set({ days: DAYS.filter((one) => (one === day ? event.target.checked : draft.days.includes(one))) })}
            />
            {dayName(day)}
          </label>
        ))}
      </div>
      {fieldError(error, "/schedule/days") && <p className="field-error">{fieldError(error, "/schedule/days")}</p>}
      <div className="form-three">
        {!isAllDay && (
          <>
            <Field label={t("Not before")} error={fieldError(error, "/schedule/window/start")}>
              {(attributes) => <input {...attributes} type="time" value={draft.start} onChange={(event) => set({ start: event.target.value })} />}
            </Field>
            <Field label={t("Not after")} error={fieldError(error, "/schedule/window/end") ?? fieldError(error, "/schedule/window")}>
              {(attributes) => <input {...attributes} type={draft.end === "24:00" ? "text" : "time"} value={draft.end} onChange={(event) => set({ end: event.target.value })} />}
            </Field>
          </>
        )}
        <Field label={t("By the clock of")} error={fieldError(error, "/schedule/timezone")}>
          {(attributes) => (
            <select {...attributes} value={draft.zone} onChange={(event) => set({ zone: event.target.value })}>
              <option value="recipient">{t("each person")}</option>
              <option value="line">{t("your line")}</option>
              {!["recipient", "line"].includes(draft.zone) && <option>{draft.zone}</option>}
            </select>
          )}
        </Field>
      </div>
      <label className="check">
        <input type="checkbox" checked={isAllDay} onChange={(event) => set(event.target.checked ? { start: "00:00", end: "24:00" } : { start: "09:00", end: "18:00" })} />
        {t("At any hour that is legal")}
      </label>
      <div className="form-pair">
        <Field label={t("First message")} hint={t("Leave it empty to begin at once. Time zone: {zone}.", { zone })} error={fieldError(error, "/schedule/start_at")}>
          {(attributes) => <input {...attributes} type="datetime-local" value={draft.begins} onChange={(event) => set({ begins: event.target.value })} />}
        </Field>
        <Field label={t("No message after")} hint={t("Who has none by then gets none.")} error={fieldError(error, "/schedule/end_at")}>
          {(attributes) => <input {...attributes} type="datetime-local" value={draft.ends} onChange={(event) => set({ ends: event.target.value })} />}
        </Field>
      </div>
      <div className="form-three">
        <Field label={t("Messages a day, at most")} error={fieldError(error, "/pacing/daily_limit")}>
          {(attributes) => <input {...attributes} type="number" min={1} value={draft.limit} onChange={(event) => set({ limit: event.target.value })} />}
        </Field>
        <Field label={t("Pace")} error={fieldError(error, "/pacing/mode")}>
          {(attributes) => (
            <select {...attributes} value={draft.mode} onChange={(event) => set({ mode: event.target.value as "even" })}>
              <option value="even">{t("spread over the day")}</option>
              <option value="burst">{t("in groups")}</option>
            </select>
          )}
        </Field>
      </div>
      {draft.mode === "burst" && (
        <div className="form-three">
          <Field label={t("Messages in a group")} error={fieldError(error, "/pacing/batch_size")}>
            {(attributes) => <input {...attributes} type="number" min={1} value={draft.batchSize} onChange={(event) => set({ batchSize: event.target.value })} />}
          </Field>
          <Field label={t("Minutes between groups")} error={fieldError(error, "/pacing/batch_interval_minutes")}>
            {(attributes) => <input {...attributes} type="number" min={1} value={draft.batchMinutes} onChange={(event) => set({ batchMinutes: event.target.value })} />}
          </Field>
        </div>
      )}
      <Repeats draft={draft} set={set} error={error} />
      <Guards draft={draft} set={set} error={error} />
      <p className="field-hint">{t("Legal quiet hours and opt-outs always hold, whatever is set here.")}</p>
    </fieldset>
  );
}

function Guards({ draft, set, error }: Part) {
  const hasError = ["/rules/max_opt_out_rate", "/rules/max_failure_rate", "/rules/min_days_between", "/rules/opt_out_footer"].some((one) => fieldError(error, one));
  return (
    <details open={hasError || undefined}>
      <summary>{t("When it pauses itself, and more rules")}</summary>
      <div className="form">
        <div className="form-three">
          <Field label={t("Opt-outs, % at most")} error={fieldError(error, "/rules/max_opt_out_rate")} hint={t("Empty turns it off.")}>
            {(attributes) => <input {...attributes} type="number" min={0} max={100} step="any" value={draft.optOutLimit} onChange={(event) => set({ optOutLimit: event.target.value })} />}
          </Field>
          <Field label={t("Failures, % at most")} error={fieldError(error, "/rules/max_failure_rate")} hint={t("Empty turns it off.")}>
            {(attributes) => <input {...attributes} type="number" min={0} max={100} step="any" value={draft.failureLimit} onChange={(event) => set({ failureLimit: event.target.value })} />}
          </Field>
          <Field label={t("Days since the last campaign")} error={fieldError(error, "/rules/min_days_between")}>
            {(attributes) => <input {...attributes} type="number" min={1} value={draft.minDays} onChange={(event) => set({ minDays: event.target.value })} />}
          </Field>
        </div>
        <Field label={t("Added below the first message")} error={fieldError(error, "/rules/opt_out_footer")} hint={t("For example: Reply STOP to opt out.")}>
          {(attributes) => <input {...attributes} value={draft.footer} onChange={(event) => set({ footer: event.target.value })} />}
        </Field>
        <label className="check"><input type="checkbox" checked={draft.landlines} onChange={(event) => set({ landlines: event.target.checked })} />{t("Leave out numbers that are known to be landlines")}</label>
      </div>
    </details>
  );
}
