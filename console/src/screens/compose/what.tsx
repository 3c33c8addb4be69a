/** The messages in the campaign form: up to four variants, one for known people, follow-ups. */
import { useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { data } from "../../api/client";
import { listContacts, listSegmentContacts, listTemplates, type TemplateRead } from "../../api/generated";
import { fieldError } from "../../api/problem";
import { t } from "../../i18n";
import { may } from "../../session";
import { Button, Field } from "../../ui/parts";
import { evenly, MOST_STEPS, MOST_VARIANTS, NO_WORDS, type DraftStep, type DraftVariant, type Words } from "./draft";
import type { Part } from "./who";

const MOST_OWN = 12;
/** The number of people of the audience who are read, to find out which attributes they have. */
const LOOKED_AT = 20;
const VALUES = ['{{ first_name | default: "there" }}', "{{ last_name }}", "{{ street }}", "{{ city }}"];

export function What({ draft, set, error }: Part) {
  const found = useQuery({ queryKey: ["templates"], queryFn: () => data(listTemplates({ query: { limit: 100 }, throwOnError: true })) });
  const templates = found.data?.data ?? [];
  const own = useOwnFields(draft.audience);
  const { variants, steps } = draft;
  const setVariant = (at: number, change: Partial<DraftVariant>) => set({ variants: variants.map((one, index) => (index === at ? { ...one, ...change } : one)) });
  const setStep = (at: number, change: Partial<DraftStep>) => set({ steps: steps.map((one, index) => (index === at ? { ...one, ...change } : one)) });
  const most = draft.kind === "mixed" ? MOST_VARIANTS - 1 : MOST_VARIANTS;
  const isCompared = variants.length > 1;
  return (
    <fieldset className="card card-body form">
      <legend>{t("What")}</legend>
      {fieldError(error, "/variants") && <p className="field-error" role="alert">{fieldError(error, "/variants")}</p>}
      {variants.map((one, at) => (
        <Body
          key={at}
          label={isCompared ? t("Message {name}", { name: "ABCD"[at] }) : t("Message")}
          words={one}
          onChange={(words) => setVariant(at, words)}
          error={fieldError(error, `/variants/${at}/body`) ?? fieldError(error, `/variants/${at}/template_id`)}
          templates={templates}
          own={own}
          onRemove={isCompared ? () => set({ variants: evenly(variants.filter((_, index) => index !== at)) }) : undefined}
          more={
            isCompared && (
              <label className="weight">
                {t("Share of {name}, %", { name: "ABCD"[at] })}
                <input type="number" min={1} max={99} value={one.weight} onChange={(event) => setVariant(at, { weight: event.target.value })} />
              </label>
            )
          }
        />
      ))}
      {draft.kind === "mixed" && (
        <Body
          label={t("Message for people who know you")}
          words={draft.known}
          onChange={(known) => set({ known })}
          error={fieldError(error, `/variants/${variants.length}/body`)}
          templates={templates}
          own={own}
        />
      )}
      {isCompared && draft.kind !== "mixed" && (
        <div className="checks">
          <label className="check"><input type="checkbox" checked={draft.stopsHarmful} onChange={(event) => set({ stopsHarmful: event.target.checked })} />{t("Stop a variant after which clearly more people opt out")}</label>
          <label className="check"><input type="checkbox" checked={draft.shiftsToWinner} onChange={(event) => set({ shiftsToWinner: event.target.checked })} />{t("Send the better variant to the rest once it is clear")}</label>
        </div>
      )}
      {steps.map((one, at) => (
        <div key={at} className="step">
          <Body
            label={steps.length > 1 ? t("Follow-up {n}", { n: at + 1 }) : t("Follow-up")}
            words={one}
            onChange={(words) => setStep(at, words)}
            error={fieldError(error, `/follow_ups/${at}/body`)}
            templates={templates}
            own={own}
            onRemove={() => set({ steps: steps.filter((_, index) => index !== at) })}
          />
          <Field label={at === 0 ? t("Hours after the message, if there is no reply") : t("Hours after follow-up {n}, if there is no reply", { n: at })} error={fieldError(error, `/follow_ups/${at}/after_hours`)}>
            {(attributes) => <input {...attributes} className="short" type="number" min={1} value={one.hours} onChange={(event) => setStep(at, { hours: event.target.value })} />}
          </Field>
        </div>
      ))}
      <p className="composer-more">
        {variants.length < most && (
          <button type="button" className="link" onClick={() => set({ variants: evenly([...variants, { ...NO_WORDS, weight: "" }]) })}>{t("Compare another message (A/B)")}</button>
        )}
        {steps.length < MOST_STEPS && (
          <button type="button" className="link" onClick={() => set({ steps: [...steps, { ...NO_WORDS, hours: "72" }] })}>
            {steps.length === 0 ? t("Follow up who does not answer") : t("Another follow-up")}
          </button>
        )}
      </p>
    </fieldset>
  );
}

/** Return the names of attributes that some people of the audience have. */
function useOwnFields(audience: string): string[] {
  const [kind, id = ""] = audience.split(":");
  const found = useQuery({
    queryKey: ["contacts", "own-fields", audience],
    enabled: id !== "" && may("contacts:read"),
    staleTime: 300_000,
    queryFn: () =>
      kind === "list"
        ? data(listContacts({ query: { list_id: id, limit: LOOKED_AT }, throwOnError: true }))
        : data(listSegmentContacts({ path: { segment_id: id }, query: { limit: LOOKED_AT }, throwOnError: true })),
  });
  const names = new Set((found.data?.data ?? []).flatMap((one) => Object.keys(one.attributes ?? {})));
  return [...names].filter((one) => /^[a-z]\w*$/i.test(one)).sort().slice(0, MOST_OWN);
}

type Choice = { value: string; label: string; body: string; id: string; version: number };

/** Return the newest version of each template, and the newest approved version if it differs. */
function choicesOf(templates: TemplateRead[]): Choice[] {
  return templates.flatMap((one) => {
    const approved = [...one.versions].reverse().find((version) => version.status === "approved");
    const choice = (version: number, body: string, note: string): Choice => ({ value: `${one.id}:${version}`, label: note ? `${one.name} · ${note}` : one.name, body, id: one.id, version });
    const newest = choice(one.version, one.body, one.status === "approved" ? t("approved") : "");
    const older = approved && approved.version !== one.version ? [choice(approved.version, approved.body, t("version {n}, approved", { n: approved.version }))] : [];
    return [newest, ...older];
  });
}

type BodyProps = {
  label: string;
  words: Words;
  onChange: (words: Words) => void;
  error: string | undefined;
  templates: TemplateRead[];
  own: string[];
  onRemove?: (() => void) | undefined;
  more?: React.ReactNode;
};

function Body({ label, words, onChange, error, templates, own, onRemove, more }: BodyProps) {
  const area = useRef<HTMLTextAreaElement | null>(null);
  const { body, template } = words;
  const insert = (text: string) => {
    const at = area.current?.selectionStart ?? body.length;
    onChange({ body: body.slice(0, at) + text + body.slice(area.current?.selectionEnd ?? at), template: null });
    area.current?.focus();
  };
  const choices = choicesOf(templates);
  const choose = (value: string) => {
    const chosen = choices.find((one) => one.value === value);
    if (chosen) onChange({ body: chosen.body, template: { id: chosen.id, version: chosen.version } });
  };
  const used = template && templates.find((one) => one.id === template.id);
  return (
    <div className="body-field">
      <Field label={label} error={error} hint={used ? t("Version {n} of the template {name}. Changed words are words of their own.", { n: template.version, name: used.name }) : undefined}>
        {(attributes) => (
          <textarea
            {...attributes}
            ref={area}
            rows={4}
            value={body}
            placeholder={t("Say who you are, what you offer, and how to stop.")}
            onChange={(event) => onChange({ body: event.target.value, template: null })}
          />
        )}
      </Field>
      <div className="body-tools">
        {VALUES.map((one) => (
          <button key={one} type="button" onClick={() => insert(one)}>{one.match(/\w+/)![0].replace("_", " ")}</button>
        ))}
        {own.map((one) => (
          <button key={one} type="button" onClick={() => insert(`{{ attributes.${one} }}`)}>{one.replaceAll("_", " ")}</button>
        ))}
        {choices.length > 0 && (
          <select aria-label={t("Use a template for {name}", { name: label })} value={template ? `${template.id}:${template.version}` : ""} onChange={(event) => choose(event.target.value)}>
            <option value="">{t("Template")}</option>
            {choices.map((one) => <option key={one.value} value={one.value}>{one.label}</option>)}
          </select>
        )}
        {more}
        {onRemove && <Button kind="quiet" aria-label={t("Remove {name}", { name: label })} onClick={onRemove}>{t("Remove")}</Button>}
      </div>
    </div>
  );
}
