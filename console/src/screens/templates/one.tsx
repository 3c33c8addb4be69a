/** The screen of one template: its text, its approval, its results, and how its versions differ. */
import { Link, useNavigate } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import {
  approveTemplate, deleteTemplate, getTemplate, readTemplateStats, rejectTemplate, submitTemplate, updateTemplate, type TemplateRead, type TemplateStats,
} from "../../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../../api/problem";
import { useNameOf } from "../../colleagues";
import { count, rate } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Actor } from "../../ui/actor";
import { Dialog } from "../../ui/dialog";
import { Icon } from "../../ui/icons";
import { Intervals } from "../../ui/interval";
import { Badge, Button, Failed, Field, Loading, PageHead, Time, scrolls } from "../../ui/parts";
import { say } from "../../ui/toasts";
import { differenceOf } from "../../ui/words-diff";
import { Shown } from "../operations/shown";
import { TEMPLATE_TONE, TemplateFields, templateStatus } from "../templates";

export function OneTemplate({ id }: { id: string }) {
  const query = useQuery({ queryKey: ["templates", id], queryFn: () => data(getTemplate({ path: { template_id: id }, throwOnError: true })) });
  const back = <Link to="/templates" search={{}} className="back" aria-label={t("Back to the templates")}><Icon name="left" /></Link>;
  const one = query.data;
  if (!one) {
    return (
      <>
        <PageHead title={t("Template")} before={back} />
        {query.isLoadingError ? <Failed error={query.error} again={() => void query.refetch()} /> : <Loading />}
      </>
    );
  }
  return (
    <>
      <PageHead title={one.name} before={back} actions={may("campaigns:write") && <Remove template={one} />}>
        <Badge tone={TEMPLATE_TONE[one.status]}>{templateStatus(one.status)}</Badge>
      </PageHead>
      <div className="sections">
        <Decision template={one} />
        <Words template={one} />
        <Statistics id={id} />
        <Versions template={one} />
      </div>
    </>
  );
}

function useKeep() {
  const cache = useQueryClient();
  return (one: TemplateRead) => {
    cache.setQueryData(["templates", one.id], one);
    void cache.invalidateQueries({ queryKey: ["templates"] });
  };
}

