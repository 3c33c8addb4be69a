/** The check of an import file: columns with examples and target fields, and the changes. */
import { useNavigate } from "@tanstack/react-router";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import { commitImport, correctImport, type ImportColumnRead, type ImportDetail } from "../api/generated";
import { sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { may } from "../session";
import { Badge, Button, scrolls } from "../ui/parts";
import { fail } from "../ui/toasts";
import { confidenceName, importField } from "../ui/code-names";
import { plain } from "../ui/words";
import { Errors, Examples } from "./import-parts";

const OUTCOME_FIELDS = ["phone", "kind", "status", "amount", "amount_cents", "currency", "date", "external_id", "name"];

const FIELDS = [
  "phone", "phone_2", "phone_3", "phone_4", "name", "first_name", "last_name", "email", "company",
  "address", "street", "city", "state", "postal_code", "country", "timezone", "tags", "opted_out", "do_not_contact",
];

function fieldName(field: string): string {
  if (field.startsWith("attributes.")) return t("Own field: {name}", { name: plain(field.slice(11)) });
  if (field.startsWith("second.")) return t("Second person: {name}", { name: fieldName(field.slice(7)) });
  return importField(field);
}

function ownField(column: string): string {
  const name = column.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "");
  return `attributes.${/^[a-z]/.test(name) ? name : `c_${name}`}`;
}

export function Check({ one }: { one: ImportDetail }) {
  const navigate = useNavigate();
  const cache = useQueryClient();
  const [mapping, setMapping] = useState<Record<string, string | null>>({});
  const path = { import_id: one.id };
  const correct = useMutation({
    mutationFn: () => {
      const whole = { ...Object.fromEntries(one.columns.map((column) => [column.column, column.field])), ...mapping };
      return data(correctImport({ path, body: { mapping: whole }, throwOnError: true }));
    },
    onSuccess: () => (setMapping({}), void cache.invalidateQueries({ queryKey: ["import", one.id] })),
  });
  const commit = useMutation({
    mutationFn: () => data(commitImport({ path, throwOnError: true })),
    onSuccess: (made) => navigate({ to: "/imports/$id", params: { id: made.id } }),
    onError: fail,
  });
  const changed = Object.keys(mapping).length > 0;
  const people = one.created + one.updated;
  return (
    <>
      {one.notes.map((note) => <p key={note} className="notice">{note}</p>)}
      {correct.error && <p className="notice notice-bad" role="alert">{sentenceOf(correct.error)}</p>}
      <section className="card" aria-labelledby="columns-title">
        <h2 id="columns-title">{t("Columns")}</h2>
        <div className="scroll-x" ref={scrolls}>
          <table className="table columns">
            <thead>
              <tr>
                <th>{t("In the file")}</th>
                <th>{t("Examples")}</th>
                <th>{t("Becomes")}</th>
                <th>{t("Certainty")}</th>
              </tr>
            </thead>
            <tbody>
              {one.columns.map((column) => (
                <tr key={column.column}>
                  <td><strong>{column.column}</strong></td>
                  <td><div className="example">{column.examples.join(" · ") || "–"}</div></td>
                  <td>
                    <Target column={column} kind={one.kind} value={column.column in mapping ? mapping[column.column]! : column.field} onChange={(field) => setMapping({ ...mapping, [column.column]: field })} />
                  </td>
                  <td>{column.field && <Badge tone={column.confidence === "high" ? "good" : column.confidence === "low" ? "warn" : "neutral"}>{confidenceName(column.confidence)}</Badge>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <Errors one={one} />
      <Examples one={one} />
      {may("contacts:write") && (
        <div className="wizard-end">
          <p>
            {changed
              ? t("The columns have changed: check again before you import.")
              : one.kind === "outcomes"
                ? t("{n, plural, one {# outcome} other {# outcomes}} will be added. You can undo it later.", { n: people })
                : t("{n, plural, one {# contact} other {# contacts}} will be added or changed. You can undo it later.", { n: people })}
          </p>
          {changed && <Button onClick={() => setMapping({})}>{t("Put back")}</Button>}
          {changed ? (
            <Button kind="main" busy={correct.isPending} onClick={() => correct.mutate()}>{t("Check again")}</Button>
          ) : (
            <Button kind="main" busy={commit.isPending} disabled={!people && !one.list_name} onClick={() => commit.mutate()}>{t("Import")}</Button>
          )}
        </div>
      )}
    </>
  );
}

type TargetProps = { column: ImportColumnRead; kind: ImportDetail["kind"]; value: string | null; onChange: (field: string | null) => void };

function Target({ column, kind, value, onChange }: TargetProps) {
  const usual = kind === "outcomes" ? OUTCOME_FIELDS : [...FIELDS, ownField(column.column)];
  const offered = [...new Set([...(column.field ? [column.field] : []), ...(value ? [value] : []), ...usual])];
  return (
    <select aria-label={t("What {column} becomes", { column: column.column })} value={value ?? ""} onChange={(event) => onChange(event.target.value || null)}>
      <option value="">{t("Leave out")}</option>
      {offered.map((field) => <option key={field} value={field}>{fieldName(field)}</option>)}
    </select>
  );
}
