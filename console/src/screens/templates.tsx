/** Templates (messages to use again): the list, or with `?id=` one template. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import { createTemplate, listTemplates, type TemplateRead, type TemplateStatus } from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { useKeyset } from "../ui/keyset";
import { More } from "../ui/more";
import { Badge, Button, Empty, Field, PageHead, Time, scrolls, type Tone } from "../ui/parts";
import { say } from "../ui/toasts";
import { Shown } from "./operations/shown";
import { OneTemplate } from "./templates/one";
import "./campaigns.css";
import "./templates/templates.css";

export const TEMPLATE_TONE: Record<TemplateStatus, Tone> = { draft: "neutral", submitted: "info", approved: "good", rejected: "bad" };

export function templateStatus(status: TemplateStatus): string {
  return { draft: t("Draft"), submitted: t("Waits for approval"), approved: t("Approved"), rejected: t("Rejected") }[status];
}

export function Templates() {
  const { id } = useSearch({ from: "/shell/templates" });
  return id ? <OneTemplate key={id} id={id} /> : <TemplateList />;
}

function TemplateList() {
  const navigate = useNavigate({ from: "/templates" });
  const { status, category } = useSearch({ from: "/shell/templates" });
  const [isNew, setNew] = useState(false);
  const { query } = useKeyset<TemplateRead>(["templates", "all"], (cursor) => data(listTemplates({ query: { limit: 100, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const all = query.data?.pages.flatMap((page) => page.data) ?? [];
  const categories = [...new Set(all.flatMap((one) => one.category ?? []))].sort();
  const rows = all.filter((one) => (!status || one.status === status) && (!category || one.category === category));
  const begin = may("campaigns:write") && <Button kind="main" icon="plus" onClick={() => setNew(true)}>{t("New template")}</Button>;
  const set = (change: { status?: string | undefined; category?: string | undefined }) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true });
  return (
    <>
      <PageHead title={t("Templates")} actions={begin} />
      {all.length > 0 && (
        <div className="filters" role="search">
          <select aria-label={t("Status")} value={status ?? ""} onChange={(event) => set({ status: event.target.value || undefined })}>
            <option value="">{t("Any status")}</option>
            {(Object.keys(TEMPLATE_TONE) as TemplateStatus[]).map((one) => <option key={one} value={one}>{templateStatus(one)}</option>)}
          </select>
          {categories.length > 0 && (
            <select aria-label={t("Category")} value={category ?? ""} onChange={(event) => set({ category: event.target.value || undefined })}>
              <option value="">{t("Any category")}</option>
              {categories.map((one) => <option key={one}>{one}</option>)}
            </select>
          )}
        </div>
      )}
      <Shown query={query}>
        {rows.length === 0 ? (
          all.length > 0 ? <Empty title={t("No template matches")}>{t("Change the search or a filter.")}</Empty> : <Empty title={t("No templates yet")} action={begin}>{t("A template is a message to use again. Each change keeps the version before.")}</Empty>
        ) : (
          <div className="scroll-x" ref={scrolls}>
            <table className="table campaigns">
              <thead><tr><th>{t("Name")}</th><th>{t("Status")}</th><th>{t("Message")}</th><th className="end">{t("Version")}</th><th className="end">{t("Segments")}</th><th>{t("Changed")}</th></tr></thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row.id} className="row">
                    <td>
                      <Link to="/templates" search={{ id: row.id }} className="row-link">{row.name}</Link>
                      {row.category && <span className="faint"> · {row.category}</span>}
                    </td>
                    <td><Badge tone={TEMPLATE_TONE[row.status]}>{templateStatus(row.status)}</Badge></td>
                    <td className="message-body">{row.body}</td>
                    <td className="end">{row.version}</td>
                    <td className="end">{row.segments ?? "–"}</td>
                    <td className="faint"><Time at={row.updated_at} relative /></td>
                  </tr>
                ))}
              </tbody>
            </table>
            <More query={query} />
          </div>
        )}
      </Shown>
      {isNew && <NewTemplate onClose={() => setNew(false)} />}
    </>
  );
}

function NewTemplate({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient();
  const navigate = useNavigate({ from: "/templates" });
  const save = useMutation({
    mutationFn: (body: { name: string; body: string; category: string | null }) => data(createTemplate({ body, throwOnError: true })),
    onSuccess: (made) => {
      say(t("Saved."));
      void cache.invalidateQueries({ queryKey: ["templates"] });
      void navigate({ search: { id: made.id } });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    save.mutate({ name: String(form.get("name")), body: String(form.get("body")), category: String(form.get("category")) || null });
  };
  return (
    <Dialog title={t("New template")} wide onClose={onClose} footer={<><Button onClick={onClose}>{t("Go back")}</Button><Button kind="main" type="submit" form="template-form" busy={save.isPending}>{t("Save")}</Button></>}>
      <form id="template-form" className="form" onSubmit={submit}>
        {save.error && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <TemplateFields error={save.error} template={null} />
      </form>
    </Dialog>
  );
}

export function TemplateFields({ error, template }: { error: unknown; template: TemplateRead | null }) {
  const readOnly = !may("campaigns:write");
  return (
    <>
      <div className="form-pair">
        <Field label={t("Name")} error={fieldError(error, "/name")}>
          {(attributes) => <input {...attributes} name="name" defaultValue={template?.name} required autoFocus={!template} readOnly={readOnly} />}
        </Field>
        <Field label={t("Category")} error={fieldError(error, "/category")}>
          {(attributes) => <input {...attributes} name="category" defaultValue={template?.category ?? ""} maxLength={40} readOnly={readOnly} />}
        </Field>
      </div>
      <Field label={t("Message")} error={fieldError(error, "/body")} hint={t("Values of the person: {example}", { example: '{{ first_name | default: "there" }}' })}>
        {(attributes) => <textarea {...attributes} name="body" rows={5} defaultValue={template?.body} required readOnly={readOnly} />}
      </Field>
    </>
  );
}