function Words({ template }: { template: TemplateRead }) {
  const keep = useKeep();
  const save = useMutation({
    mutationFn: (body: { name: string; body: string; category: string | null }) => data(updateTemplate({ path: { template_id: template.id }, body, throwOnError: true })),
    onSuccess: (one) => (keep(one), say(one.version === template.version ? t("Saved.") : t("Saved as version {n}.", { n: one.version }))),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    save.mutate({ name: String(form.get("name")), body: String(form.get("body")), category: String(form.get("category")) || null });
  };
  const isAtField = ["/name", "/body", "/category"].some((one) => fieldError(save.error, one));
  return (
    <section className="card card-body" aria-labelledby="words-title">
      <h2 id="words-title">{t("Version {n}", { n: template.version })}</h2>
      <form className="form" onSubmit={submit}>
        {save.error && !isAtField && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <TemplateFields key={template.version} error={save.error} template={template} />
        <p className="faint">
          {template.segments !== null && <>{t("{n, plural, one {# segment} other {# segments}}", { n: template.segments })} · {template.encoding} · </>}
          {template.variables.length > 0 ? t("Uses {names}.", { names: template.variables.join(", ") }) : t("Uses no value of the person.")}
        </p>
        {may("campaigns:write") && <p><Button kind="main" type="submit" busy={save.isPending}>{t("Save")}</Button></p>}
      </form>
    </section>
  );
}

/** Show the next step of the approval: submit the version, wait, or approve or reject it. */
function Decision({ template }: { template: TemplateRead }) {
  const keep = useKeep();
  const [note, setNote] = useState("");
  const path = { template_id: template.id };
  const { version } = template;
  const act = useMutation({
    mutationFn: (action: "submit" | "approve" | "reject") => {
      if (action === "submit") return data(submitTemplate({ path, body: { version }, throwOnError: true }));
      if (action === "approve") return data(approveTemplate({ path, body: { version, ...(note.trim() ? { note } : {}) }, throwOnError: true }));
      return data(rejectTemplate({ path, body: { version, note }, throwOnError: true }));
    },
    onSuccess: (one, action) => (keep(one), setNote(""), say({ submit: t("Handed in for approval."), approve: t("Approved."), reject: t("Rejected.") }[action])),
  });
  const isOwn = act.error instanceof ApiProblem && act.error.code === "own_approval";
  const failed = act.error && <p className="notice notice-bad" role="alert">{isOwn ? t("You wrote it, so somebody else must approve it.") : sentenceOf(act.error)}</p>;
  if (template.status === "submitted") {
    return (
      <section className="card card-body form" aria-labelledby="decision-title">
        <h2 id="decision-title">{t("Version {n} waits for approval", { n: version })}</h2>
        {failed}
        {may("admin") ? (
          <>
            <Field label={t("Note (needed to reject)")}>{(attributes) => <input {...attributes} value={note} onChange={(event) => setNote(event.target.value)} />}</Field>
            <div className="form-end">
              <Button disabled={!note.trim()} busy={act.isPending} onClick={() => act.mutate("reject")}>{t("Reject")}</Button>
              <Button kind="main" busy={act.isPending} onClick={() => act.mutate("approve")}>{t("Approve")}</Button>
            </div>
          </>
        ) : (
          <p>{t("An owner who did not write it decides here.")}</p>
        )}
      </section>
    );
  }
  if (template.status === "approved" || !may("campaigns:write")) return null;
  return (
    <section className="card card-head" aria-label={t("Approval")}>
      <div>
        <p>{template.status === "rejected" ? t("Version {n} was rejected: {note}", { n: version, note: template.note ?? "–" }) : t("Version {n} is a draft. Another person can approve it.", { n: version })}</p>
        {failed}
      </div>
      <Button busy={act.isPending} onClick={() => act.mutate("submit")}>{t("Hand in for approval")}</Button>
    </section>
  );
}

function Statistics({ id }: { id: string }) {
  const query = useQuery({ queryKey: ["templates", id, "stats"], queryFn: () => data(readTemplateStats({ path: { template_id: id }, throwOnError: true })) });
  return (
    <section className="card" aria-labelledby="stats-title">
      <div className="card-head"><h2 id="stats-title">{t("What it has brought")}</h2></div>
      <Shown query={query}>{query.data && <Figures stats={query.data} />}</Shown>
    </section>
  );
}

function Figures({ stats }: { stats: TemplateStats }) {
  if (stats.recipients === 0) return <p className="card-body faint">{t("No campaign has used it yet.")}</p>;
  const name = (version: number | null) => (version === null ? t("Unknown version") : t("Version {n}", { n: version }));
  const rows = [{ ...stats, label: t("All versions"), key: "all" }, ...stats.versions.map((one) => ({ ...one, label: name(one.version), key: String(one.version) }))];
  return (
    <>
      <div className="scroll-x" ref={scrolls}>
        <table className="table">
          <thead>
            <tr>
              <th>{t("Version")}</th><th className="end">{t("Campaigns")}</th><th className="end">{t("Sent")}</th><th className="end">{t("Delivered")}</th><th className="end">{t("Failed")}</th><th className="end">{t("Replied")}</th><th className="end">{t("Opted out")}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((one) => (
              <tr key={one.key}>
                <td><strong>{one.label}</strong></td>
                <td className="end">{count(one.campaigns)}</td>
                <td className="end">{count(one.sent)}</td>
                <td className="end">{count(one.delivered)}</td>
                <td className="end">{count(one.failed)}</td>
                <td className="end">{count(one.replied)} <span className="faint">{rate(one.response_rate)}</span></td>
                <td className="end">{count(one.opted_out)} <span className="faint">{rate(one.opt_out_rate)}</span></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {stats.versions.length > 0 && (
        <div className="variant-charts">
          <figure>
            <figcaption>{t("Reply rate with its 95 % interval")}</figcaption>
            <Intervals label={t("Reply rate")} rows={stats.versions.map((one) => ({ name: name(one.version), value: one.response_rate, low: one.response_interval?.low, high: one.response_interval?.high }))} />
          </figure>
        </div>
      )}
    </>
  );
}

function Versions({ template }: { template: TemplateRead }) {
  const nameOf = useNameOf();
  const all = [...template.versions].reverse();
  return (
    <section className="card card-body" aria-labelledby="versions-title">
      <h2 id="versions-title">{t("{n, plural, one {# version} other {# versions}}", { n: all.length })}</h2>
      <ol className="stops">
        {all.map((one, at) => {
          const before = all[at + 1]?.body;
          return (
            <li key={one.version}>
              <p>
                <strong>{t("Version {n}", { n: one.version })}</strong> <Badge tone={TEMPLATE_TONE[one.status]}>{templateStatus(one.status)}</Badge>{" "}
                <small>{one.author_name && <Actor who={one.author_name} />} · <Time at={one.created_at} /></small>
              </p>
              {one.decided_at && <p><small>{t("Decided by {name}", { name: one.decided_by ? nameOf(one.decided_by) : "–" })} · <Time at={one.decided_at} /> {one.note && `· ${one.note}`}</small></p>}
              <p className="message-body difference">
                {before === undefined
                  ? one.body
                  : differenceOf(before, one.body).map((piece, index) => (piece.kind === "same" ? piece.text : piece.kind === "added" ? <ins key={index}>{piece.text}</ins> : <del key={index}>{piece.text}</del>))}
              </p>
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function Remove({ template }: { template: TemplateRead }) {
  const navigate = useNavigate({ from: "/templates" });
  const cache = useQueryClient();
  const [asks, setAsks] = useState(false);
  const remove = useMutation({
    mutationFn: () => deleteTemplate({ path: { template_id: template.id }, throwOnError: true }),
    onSuccess: async () => {
      await navigate({ search: {} });
      void cache.invalidateQueries({ queryKey: ["templates", "all"] });
      say(t("Deleted."));
    },
  });
  return (
    <>
      <Button kind="danger" onClick={() => setAsks(true)}>{t("Delete")}</Button>
      {asks && (
        <Dialog title={t("Delete this template?")} onClose={() => setAsks(false)} footer={<><Button onClick={() => setAsks(false)}>{t("Go back")}</Button><Button kind="danger" busy={remove.isPending} onClick={() => remove.mutate()}>{t("Delete the template")}</Button></>}>
          {remove.error && <p className="notice notice-bad" role="alert">{sentenceOf(remove.error)}</p>}
          <p>{t("Campaigns keep the words that they copied from it.")}</p>
        </Dialog>
      )}
    </>
  );
}
