/** API keys: create a key with scopes, rotate it, revoke it. A key is shown only once. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { createApiKey, listApiKeys, revokeApiKey, rotateApiKey, type ApiKeyRead, type KeyStatus } from "../../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../../api/problem";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { Dialog } from "../../ui/dialog";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Badge, Button, Field, Time, scrolls } from "../../ui/parts";
import { say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { instantOf } from "../../ui/zoned";
import { Shown, TONE } from "../operations/shown";
import { Secret } from "./secret";

const SCOPES = [
  "contacts:read", "contacts:write", "campaigns:read", "campaigns:write", "campaigns:send", "messages:read", "messages:send", "sales:read", "sales:write",
  "insight:read", "insight:write", "webhooks:read", "webhooks:write", "operations", "admin",
] as const;
const OVERLAPS = [0, 3600, 86400, 604800];

type Asked = { action: "rotate" | "revoke"; key: ApiKeyRead };

export function Keys() {
  const cache = useQueryClient();
  const [isNew, setNew] = useState(false);
  const [asked, setAsked] = useState<Asked | null>(null);
  const [made, setMade] = useState<string | null>(null);
  const [status, setStatus] = useState<KeyStatus>("active");
  const { query } = useKeyset<ApiKeyRead>(["api-keys", status], (cursor) => data(listApiKeys({ query: { limit: 100, status, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const done = (key: string | null) => {
    setNew(false);
    setAsked(null);
    if (key) setMade(key);
    else say(t("The key does not work any more."));
    void cache.invalidateQueries({ queryKey: ["api-keys"] });
  };
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="card" aria-labelledby="keys-title">
      <div className="card-head">
        <h2 id="keys-title">{t("API keys")}</h2>
        <div className="page-actions">
          <select className="auto" aria-label={t("Status")} value={status} onChange={(event) => setStatus(event.target.value as KeyStatus)}>
            <option value="active">{t("Active")}</option>
            <option value="expired">{t("Expired")}</option>
            <option value="revoked">{t("Revoked")}</option>
          </select>
          <Button kind="main" icon="plus" onClick={() => setNew(true)}>{t("New key")}</Button>
        </div>
      </div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("Name")}</th><th>{t("Begins with")}</th><th>{t("May")}</th><th>{t("Status")}</th><th>{t("Expires")}</th><th>{t("Last used")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {rows.map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.name}</strong> {one.created_by && <span className="faint">{t("by {name}", { name: one.created_by })}</span>}</td>
                  <td><code>{one.prefix}</code></td>
                  <td>{one.scopes.join(", ")}</td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></td>
                  <td className="faint"><Time at={one.expires_at} /></td>
                  <td className="faint"><Time at={one.last_used_at} relative /></td>
                  <td className="end">
                    {one.status === "active" && (
                      <>
                        <Button kind="quiet" aria-label={t("Rotate {name}", { name: one.name })} onClick={() => setAsked({ action: "rotate", key: one })}>{t("Rotate")}</Button>
                        <Button kind="danger" aria-label={t("Revoke {name}", { name: one.name })} onClick={() => setAsked({ action: "revoke", key: one })}>{t("Revoke")}</Button>
                      </>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <More query={query} />
        </div>
        {rows.length === 0 && <p className="card-body faint">{t("No key has this status.")}</p>}
      </Shown>
      {isNew && <NewKey onClose={() => setNew(false)} onMade={done} />}
      {asked && <Change asked={asked} onClose={() => setAsked(null)} onDone={done} />}
      {made && <Secret title={t("The new key")} value={made} onClose={() => setMade(null)} />}
    </section>
  );
}

function NewKey({ onClose, onMade }: { onClose: () => void; onMade: (key: string) => void }) {
  const create = useMutation({
    mutationFn: (body: { name: string; scopes: string[]; expires_at: string | null }) => data(createApiKey({ body, throwOnError: true })),
    onSuccess: (key) => onMade(key.key),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const until = String(form.get("expires_at"));
    create.mutate({ name: String(form.get("name")), scopes: form.getAll("scopes").map(String), expires_at: until ? instantOf(`${until}T00:00`, currentZone()).toISOString() : null });
  };
  const scopes = create.error instanceof ApiProblem ? Object.entries(create.error.fields).find(([pointer]) => pointer.startsWith("/scopes"))?.[1] : undefined;
  return (
    <Dialog title={t("New key")} wide onClose={onClose} footer={<><Button onClick={onClose}>{t("Go back")}</Button><Button kind="main" type="submit" form="key-form" busy={create.isPending}>{t("Create the key")}</Button></>}>
      <form id="key-form" className="form" onSubmit={submit}>
        {create.error && !scopes && <p className="notice notice-bad" role="alert">{sentenceOf(create.error)}</p>}
        <div className="form-pair">
          <Field label={t("Name of a new key")} error={fieldError(create.error, "/name")} hint={t("The audit log shows it.")}>{(attributes) => <input {...attributes} name="name" required autoFocus />}</Field>
          <Field label={t("Works until")} error={fieldError(create.error, "/expires_at")} hint={t("Empty is without an end.")}>{(attributes) => <input {...attributes} name="expires_at" type="date" />}</Field>
        </div>
        <fieldset className="scopes">
          <legend>{t("What it may do")}</legend>
          {SCOPES.map((one) => <label key={one} className="check"><input type="checkbox" name="scopes" value={one} /><code>{one}</code></label>)}
        </fieldset>
        {scopes && <p className="field-error" role="alert">{t("Choose at least one scope that you have yourself.")}</p>}
      </form>
    </Dialog>
  );
}

function Change({ asked: { action, key }, onClose, onDone }: { asked: Asked; onClose: () => void; onDone: (key: string | null) => void }) {
  const [overlap, setOverlap] = useState(86400);
  const path = { key_id: key.id };
  const act = useMutation({
    mutationFn: async () => {
      if (action === "rotate") return (await data(rotateApiKey({ path, body: { overlap_seconds: overlap }, throwOnError: true }))).key;
      await revokeApiKey({ path, throwOnError: true });
      return null;
    },
    onSuccess: onDone,
  });
  const names = { 0: t("at once"), 3600: t("in an hour"), 86400: t("in a day"), 604800: t("in a week") } as Record<number, string>;
  const isRotation = action === "rotate";
  return (
    <Dialog
      title={isRotation ? t("Rotate {name}?", { name: key.name }) : t("Revoke {name}?", { name: key.name })}
      onClose={onClose}
      footer={<><Button onClick={onClose}>{t("Go back")}</Button><Button kind={isRotation ? "main" : "danger"} busy={act.isPending} onClick={() => act.mutate()}>{isRotation ? t("Rotate") : t("Revoke")}</Button></>}
    >
      {act.error && <p className="notice notice-bad" role="alert">{sentenceOf(act.error)}</p>}
      {isRotation ? (
        <Field label={t("The old key ends")} hint={t("Until then both keys work, so that you can change it everywhere.")}>
          {(attributes) => <select {...attributes} value={overlap} onChange={(event) => setOverlap(Number(event.target.value))}>{OVERLAPS.map((one) => <option key={one} value={one}>{names[one]}</option>)}</select>}
        </Field>
      ) : (
        <p>{t("Programs that use it are refused at once. This cannot be undone.")}</p>
      )}
    </Dialog>
  );
}
