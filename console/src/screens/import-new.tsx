/** The form that starts an import: the kind of data, the file, and what happens to known people. */
import { useNavigate } from "@tanstack/react-router";
import { useMutation } from "@tanstack/react-query";
import { useState, type DragEvent, type FormEvent } from "react";
import type { ImportRead } from "../api/generated";
import { client } from "../api/generated/client.gen";
import { ApiProblem, fieldError, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { may } from "../session";
import { Icon } from "../ui/icons";
import { Button, Failed, Field, PageHead } from "../ui/parts";
import { NewUpload } from "./do-not-contact";
import { BackToImports, Steps } from "./import-parts";
import "./imports.css";

type Kind = "contacts" | "outcomes" | "do_not_contact";

async function upload(form: FormData): Promise<ImportRead> {
  form.set("dry_run", "true");
  for (const name of ["list_name", "on_duplicate"]) if (!form.get(name)) form.delete(name);
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
  const [kind, setKind] = useState<Kind>("contacts");
  const [file, setFile] = useState<File | null>(null);
  const kinds: [Kind, string, string][] = [
    ["contacts", t("Contacts"), t("People with their numbers, addresses and fields of your own.")],
    ...(may("insight:write") ? [["outcomes", t("Outcomes"), t("Quotes, invoices, jobs and appointments, one a row.")] as [Kind, string, string]] : []),
    ["do_not_contact", t("Do not contact"), t("Numbers that must never get a message.")],
  ];
  if (!may("contacts:write")) {
    return (
      <>
        <PageHead title={t("New import")} before={<BackToImports />} />
        <Failed error={new ApiProblem(403, {})} />
      </>
    );
  }
  return (
    <>
      <PageHead title={t("New import")} before={<BackToImports />} />
      <div className="wizard wizard-narrow">
        <Steps at={0} />
        <fieldset className="kinds">
          <legend>{t("What is in the file?")}</legend>
          {kinds.map(([name, label, hint]) => (
            <label key={name} className="kind">
              <input type="radio" name="kind" checked={kind === name} onChange={() => setKind(name)} />
              <span><strong>{label}</strong> <span className="faint">{hint}</span></span>
            </label>
          ))}
        </fieldset>
        <FileDrop file={file} onFile={setFile} kind={kind} />
        {kind === "do_not_contact" ? <NewUpload file={file} /> : <ImportForm key={kind} kind={kind} file={file} />}
      </div>
    </>
  );
}

const isReadable = (file: File, kind: Kind): boolean => (kind === "do_not_contact" ? /\.(csv|txt)$/i : /\.(csv|txt|xlsx)$/i).test(file.name);

function FileDrop({ file, onFile, kind }: { file: File | null; onFile: (file: File | null) => void; kind: Kind }) {
  const [isOver, setOver] = useState(false);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    onFile(event.dataTransfer.files[0] ?? null);
  };
  const hint = {
    contacts: t("CSV or Excel, with phone numbers. Files of PropertyRadar are recognised."),
    outcomes: t("CSV or Excel, with a phone number, a date and an amount in each row. Open invoices are left out."),
    do_not_contact: t("CSV with numbers in any usual format, with or without a header."),
  }[kind];
  return (
    <div
      className={isOver ? "drop drop-over" : "drop"}
      onDragOver={(event) => (event.preventDefault(), setOver(true))}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <Icon name="imports" size={22} />
      <label htmlFor="import-file"><strong>{file ? file.name : t("Drop a file here, or choose one")}</strong></label>
      <input id="import-file" type="file" accept={kind === "do_not_contact" ? ".csv,.txt" : ".csv,.txt,.xlsx"} onChange={(event) => onFile(event.target.files?.[0] ?? null)} />
      {file && !isReadable(file, kind) && <p className="field-error" role="alert">{kind === "do_not_contact" ? t("This is not a CSV file.") : t("This is not a CSV or Excel file.")}</p>}
      <p className="faint">{hint}</p>
    </div>
  );
}

function ImportForm({ kind, file }: { kind: "contacts" | "outcomes"; file: File | null }) {
  const navigate = useNavigate();
  const send = useMutation({
    mutationFn: upload,
    onSuccess: (made) => navigate({ to: "/imports/$id", params: { id: made.id }, search: {} }),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    if (!file) return;
    form.set("file", file);
    form.set("kind", kind);
    send.mutate(form);
  };
  return (
    <form className="form" onSubmit={submit}>
      {send.error && <p className="notice notice-bad" role="alert">{fieldError(send.error, "/file") ?? sentenceOf(send.error)}</p>}
      {kind === "contacts" && (
        <>
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
        </>
      )}
      <div className="wizard-end">
        <p>{file ? t("Nothing is written yet: the next step shows what would change.") : t("Choose a file first.")}</p>
        <Button type="submit" kind="main" busy={send.isPending} disabled={!file || !isReadable(file, kind)}>{t("Check the file")}</Button>
      </div>
    </form>
  );
}
