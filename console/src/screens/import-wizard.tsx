/** Import a file: upload, check the columns and what would change, import, undo. */
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type DragEvent, type FormEvent } from "react";
import { data } from "../api/client";
import {
  cancelImport, commitImport, correctImport, getImport, getImportErrors, undoImport,
  type ImportColumnRead, type ImportDetail, type ImportRead,
} from "../api/generated";
import { client } from "../api/generated/client.gen";
import { fieldError, sentenceOf } from "../api/problem";
import { count, phone } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Badge, Button, Failed, Field, Loading, Meter, PageHead, scrolls } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { IMPORT_TONE, importStatus, plain } from "../ui/words";
import "./imports.css";

const BACK = (
  <Link to="/imports" className="back" aria-label="Imports">
    <Icon name="left" />
  </Link>
);

function Steps({ at }: { at: 0 | 1 | 2 }) {
  return (
    <ol className="steps" aria-label={t("Steps")}>
      {[t("Choose a file"), t("Check"), t("Import")].map((name, index) => (
        <li key={name} aria-current={index === at ? "step" : undefined}>
          <i aria-hidden="true">{index + 1}</i>
          {name}
        </li>
      ))}
    </ol>
  );
}

async function upload(form: FormData): Promise<ImportRead> {
  form.set("dry_run", "true");
  if (!form.get("list_name")) form.delete("list_name");
  const answer = await client.post<{ 202: ImportRead }, unknown, true>({
    url: "/v1/imports",
    body: form,
    bodySerializer: null,
    headers: { "Content-Type": null },
    throwOnError: true,
  });
  return answer.data as ImportRead;
}

export function NewImport() {
  const navigate = useNavigate();
  const [isOver, setOver] = useState(false);
  const [file, setFile] = useState<File | null>(null);
  const send = useMutation({
    mutationFn: upload,
    onSuccess: (made) => navigate({ to: "/imports/$id", params: { id: made.id } }),
  });
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    setFile(event.dataTransfer.files[0] ?? null);
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    if (file) form.set("file", file);
    send.mutate(form);
  };
  return (
    <>
      <PageHead title={t("New import")} before={BACK} />
      <form className="wizard wizard-narrow" onSubmit={submit}>
        <Steps at={0} />
        {send.error && <p className="notice notice-bad" role="alert">{sentenceOf(send.error)}</p>}
        <div
          className={isOver ? "drop drop-over" : "drop"}
          onDragOver={(event) => (event.preventDefault(), setOver(true))}
          onDragLeave={() => setOver(false)}
          onDrop={drop}
        >
          <Icon name="imports" size={22} />
          <label htmlFor="import-file">
            <strong>{file ? file.name : t("Drop a file here, or choose one")}</strong>
          </label>
          <input id="import-file" name="file" type="file" accept=".csv,.txt,.xlsx" required={!file} onChange={(event) => setFile(event.target.files?.[0] ?? null)} />
          <p className="faint">{t("CSV or Excel, with phone numbers. Files of PropertyRadar are recognised.")}</p>
        </div>
        <Field label={t("Put everybody on this list")} hint={t("Leave it empty for no list. A new name makes a new list.")} error={fieldError(send.error, "/list_name")}>
          {(attributes) => <input {...attributes} name="list_name" />}
        </Field>
        <Field label={t("People who are contacts already")}>
          {(attributes) => (
            <select {...attributes} name="on_duplicate" defaultValue="fill">
              <option value="fill">{t("Fill their empty fields")}</option>
              <option value="overwrite">{t("Overwrite their fields")}</option>
              <option value="skip">{t("Leave them as they are")}</option>
            </select>
          )}
        </Field>
        <div className="wizard-end">
          <p>{t("Nothing is written yet: the next step shows what would change.")}</p>
          <Button type="submit" kind="main" busy={send.isPending}>{t("Check the file")}</Button>
        </div>
      </form>
    </>
  );
}

export function ImportPage() {
  const { id } = useParams({ from: "/shell/imports/$id" });
  const found = useQuery({
    queryKey: ["import", id],
    queryFn: () => data(getImport({ path: { import_id: id }, throwOnError: true })),
    refetchInterval: ({ state }) => (isWorking(state.data) ? 1_000 : false),
  });
  const one = found.data;
  const name = one ? (one.file_name ?? t("From the provider")) : t("Import");
  return (
    <>
      <PageHead title={name} before={BACK}>
        {one && <Badge tone={IMPORT_TONE[one.status]}>{importStatus(one.status)}</Badge>}
        {one?.dry_run && <Badge>{t("Check only")}</Badge>}
        {one?.undone_at && <Badge tone="warn">{t("Undone")}</Badge>}
      </PageHead>
      {found.isError ? (
        <Failed error={found.error} again={() => void found.refetch()} />
      ) : !one ? (
        <Loading />
      ) : (
        <div className="wizard">
          <Steps at={one.dry_run ? 1 : 2} />
          {one.error && <p className="notice notice-bad" role="alert">{one.error}</p>}
          {isWorking(one) && <Working one={one} />}
          {(one.status === "completed" || one.status === "cancelled") && <Tally one={one} />}
          {one.status === "completed" && (one.dry_run ? <Check one={one} /> : <Done one={one} />)}
          {one.status === "failed" && <Link to="/imports/new" className="button">{t("Choose another file")}</Link>}
        </div>
      )}
    </>
  );
}

