/** The field for the repetition of a campaign: usual rules, or any RRULE of RFC 5545. */
import { fieldError } from "../../api/problem";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { Field } from "../../ui/parts";
import type { Part } from "./who";

const USUAL = ["FREQ=DAILY", "FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=2", "FREQ=MONTHLY", "FREQ=MONTHLY;INTERVAL=3", "FREQ=YEARLY"];

/** Return the name of a usual repetition rule; null for another rule. */
export function repeatName(rule: string): string | null {
  const { base, times } = split(rule);
  const name = {
    "FREQ=DAILY": t("Every day"), "FREQ=WEEKLY": t("Every week"), "FREQ=WEEKLY;INTERVAL=2": t("Every two weeks"),
    "FREQ=MONTHLY": t("Every month"), "FREQ=MONTHLY;INTERVAL=3": t("Every three months"), "FREQ=YEARLY": t("Every year"),
  }[base];
  if (!name) return null;
  return times ? t("{name}, {n} times", { name, n: times }) : name;
}

function split(rule: string): { base: string; times: string } {
  const parts = rule.split(";");
  const times = parts.find((one) => one.startsWith("COUNT="))?.slice(6) ?? "";
  return { base: parts.filter((one) => !one.startsWith("COUNT=")).join(";"), times };
}

export function Repeats({ draft, set, error }: Part) {
  const { base, times } = split(draft.repeats?.rule ?? "");
  const isOwn = draft.repeats !== null && !USUAL.includes(base);
  const change = (rule: string, count: string) => set({ repeats: { rule: count ? `${rule};COUNT=${count}` : rule, zone: draft.repeats?.zone ?? currentZone() } });
  const choose = (value: string) => {
    if (value === "") set({ repeats: null });
    else if (value === "own") change("FREQ=MONTHLY;BYDAY=1MO", "");
    else change(value, times);
  };
  return (
    <>
      <div className="form-three">
        <Field label={t("Repeats")}>
          {(attributes) => (
            <select {...attributes} value={draft.repeats === null ? "" : isOwn ? "own" : base} onChange={(event) => choose(event.target.value)}>
              <option value="">{t("Never")}</option>
              {USUAL.map((one) => <option key={one} value={one}>{repeatName(one)}</option>)}
              <option value="own">{t("By a rule of your own")}</option>
            </select>
          )}
        </Field>
        {draft.repeats && !isOwn && (
          <Field label={t("How many times")} hint={t("Empty is without an end.")}>
            {(attributes) => <input {...attributes} type="number" min={1} value={times} onChange={(event) => change(base, event.target.value)} />}
          </Field>
        )}
        {draft.repeats && (
          <Field label={t("Time zone of the rule")} error={fieldError(error, "/recurrence/timezone")}>
            {(attributes) => <input {...attributes} value={draft.repeats!.zone} onChange={(event) => set({ repeats: { ...draft.repeats!, zone: event.target.value } })} />}
          </Field>
        )}
      </div>
      {isOwn && (
        <Field label={t("Rule (RFC 5545)")} error={fieldError(error, "/recurrence/rrule")} hint={t("For example FREQ=MONTHLY;BYDAY=1MO for the first Monday of each month.")}>
          {(attributes) => <input {...attributes} value={draft.repeats!.rule} onChange={(event) => set({ repeats: { ...draft.repeats!, rule: event.target.value } })} />}
        </Field>
      )}
      {draft.repeats && <p className="field-hint">{t("Each occurrence is a campaign of its own: a draft two weeks before, which somebody starts.")}</p>}
    </>
  );
}
