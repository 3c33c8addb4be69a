/** Messages to use again, with their versions and their approval. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import {
  approveTemplate, createTemplate, deleteTemplate, listTemplates, rejectTemplate, submitTemplate, updateTemplate, type TemplateRead,
} from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Empty, Field, PageHead, Time, scrolls } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { plain } from "../ui/words";
import { Shown, TONE } from "./operations";
import "./campaigns.css";

export function Templates() {
  const [shown, setShown] = useState<TemplateRead | "new" | null>(null);
  const query = useQuery({ queryKey: ["templates"], queryFn: () => data(listTemplates({ query: { limit: 100 }, throwOnError: true })) });
  const rows = query.data?.data ?? [];
  const begin = may("campaigns:write") && <Button kind="main" icon="plus" onClick={() => setShown("new")}>{t("New template")}</Button>;
  return (
    <>
      <PageHead title={t("Templates")} actions={begin} />
      <Shown query={query}>
        {rows.length === 0 ? (
          <Empty title={t("No templates yet")} action={begin}>{t("A template is a message to use again. Each change keeps the version before.")}</Empty>
        ) : (
          <div className="scroll-x" ref={scrolls}>
            <table className="table campaigns">
              <thead><tr><th>{t("Name")}</th><th>{t("Status")}</th><th>{t("Message")}</th><th className="end">{t("Segments")}</th><th>{t("Changed")}</th></tr></thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row.id} className="row">
                    <td>
                      <button type="button" className="row-link link" onClick={() => setShown(row)}>{row.name}</button>
                      {row.category && <span className="faint"> · {row.category}</span>}
                    </td>
                    <td><Badge tone={TONE[row.status] ?? "neutral"}>{plain(row.status)}</Badge></td>
                    <td className="message-body">{row.body}</td>
                    <td className="end">{row.segments ?? "–"}</td>
                    <td className="faint"><Time at={row.updated_at} relative /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Shown>
      {shown && <Edit template={shown === "new" ? null : shown} onClose={() => setShown(null)} />}
    </>
  );
}

function Edit({ template, onClose }: { template: TemplateRead | null; onClose: () => void }) {
  const cache = useQueryClient();
  const [note, setNote] = useState("");
  const done = (text: string) => {
    say(text);
    void cache.invalidateQueries({ queryKey: ["templates"] });
    onClose();
  };
  const save = useMutation({
    mutationFn: (body: { name: string; body: string; category: string | null }) =>
      template ? data(updateTemplate({ path: { template_id: template.id }, body, throwOnError: true })) : data(createTemplate({ body, throwOnError: true })),
    onSuccess: () => done(t("Saved.")),
  });
  const act = useMutation({
    mutationFn: async (action: "submit" | "approve" | "reject" | "delete") => {
      const path = { template_id: template!.id };
      if (action === "submit") await submitTemplate({ path, throwOnError: true });
      if (action === "approve") await approveTemplate({ path, throwOnError: true });
      if (action === "reject") await rejectTemplate({ path, body: { note }, throwOnError: true });
      if (action === "delete") await deleteTemplate({ path, throwOnError: true });
    },
    onSuccess: (_, action) => done({ submit: t("Handed in for approval."), approve: t("Approved."), reject: t("Rejected."), delete: t("Deleted.") }[action]),
    onError: fail,
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    save.mutate({ name: String(form.get("name")), body: String(form.get("body")), category: String(form.get("category")) || null });
  };
  const mayWrite = may("campaigns:write");
  return (
    <Dialog
      title={template ? template.name : t("New template")}
      wide
      onClose={onClose}
      footer={
        mayWrite && (
          <>
            {template && <Button kind="danger" busy={act.isPending} onClick={() => act.mutate("delete")}>{t("Delete")}</Button>}
            {template && ["draft", "rejected"].includes(template.status) && <Button busy={act.isPending} onClick={() => act.mutate("submit")}>{t("Hand in for approval")}</Button>}
            <Button kind="main" type="submit" form="template-form" busy={save.isPending}>{t("Save")}</Button>
          </>
        )
      }
    >
      <form id="template-form" className="form" onSubmit={submit}>
        {save.error && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <div className="form-pair">
          <Field label={t("Name")} error={fieldError(save.error, "/name")}>
            {(attributes) => <input {...attributes} name="name" defaultValue={template?.name} required autoFocus readOnly={!mayWrite} />}
          </Field>
          <Field label={t("Category")} error={fieldError(save.error, "/category")}>
            {(attributes) => <input {...attributes} name="category" defaultValue={template?.category ?? ""} maxLength={40} readOnly={!mayWrite} />}
          </Field>
        </div>
        <Field label={t("Message")} error={fieldError(save.error, "/body")} hint={t("Values of the person: {example}", { example: '{{ first_name | default: "there" }}' })}>
          {(attributes) => <textarea {...attributes} name="body" rows={5} defaultValue={template?.body} required readOnly={!mayWrite} />}
        </Field>
      </form>
      {template?.status === "submitted" && may("admin") && (
        <div className="form">
          <h3>{t("Waits for approval")}</h3>
          <Field label={t("Note (needed to reject)")}>{(attributes) => <input {...attributes} value={note} onChange={(event) => setNote(event.target.value)} />}</Field>
          <div className="form-end">
            <Button disabled={!note.trim()} busy={act.isPending} onClick={() => act.mutate("reject")}>{t("Reject")}</Button>
            <Button kind="main" busy={act.isPending} onClick={() => act.mutate("approve")}>{t("Approve")}</Button>
          </div>
        </div>
      )}
      {template && template.versions.length > 1 && (
        <details>
          <summary>{t("{n, plural, one {# version} other {# versions}}", { n: template.versions.length })}</summary>
          <ol className="stops">
            {template.versions.map((one) => (
              <li key={one.version}>
                <span><strong>{one.version}</strong> <Badge tone={TONE[one.status] ?? "neutral"}>{plain(one.status)}</Badge> {one.note}</span>
                <span className="message-body">{one.body}</span>
                <small>{one.author_name} <Time at={one.created_at} /></small>
              </li>
            ))}
          </ol>
        </details>
      )}
    </Dialog>
  );
}