function isWorking(one: ImportDetail | undefined): boolean {
  if (!one) return false;
  const undoes = one.undo && one.undo.status !== "completed";
  return one.status === "pending" || one.status === "running" || !!undoes;
}

function Working({ one }: { one: ImportDetail }) {
  const cache = useQueryClient();
  const stop = useMutation({
    mutationFn: () => data(cancelImport({ path: { import_id: one.id }, throwOnError: true })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: ["import", one.id] }),
    onError: fail,
  });
  const total = one.rows_total ?? 0;
  return (
    <section aria-label={t("Progress")} className="form">
      <p role="status">
        {one.undo ? t("The import is being undone.") : one.dry_run ? t("The file is being checked.") : t("The contacts are being written.")}{" "}
        <span className="faint number">{t("{n} of {all} rows", { n: count(one.rows_processed), all: total ? count(total) : "…" })}</span>
      </p>
      <Meter value={one.rows_processed} of={total} label={t("Rows")} />
      {may("contacts:write") && !one.undo && (
        <p><Button busy={stop.isPending} onClick={() => stop.mutate()}>{t("Stop")}</Button></p>
      )}
    </section>
  );
}

function Tally({ one }: { one: ImportDetail }) {
  const would = one.dry_run;
  const figures: [string, string, number][] = [
    ["rows_total", t("Rows"), one.rows_total ?? one.rows_processed],
    ["created", would ? t("New contacts") : t("Contacts added"), one.created],
    ["updated", would ? t("Would change") : t("Contacts changed"), one.updated],
    ["unchanged", t("Stay as they are"), one.unchanged],
    ["duplicates_in_file", t("Twice in the file"), one.duplicates_in_file],
    ["invalid", t("Rows not usable"), one.invalid],
  ];
  return (
    <dl className="tally">
      {figures.map(([name, label, value]) => (
        <div key={name}>
          <dt>{label}</dt>
          <dd data-figure={name} data-value={value}>{count(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

const FIELDS = [
  "phone", "phone_2", "phone_3", "phone_4", "name", "first_name", "last_name", "email", "company",
  "address", "street", "city", "state", "postal_code", "country", "timezone", "tags", "opted_out", "do_not_contact",
];

function fieldName(field: string): string {
  if (field.startsWith("attributes.")) return t("Own field: {name}", { name: plain(field.slice(11)) });
  if (field.startsWith("second.")) return t("Second person: {name}", { name: fieldName(field.slice(7)) });
  return plain(field);
}

function ownField(column: string): string {
  const name = column.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "");
  return `attributes.${/^[a-z]/.test(name) ? name : `c_${name}`}`;
}

function Check({ one }: { one: ImportDetail }) {
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
                    <Target column={column} value={column.column in mapping ? mapping[column.column]! : column.field} onChange={(field) => setMapping({ ...mapping, [column.column]: field })} />
                  </td>
                  <td>{column.field && <Badge tone={column.confidence === "high" ? "good" : column.confidence === "low" ? "warn" : "neutral"}>{plain(column.confidence)}</Badge>}</td>
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

type TargetProps = { column: ImportColumnRead; value: string | null; onChange: (field: string | null) => void };

function Target({ column, value, onChange }: TargetProps) {
  const own = ownField(column.column);
  const offered = [...new Set([...(column.field ? [column.field] : []), ...(value ? [value] : []), ...FIELDS, own])];
  return (
    <select aria-label={t("What {column} becomes", { column: column.column })} value={value ?? ""} onChange={(event) => onChange(event.target.value || null)}>
      <option value="">{t("Leave out")}</option>
      {offered.map((field) => <option key={field} value={field}>{fieldName(field)}</option>)}
    </select>
  );
}

/** The cells of a CSV line; values of the API quote what holds commas. */
function cells(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((one) => (one[1] ?? one[2] ?? "").replaceAll('""', '"'));
}

function Errors({ one }: { one: ImportDetail }) {
  const found = useQuery({
    queryKey: ["import", one.id, "errors", one.finished_at],
    queryFn: async () => String(await data(getImportErrors({ path: { import_id: one.id }, parseAs: "text", headers: { Accept: "text/csv" } as never, throwOnError: true }) as never)),
  });
  const [, ...lines] = (found.data ?? "").split(/\r?\n/).filter(Boolean);
  if (!lines.length) return null;
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([found.data ?? ""], { type: "text/csv" }));
    link.download = `errors-${one.file_name ?? "import"}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
  };
  return (
    <section className="card" aria-labelledby="errors-title">
      <div className="card-head">
        <h2 id="errors-title">{t("{n, plural, one {# value} other {# values}} could not be read", { n: lines.length })}</h2>
        <Button icon="imports" onClick={save}>{t("Save as CSV")}</Button>
      </div>
      <div className="scroll-x" ref={scrolls}>
        <table className="table">
          <thead>
            <tr>
              <th className="end">{t("Line")}</th>
              <th>{t("Column")}</th>
              <th>{t("Value")}</th>
              <th>{t("Why")}</th>
            </tr>
          </thead>
          <tbody>
            {lines.slice(0, 20).map((line, at) => {
              const [number, column, value, reason] = cells(line);
              return (
                <tr key={at}>
                  <td className="end">{number}</td>
                  <td>{column}</td>
                  <td><div className="example">{value}</div></td>
                  <td>{reason}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {lines.length > 20 && <p className="card-body faint">{t("The file has all {n}.", { n: count(lines.length) })}</p>}
    </section>
  );
}

function Examples({ one }: { one: ImportDetail }) {
  if (!one.sample.length) return null;
  return (
    <section className="card" aria-labelledby="examples-title">
      <h2 id="examples-title">{t("Examples of what changes")}</h2>
      <div className="scroll-x" ref={scrolls}>
        <table className="table">
          <thead>
            <tr>
              <th className="end">{t("Line")}</th>
              <th>{t("Phone")}</th>
              <th>{t("Result")}</th>
              <th>{t("Changes")}</th>
            </tr>
          </thead>
          <tbody>
            {one.sample.slice(0, 8).map((row) => (
              <tr key={row.line + row.phone}>
                <td className="end">{row.line}</td>
                <td className="number">{phone(row.phone)}</td>
                <td>{plain(row.outcome)}</td>
                <td className="faint">
                  {Object.entries(row.changes).slice(0, 4).map(([field, value]) => `${plain(field.replace("attributes.", ""))}: ${String((value as { after: unknown }).after ?? "–")}`).join(" · ")}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Done({ one }: { one: ImportDetail }) {
  const cache = useQueryClient();
  const [asked, setAsked] = useState<{ token: string; counts: Record<string, unknown> } | null>(null);
  const path = { import_id: one.id };
  const ask = useMutation({
    mutationFn: () => data(undoImport({ path, body: { dry_run: true }, throwOnError: true })),
    onSuccess: (found) => setAsked({ token: found.token ?? "", counts: (found.counts ?? {}) as Record<string, unknown> }),
    onError: fail,
  });
  const undo = useMutation({
    mutationFn: () => data(undoImport({ path, body: { token: asked!.token }, throwOnError: true })),
    onSuccess: () => (say(t("The import is being undone.")), void cache.invalidateQueries({ queryKey: ["import", one.id] })),
    onError: fail,
    onSettled: () => setAsked(null),
  });
  return (
    <>
      {one.undo?.status === "completed" && (
        <p className="notice notice-warn">
          {t("Undone: {removed} contacts removed, {restored} put back. {kept} were kept because they were edited or used since.", {
            removed: count(one.undo.removed), restored: count(one.undo.restored), kept: count(one.undo.left_edited + one.undo.left_in_use),
          })}
        </p>
      )}
      <Errors one={one} />
      <p className="page-actions">
        <Link to="/contacts" search={one.list_id ? { list: one.list_id } : {}} className="button button-main">{t("Show the contacts")}</Link>
        {may("contacts:write") && !one.undo && <Button busy={ask.isPending} onClick={() => ask.mutate()}>{t("Undo the import")}</Button>}
      </p>
      {asked && (
        <Dialog
          title={t("Undo this import?")}
          onClose={() => setAsked(null)}
          footer={
            <>
              <Button onClick={() => setAsked(null)}>{t("Go back")}</Button>
              <Button kind="danger" busy={undo.isPending} onClick={() => undo.mutate()}>{t("Undo the import")}</Button>
            </>
          }
        >
          <p>{t("Contacts that it added are removed, and changed ones get their old values back. People who were edited or texted since stay.")}</p>
          <dl className="tally">
            {Object.entries(asked.counts).map(([name, value]) => (
              <div key={name}>
                <dt>{plain(name)}</dt>
                <dd>{count(Number(value))}</dd>
              </div>
            ))}
          </dl>
        </Dialog>
      )}
    </>
  );
}
