/** A new campaign: who, what, when; beside it the phone of each person, the cost and what is in the way. */
import { Link, useNavigate } from "@tanstack/react-router";
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { data } from "../api/client";
import {
  createCampaign, listLines, listLists, listSegments, listTemplates, previewDraft, startCampaign,
  type CampaignCreate, type CampaignPreview, type Weekday,
} from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { count, dollars, phone } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Badge, Button, Empty, Field, Loading, PageHead } from "../ui/parts";
import { say } from "../ui/toasts";
import { plain } from "../ui/words";
import "./composer.css";

const KEPT = "crm-new-campaign";
const DAYS: Weekday[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const VALUES = ['{{ first_name | default: "there" }}', "{{ last_name }}", "{{ street }}", "{{ city }}"];
const MOST_VARIANTS = 4;

type Draft = {
  name: string;
  line: string;
  audience: string;
  bodies: string[];
  days: Weekday[];
  start: string;
  end: string;
  zone: "line" | "recipient";
  begins: string;
  limit: string;
  previously: "send" | "skip" | "review";
  followUp: { hours: string; body: string } | null;
};

const EMPTY: Draft = {
  name: "", line: "", audience: "", bodies: [""], days: ["mon", "tue", "wed", "thu", "fri"], start: "09:00", end: "18:00",
  zone: "recipient", begins: "", limit: "125", previously: "skip", followUp: null,
};

function kept(): Draft {
  try {
    return { ...EMPTY, ...(JSON.parse(localStorage.getItem(KEPT) ?? "{}") as Partial<Draft>) };
  } catch {
    return EMPTY;
  }
}

/** The request for the API; null while something is missing without which nothing can be shown. */
function requestOf(draft: Draft): CampaignCreate | null {
  const [kind, id] = draft.audience.split(":");
  if (!draft.line || !id || !draft.bodies.some((body) => body.trim())) return null;
  const bodies = draft.bodies.filter((body) => body.trim());
  const each = Math.floor(100 / bodies.length);
  return {
    name: draft.name.trim() || t("Untitled"),
    line_id: draft.line,
    audience: kind === "list" ? { list_id: id } : { segment_id: id },
    variants: bodies.map((body, at) => ({ name: "ABCD"[at]!, body, weight: at === 0 ? 100 - each * (bodies.length - 1) : each })),
    schedule: {
      days: draft.days,
      window: { start: draft.start, end: draft.end },
      ...(draft.zone === "recipient" ? { timezone: "recipient" } : {}),
      ...(draft.begins ? { start_at: new Date(draft.begins).toISOString() } : {}),
    },
    pacing: { daily_limit: Number(draft.limit) || 125 },
    rules: { previously_contacted: draft.previously },
    ...(draft.followUp?.body.trim() ? { follow_ups: [{ after_hours: Number(draft.followUp.hours) || 72, body: draft.followUp.body }] } : {}),
  };
}

function useLate<T>(value: T, ms: number): T {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return late;
}

export function NewCampaign() {
  const navigate = useNavigate();
  const [draft, setDraft] = useState(kept);
  const [asks, setAsks] = useState(false);
  const set = (change: Partial<Draft>) => setDraft((was) => ({ ...was, ...change }));
  useEffect(() => {
    localStorage.setItem(KEPT, JSON.stringify(draft));
  }, [draft]);
  const request = useMemo(() => requestOf(draft), [draft]);
  const asked = useLate(request, 500);
  const preview = useQuery({
    queryKey: ["campaign-preview", asked],
    enabled: asked !== null,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => data(previewDraft({ body: { ...asked!, limit: 8 }, signal, throwOnError: true })),
  });
  const save = useMutation({
    mutationFn: async (isStarted: boolean) => {
      const made = await data(createCampaign({ body: request!, throwOnError: true }));
      if (isStarted) await startCampaign({ path: { campaign_id: made.id }, throwOnError: true });
      return made;
    },
    onSuccess: (made, isStarted) => {
      localStorage.removeItem(KEPT);
      say(isStarted ? t("Started.") : t("The draft is saved."));
      void navigate({ to: "/campaigns/$id", params: { id: made.id }, search: {} });
    },
    onError: () => setAsks(false),
  });
  const error = save.error ?? preview.error;
  const isReady = request !== null && draft.name.trim() !== "";
  return (
    <>
      <PageHead
        title={t("New campaign")}
        before={
          <Link to="/campaigns" search={{}} className="back" aria-label={t("Back to the campaigns")}>
            <Icon name="left" />
          </Link>
        }
        actions={
          <>
            <Button busy={save.isPending} disabled={!isReady} onClick={() => save.mutate(false)}>{t("Save as draft")}</Button>
            {may("campaigns:send") && (
              <Button kind="main" icon="send" busy={save.isPending} disabled={!isReady || !preview.data} onClick={() => setAsks(true)}>
                {t("Review and start")}
              </Button>
            )}
          </>
        }
      />
      <div className="composer">
        <div className="composer-form">
          {save.error && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
          <Who draft={draft} set={set} error={error} />
          <What draft={draft} set={set} error={error} />
          <When draft={draft} set={set} error={error} />
        </div>
        <Beside preview={preview.data} error={preview.error} isAsked={asked !== null} />
      </div>
      {asks && preview.data && (
        <Dialog
          title={t("Start {name}?", { name: draft.name })}
          onClose={() => setAsks(false)}
          footer={
            <>
              <Button onClick={() => setAsks(false)}>{t("Go back")}</Button>
              <Button kind="main" busy={save.isPending} onClick={() => save.mutate(true)}>{t("Start sending")}</Button>
            </>
          }
        >
          <Summary preview={preview.data} />
        </Dialog>
      )}
    </>
  );
}

type Part = { draft: Draft; set: (change: Partial<Draft>) => void; error: unknown };

function Who({ draft, set, error }: Part) {
  const lines = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const lists = useQuery({ queryKey: ["lists"], queryFn: () => data(listLists({ query: { limit: 200 }, throwOnError: true })) });
  const segments = useQuery({ queryKey: ["segments"], queryFn: () => data(listSegments({ query: { limit: 200 }, throwOnError: true })) });
  const first = lines.data?.data.find((one) => one.status === "active")?.id;
  useEffect(() => {
    if (!draft.line && first) set({ line: first });
  }, [draft.line, first]);
  return (
    <fieldset className="card card-body form">
      <legend>{t("Who")}</legend>
      <Field label={t("Name of the campaign")} error={fieldError(error, "/name")}>
        {(attributes) => <input {...attributes} value={draft.name} onChange={(event) => set({ name: event.target.value })} required autoFocus />}
      </Field>
      <div className="form-pair">
        <Field label={t("To")} error={fieldError(error, "/audience")}>
          {(attributes) => (
            <select {...attributes} value={draft.audience} onChange={(event) => set({ audience: event.target.value })}>
              <option value="">{t("Choose people")}</option>
              <optgroup label={t("Lists")}>
                {lists.data?.data.map((one) => <option key={one.id} value={`list:${one.id}`}>{`${one.name} (${count(one.contact_count)})`}</option>)}
              </optgroup>
              <optgroup label={t("Segments")}>
                {segments.data?.data.map((one) => <option key={one.id} value={`segment:${one.id}`}>{one.name}</option>)}
              </optgroup>
            </select>
          )}
        </Field>
        <Field label={t("From")} error={fieldError(error, "/line_id")}>
          {(attributes) => (
            <select {...attributes} value={draft.line} onChange={(event) => set({ line: event.target.value })}>
              {lines.data?.data.map((one) => (
                <option key={one.id} value={one.id}>{`${one.name || phone(one.number)} · ${t("{n} left today", { n: count(one.remaining_today) })}`}</option>
              ))}
            </select>
          )}
        </Field>
      </div>
      <Field label={t("People who got a message from you before")}>
        {(attributes) => (
          <select {...attributes} value={draft.previously} onChange={(event) => set({ previously: event.target.value as "skip" })}>
            <option value="skip">{t("Leave them out")}</option>
            <option value="review">{t("Ask me for each of them")}</option>
            <option value="send">{t("Send to them too")}</option>
          </select>
        )}
      </Field>
    </fieldset>
  );
}

function What({ draft, set, error }: Part) {
  const templates = useQuery({ queryKey: ["templates"], queryFn: () => data(listTemplates({ query: { limit: 100 }, throwOnError: true })) });
  const change = (at: number, body: string) => set({ bodies: draft.bodies.map((one, index) => (index === at ? body : one)) });
  return (
    <fieldset className="card card-body form">
      <legend>{t("What")}</legend>
      {draft.bodies.map((body, at) => (
        <Body
          key={at}
          label={draft.bodies.length > 1 ? t("Message {name}", { name: "ABCD"[at] }) : t("Message")}
          value={body}
          onChange={(text) => change(at, text)}
          error={fieldError(error, `/variants/${at}/body`)}
          templates={templates.data?.data ?? []}
          onRemove={draft.bodies.length > 1 ? () => set({ bodies: draft.bodies.filter((_, index) => index !== at) }) : undefined}
        />
      ))}
      <p className="composer-more">
        {draft.bodies.length < MOST_VARIANTS && (
          <button type="button" className="link" onClick={() => set({ bodies: [...draft.bodies, ""] })}>{t("Compare another message (A/B)")}</button>
        )}
        {!draft.followUp && (
          <button type="button" className="link" onClick={() => set({ followUp: { hours: "72", body: "" } })}>{t("Follow up who does not answer")}</button>
        )}
      </p>
      {draft.followUp && (
        <>
          <Body
            label={t("Follow-up")}
            value={draft.followUp.body}
            onChange={(text) => set({ followUp: { ...draft.followUp!, body: text } })}
            error={fieldError(error, "/follow_ups/0/body")}
            templates={templates.data?.data ?? []}
            onRemove={() => set({ followUp: null })}
          />
          <Field label={t("Hours after the message, if there is no reply")} error={fieldError(error, "/follow_ups/0/after_hours")}>
            {(attributes) => <input {...attributes} className="short" type="number" min={1} value={draft.followUp!.hours} onChange={(event) => set({ followUp: { ...draft.followUp!, hours: event.target.value } })} />}
          </Field>
        </>
      )}
    </fieldset>
  );
}

type BodyProps = {
  label: string;
  value: string;
  onChange: (text: string) => void;
  error: string | undefined;
  templates: { id: string; name: string; body: string }[];
  onRemove?: (() => void) | undefined;
};

function Body({ label, value, onChange, error, templates, onRemove }: BodyProps) {
  const area = useRef<HTMLTextAreaElement | null>(null);
  const insert = (text: string) => {
    const at = area.current?.selectionStart ?? value.length;
    onChange(value.slice(0, at) + text + value.slice(area.current?.selectionEnd ?? at));
    area.current?.focus();
  };
  return (
    <div className="body-field">
      <Field label={label} error={error}>
        {(attributes) => (
          <textarea
            {...attributes}
            ref={area}
            rows={4}
            value={value}
            placeholder={t("Say who you are, what you offer, and how to stop.")}
            onChange={(event) => onChange(event.target.value)}
          />
        )}
      </Field>
      <div className="body-tools">
        {VALUES.map((one) => (
          <button key={one} type="button" onClick={() => insert(one)}>{one.match(/\w+/)![0].replace("_", " ")}</button>
        ))}
        {templates.length > 0 && (
          <select aria-label={t("Use a template for {name}", { name: label })} value="" onChange={(event) => onChange(templates.find((one) => one.id === event.target.value)?.body ?? value)}>
            <option value="">{t("Template")}</option>
            {templates.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
          </select>
        )}
        {onRemove && <button type="button" onClick={onRemove}>{t("Remove")}</button>}
      </div>
    </div>
  );
}

function dayName(day: Weekday): string {
  return { mon: t("Mon"), tue: t("Tue"), wed: t("Wed"), thu: t("Thu"), fri: t("Fri"), sat: t("Sat"), sun: t("Sun") }[day];
}

function When({ draft, set, error }: Part) {
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
      <div className="form-three">
        <Field label={t("Not before")} error={fieldError(error, "/schedule/window/start")}>
          {(attributes) => <input {...attributes} type="time" value={draft.start} onChange={(event) => set({ start: event.target.value })} />}
        </Field>
        <Field label={t("Not after")} error={fieldError(error, "/schedule/window/end")}>
          {(attributes) => <input {...attributes} type="time" value={draft.end} onChange={(event) => set({ end: event.target.value })} />}
        </Field>
        <Field label={t("By the clock of")}>
          {(attributes) => (
            <select {...attributes} value={draft.zone} onChange={(event) => set({ zone: event.target.value as "line" })}>
              <option value="recipient">{t("each person")}</option>
              <option value="line">{t("your line")}</option>
            </select>
          )}
        </Field>
      </div>
      <div className="form-pair">
        <Field label={t("Messages a day, at most")} error={fieldError(error, "/pacing/daily_limit")}>
          {(attributes) => <input {...attributes} type="number" min={1} value={draft.limit} onChange={(event) => set({ limit: event.target.value })} />}
        </Field>
        <Field label={t("First message")} hint={t("Leave it empty to begin at once.")} error={fieldError(error, "/schedule/start_at")}>
          {(attributes) => <input {...attributes} type="datetime-local" value={draft.begins} onChange={(event) => set({ begins: event.target.value })} />}
        </Field>
      </div>
      <p className="field-hint">{t("Legal quiet hours and opt-outs always hold, whatever is set here.")}</p>
    </fieldset>
  );
}

function Beside({ preview, error, isAsked }: { preview: CampaignPreview | undefined; error: unknown; isAsked: boolean }) {
  const [at, setAt] = useState(0);
  if (!isAsked) {
    return (
      <aside className="composer-side" aria-label={t("Preview")}>
        <Empty title={t("The preview appears here")}>{t("Choose people and write a message. You then see it as each person gets it.")}</Empty>
      </aside>
    );
  }
  const samples = preview?.samples ?? [];
  const shown = samples[Math.min(at, samples.length - 1)];
  return (
    <aside className="composer-side" aria-label={t("Preview")}>
      {error ? <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p> : null}
      {!preview && !error && <Loading lines={5} />}
      {preview && (
        <>
          <div className="phone" aria-live="polite">
            <p className="phone-head">{shown ? phone(shown.phone) : t("Nobody")}</p>
            {shown?.text ? <p className="phone-text">{shown.text}</p> : <p className="phone-none">{shown?.skip_reason ? t("Gets nothing: {reason}.", { reason: plain(shown.skip_reason).toLowerCase() }) : t("There is no person to show.")}</p>}
            {shown?.text && (
              <p className="phone-foot">
                {t("{n, plural, one {# segment} other {# segments}}", { n: shown.segments })} · {shown.encoding} · {dollars(shown.cost)}
              </p>
            )}
          </div>
          {samples.length > 1 && (
            <div className="phone-turn">
              <Button kind="quiet" icon="left" aria-label={t("Person before")} disabled={at <= 0} onClick={() => setAt(at - 1)} />
              <span className="number faint">{t("{n} of {all}", { n: Math.min(at, samples.length - 1) + 1, all: samples.length })}</span>
              <Button kind="quiet" icon="right" aria-label={t("Next person")} disabled={at >= samples.length - 1} onClick={() => setAt(at + 1)} />
            </div>
          )}
          <Summary preview={preview} />
        </>
      )}
    </aside>
  );
}

function Summary({ preview }: { preview: CampaignPreview }) {
  const { recipients } = preview;
  const skipped = Object.entries(recipients.skipped as Record<string, number>).filter(([, number]) => number > 0);
  return (
    <div className="form">
      <dl className="summary">
        <div>
          <dt>{t("Get the message")}</dt>
          <dd>{count(recipients.would_be_texted)}</dd>
        </div>
        <div>
          <dt>{t("Cost, about")}</dt>
          <dd>{dollars(preview.cost)}</dd>
        </div>
        <div>
          <dt>{t("Segments")}</dt>
          <dd>{count(preview.segments)}</dd>
        </div>
      </dl>
      {(skipped.length > 0 || recipients.review > 0 || recipients.held > 0) && (
        <ul className="left-out">
          {recipients.review > 0 && <li><Badge tone="hold">{count(recipients.review)}</Badge> {t("wait for your review")}</li>}
          {recipients.held > 0 && <li><Badge tone="hold">{count(recipients.held)}</Badge> {t("are on hold")}</li>}
          {skipped.map(([reason, number]) => (
            <li key={reason}><Badge>{count(number)}</Badge> {plain(reason).toLowerCase()}</li>
          ))}
        </ul>
      )}
      {preview.warnings.map((one) => (
        <p key={`${one.code}-${one.variant ?? ""}`} className="notice notice-warn">{one.detail}</p>
      ))}
      {preview.forcing_characters.slice(0, 3).map((one) => (
        <p key={`${one.code_point}-${one.variant}-${one.source}`} className="notice notice-warn">
          {t("The character “{character}” ({code}) makes segments shorter, so the message costs more.", { character: one.character, code: one.code_point })}
        </p>
      ))}
      {preview.missing_values.count > 0 && (
        <p className="notice notice-warn">
          {t("{n, plural, one {# person lacks} other {# people lack}} a value that the message uses. Give a default: {example}", { n: preview.missing_values.count, example: '{{ first_name | default: "there" }}' })}
        </p>
      )}
    </div>
  );
}
