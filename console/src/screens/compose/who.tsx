/** The audience, the line and the kind of message in the campaign form. */
import { Link } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { data } from "../../api/client";
import { listLines, listLists, listSegments, type CampaignKind } from "../../api/generated";
import { fieldError } from "../../api/problem";
import { count, phone } from "../../format";
import { t } from "../../i18n";
import { byName } from "../../ui/by-name";
import { Field } from "../../ui/parts";
import { NO_WORDS, type Draft } from "./draft";

export type Part = { draft: Draft; set: (change: Partial<Draft>) => void; error: unknown };

export function Who({ draft, set, error }: Part) {
  const lines = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const sorted = byName(lines.data?.data);
  const lists = useQuery({ queryKey: ["lists"], queryFn: () => data(listLists({ query: { limit: 200 }, throwOnError: true })) });
  const segments = useQuery({ queryKey: ["segments"], queryFn: () => data(listSegments({ query: { limit: 200 }, throwOnError: true })) });
  const first = sorted.find((one) => one.status === "active")?.id;
  useEffect(() => {
    if (!draft.line && first) set({ line: first });
  }, [draft.line, first]);
  const isNothing = lists.data?.data.length === 0 && segments.data?.data.length === 0;
  return (
    <fieldset className="card card-body form">
      <legend>{t("Who")}</legend>
      <Field label={t("Name of the campaign")} error={fieldError(error, "/name")}>
        {(attributes) => <input {...attributes} value={draft.name} maxLength={200} onChange={(event) => set({ name: event.target.value })} required autoFocus />}
      </Field>
      <div className="form-pair">
        <Field label={t("To")} error={fieldError(error, "/audience") ?? fieldError(error, "/audience/list_id") ?? fieldError(error, "/audience/segment_id")} hint={isNothing ? t("There is no list yet. Import a file first.") : undefined}>
          {(attributes) => (
            <select {...attributes} value={draft.audience} onChange={(event) => set({ audience: event.target.value })}>
              <option value="">{t("Choose people")}</option>
              {draft.people.length > 0 && <option value="people">{t("{n, plural, one {# chosen person} other {# chosen people}}", { n: draft.people.length })}</option>}
              <optgroup label={t("Lists")}>
                {lists.data?.data.map((one) => <option key={one.id} value={`list:${one.id}`}>{`${one.name} (${count(one.contact_count)})`}</option>)}
              </optgroup>
              <optgroup label={t("Segments")}>
                {segments.data?.data.map((one) => <option key={one.id} value={`segment:${one.id}`}>{one.name}</option>)}
              </optgroup>
            </select>
          )}
        </Field>
        <Field label={t("From")} error={fieldError(error, "/line_id")} hint={lines.data?.data.length === 0 ? <>{t("There is no line yet.")} <Link to="/settings" search={{ part: "lines" }} className="link">{t("Read them from the provider")}</Link></> : undefined}>
          {(attributes) => (
            <select {...attributes} value={draft.line} onChange={(event) => set({ line: event.target.value })}>
              {sorted.map((one) => (
                <option key={one.id} value={one.id}>{`${one.name || phone(one.number)} · ${t("{n} left today", { n: count(one.remaining_today) })}`}</option>
              ))}
            </select>
          )}
        </Field>
      </div>
      <div className="form-pair">
        <Field label={t("Leave out the people of")} error={fieldError(error, "/audience/exclude")}>
          {(attributes) => (
            <select {...attributes} value={draft.exclude?.list_ids?.[0] ?? draft.exclude?.list_id ?? ""} onChange={(event) => set({ exclude: event.target.value ? { list_ids: [event.target.value] } : null })}>
              <option value="">{t("No list")}</option>
              {lists.data?.data.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
            </select>
          )}
        </Field>
        <Field label={t("People who got a message from you before")}>
          {(attributes) => (
            <select {...attributes} value={draft.previously} onChange={(event) => set({ previously: event.target.value as "skip" })}>
              <option value="skip">{t("Leave them out")}</option>
              <option value="review">{t("Ask me for each of them")}</option>
              <option value="send">{t("Send to them too")}</option>
            </select>
          )}
        </Field>
      </div>
      <Field label={t("Kind")} error={fieldError(error, "/kind")} hint={hintOf(draft.kind)}>
        {(attributes) => (
          <select {...attributes} value={draft.kind} onChange={(event) => set({ kind: event.target.value as CampaignKind, ...(event.target.value === "mixed" ? { previously: "send" } : { known: NO_WORDS }) })}>
            <option value="cold">{t("To people who do not know you")}</option>
            <option value="customer">{t("To your customers")}</option>
            <option value="mixed">{t("To both, with another message for people who know you")}</option>
          </select>
        )}
      </Field>
    </fieldset>
  );
}

function hintOf(kind: CampaignKind): string {
  return {
    cold: t("The first message must name you and say how to stop."),
    customer: t("For people with whom you have done business."),
    mixed: t("Who has written, called or got a message before gets the message for known people."),
  }[kind];
}
