/** The user's own settings: name, time zone, language, theme, notices and password. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { changePassword, updateUser, type NoticeKind, type NoticePreferences, type PreferencesRead, type PreferencesUpdate, type Weekday } from "../../api/generated";
import { useColleagues } from "../../colleagues";
import { fieldError, sentenceOf } from "../../api/problem";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { usePreferences } from "../../preferences";
import { currentSession, may, signOut } from "../../session";
import { Button, Field, Loading } from "../../ui/parts";
import { stateName } from "../../ui/states";
import { fail, say } from "../../ui/toasts";
import { DAYS } from "../compose/draft";
import { dayName } from "../compose/when";

const KINDS: NoticeKind[] = ["reply", "mention", "task"];

export function You() {
  const { preferences, change } = usePreferences();
  if (!preferences) return <Loading />;
  return (
    <>
      <Look preferences={preferences} change={change} />
      <Notices preferences={preferences} change={change} />
      <Secret />
    </>
  );
}

type Part = { preferences: PreferencesRead; change: (body: PreferencesUpdate) => Promise<void> };

function Look({ preferences, change }: Part) {
  const zones = Intl.supportedValuesOf("timeZone");
  const session = currentSession();
  const { me } = useColleagues();
  const cache = useQueryClient();
  const rename = useMutation({
    mutationFn: (name: string) => updateUser({ path: { user_id: me!.id }, body: { name }, throwOnError: true }),
    onSuccess: () => (say(t("Saved.")), void cache.invalidateQueries({ queryKey: ["users"] })),
    onError: fail,
  });
  return (
    <section className="card card-body" aria-labelledby="you-title">
      <h2 id="you-title">{t("You")}</h2>
      <div className="form">
        {session.state === "in" && <p className="faint">{[...new Set([me?.name, session.me.email ?? session.me.name, session.me.role && stateName(session.me.role)])].filter(Boolean).join(" · ")}</p>}
        {me && may("admin") && (
          <Field label={t("Your name")} error={fieldError(rename.error, "/name")}>
            {(attributes) => <input {...attributes} key={me.name} defaultValue={me.name} maxLength={200} required onBlur={(event) => event.target.value.trim() && event.target.value !== me.name && rename.mutate(event.target.value.trim())} />}
          </Field>
        )}
        <Field label={t("Time zone")} hint={t("All times are shown in it. Without one, this browser's is used: {zone}.", { zone: currentZone() })}>
          {(attributes) => (
            <select {...attributes} value={preferences.timezone ?? ""} onChange={(event) => change({ timezone: event.target.value || null }).catch(fail)}>
              <option value="">{t("As this browser")}</option>
              {zones.map((one) => <option key={one}>{one}</option>)}
            </select>
          )}
        </Field>
        <Field label={t("Language")}>
          {(attributes) => (
            <select {...attributes} value={preferences.language} onChange={(event) => change({ language: event.target.value as "es" }).catch(fail)}>
              <option value="en">English</option>
              <option value="es">Español</option>
            </select>
          )}
        </Field>
        <Field label={t("Theme")}>
          {(attributes) => (
            <select {...attributes} value={preferences.theme} onChange={(event) => change({ theme: event.target.value as "dark" }).catch(fail)}>
              <option value="system">{t("As the system")}</option>
              <option value="light">{t("Light")}</option>
              <option value="dark">{t("Dark")}</option>
            </select>
          )}
        </Field>
      </div>
    </section>
  );
}

function Notices({ preferences, change }: Part) {
  const { notices } = preferences;
  const set = (part: NoticePreferences) => change({ notices: { ...notices, ...part } }).then(() => say(t("Saved."))).catch(fail);
  const names = { reply: t("A reply waits"), mention: t("A note mentions you"), task: t("A task is due") };
  const turn = (way: "mail" | "push", kind: NoticeKind, isOn: boolean) => set({ [way]: KINDS.filter((one) => (one === kind ? isOn : (notices[way] ?? []).includes(one))) });
  const quiet = notices.quiet_hours ?? null;
  return (
    <section className="card card-body" aria-labelledby="notices-title">
      <h2 id="notices-title">{t("Notices")}</h2>
      <div className="form">
        <table className="table notices">
          <thead><tr><th>{t("When")}</th><th>{t("By mail")}</th><th>{t("On a device")}</th></tr></thead>
          <tbody>
            {KINDS.map((kind) => (
              <tr key={kind}>
                <td>{names[kind]}</td>
                {(["mail", "push"] as const).map((way) => (
                  <td key={way}><input type="checkbox" aria-label={`${names[kind]}: ${way === "mail" ? t("By mail") : t("On a device")}`} checked={(notices[way] ?? []).includes(kind)} onChange={(event) => void turn(way, kind, event.target.checked)} /></td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        <p className="field-hint">{t("Devices are those on which an app of yours has subscribed to push notices.")}</p>
        <div className="form-three">
          <Field label={t("Wait, minutes")} hint={t("What is answered before causes none.")}>
            {(attributes) => <input {...attributes} type="number" min={1} max={240} defaultValue={notices.delay_minutes ?? 5} onBlur={(event) => Number(event.target.value) !== (notices.delay_minutes ?? 5) && void set({ delay_minutes: Number(event.target.value) })} />}
          </Field>
          <Field label={t("Quiet from")}>
            {(attributes) => <input {...attributes} type="time" defaultValue={quiet?.start ?? ""} onBlur={(event) => event.target.value !== (quiet?.start ?? "") && void set({ quiet_hours: event.target.value ? { start: event.target.value, end: quiet?.end ?? "07:30" } : null })} />}
          </Field>
          {quiet && (
            <Field label={t("Quiet until")}>
              {(attributes) => <input {...attributes} type="time" key={quiet.end} defaultValue={quiet.end} onBlur={(event) => event.target.value && event.target.value !== quiet.end && void set({ quiet_hours: { ...quiet, end: event.target.value } })} />}
            </Field>
          )}
        </div>
        <div className="days" role="group" aria-label={t("Days without notices")}>
          {DAYS.map((day: Weekday) => (
            <label key={day}>
              <input type="checkbox" checked={(notices.quiet_days ?? []).includes(day)} onChange={(event) => void set({ quiet_days: DAYS.filter((one) => (one === day ? event.target.checked : (notices.quiet_days ?? []).includes(one))) })} />
              {dayName(day)}
            </label>
          ))}
        </div>
        <p className="field-hint">{t("No notices on the days that are chosen.")}</p>
        <label className="check"><input type="checkbox" checked={notices.show_text ?? false} onChange={(event) => void set({ show_text: event.target.checked })} />{t("Notices may contain the words of messages and notes")}</label>
      </div>
    </section>
  );
}

function Secret() {
  const change = useMutation({
    mutationFn: (body: { current_password: string; password: string }) => changePassword({ body, throwOnError: true }),
    onSuccess: () => {
      say(t("Changed, and all sessions have ended. Enter with the new one."));
      void signOut(false);
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    change.mutate({ current_password: String(form.get("current")), password: String(form.get("next")) });
  };
  return (
    <section className="card card-body" aria-labelledby="secret-title">
      <h2 id="secret-title">{t("Your password")}</h2>
      <form className="form" onSubmit={submit}>
        {change.error && !fieldError(change.error, "/password") && <p className="notice notice-bad" role="alert">{sentenceOf(change.error)}</p>}
        <div className="form-pair">
          <Field label={t("The current one")}>{(attributes) => <input {...attributes} name="current" type="password" autoComplete="current-password" required />}</Field>
          <Field label={t("A new one")} error={fieldError(change.error, "/password")}>{(attributes) => <input {...attributes} name="next" type="password" autoComplete="new-password" required />}</Field>
        </div>
        <p><Button type="submit" busy={change.isPending}>{t("Change it")}</Button></p>
      </form>
    </section>
  );
}
