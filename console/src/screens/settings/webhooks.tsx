/** The webhook endpoints to which events are sent, with their secrets and their deliveries. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import {
  createWebhookEndpoint, deleteWebhookEndpoint, disableWebhookEndpoint, enableWebhookEndpoint, listWebhookDeliveries, listWebhookEndpoints, retryWebhookDeliveries, rotateWebhookSecret,
  sendTestWebhook, updateWebhookEndpoint, type WebhookDeliveryRead, type WebhookEndpointRead, type WebhookEventType,
} from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { count } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Badge, Button, Field, Time, scrolls } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { disabledReason } from "../../ui/code-names";
import { Raw, Shown, TONE } from "../operations/shown";
import "../operations/operations.css";
import { Secret } from "./secret";

// This is a record, so that the compiler reports a new type that is missing here.
const TYPES = Object.keys({
  "message.received": 0, "message.status": 0, "call.status": 0, "campaign.status": 0, "import.progress": 0, "contact.created": 0, opt_out: 0, opt_in: 0, alert: 0, "task.changed": 0, "conversation.changed": 0, "appointment.changed": 0,
} satisfies Record<WebhookEventType, 0>) as WebhookEventType[];

export function Webhooks() {
  const cache = useQueryClient();
  const [edited, setEdited] = useState<WebhookEndpointRead | "new" | null>(null);
  const [opened, setOpened] = useState<WebhookEndpointRead | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  const query = useQuery({ queryKey: ["webhook-endpoints"], queryFn: () => data(listWebhookEndpoints({ query: { limit: 100 }, throwOnError: true })) });
  const refresh = () => void cache.invalidateQueries({ queryKey: ["webhook-endpoints"] });
  const mayWrite = may("webhooks:write");
  return (
    <section className="card" aria-labelledby="webhooks-title">
      <div className="card-head">
        <h2 id="webhooks-title">{t("Where events are sent")}</h2>
        {mayWrite && <Button kind="main" icon="plus" onClick={() => setEdited("new")}>{t("New endpoint")}</Button>}
      </div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("Address")}</th><th>{t("Status")}</th><th>{t("Events")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {query.data?.data.map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.url}</strong> {one.description && <p className="faint">{one.description}</p>}</td>
                  <td>
                    <Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge>
                    {one.disabled_reason && <p className="faint">{disabledReason(one.disabled_reason)}</p>}
                    {one.failing_since && <p className="field-error">{t("failing since")} <Time at={one.failing_since} /></p>}
                  </td>
                  <td className="faint">{one.event_types.join(", ") || t("All")}</td>
                  <td className="end"><Button kind="quiet" aria-label={t("Open {address}", { address: one.url })} onClick={() => setOpened(one)}>{t("Open")}</Button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {query.data?.data.length === 0 && <p className="card-body faint">{t("No other system gets events.")}</p>}
      </Shown>
      {edited && <Edit endpoint={edited === "new" ? null : edited} onClose={() => setEdited(null)} onDone={(made) => (setEdited(null), refresh(), made && setSecret(made))} />}
      {opened && !edited && <Opened endpoint={query.data?.data.find((one) => one.id === opened.id) ?? opened} onClose={() => setOpened(null)} onEdit={() => (setEdited(opened), setOpened(null))} onSecret={(text) => (setOpened(null), setSecret(text))} onChange={refresh} />}
      {secret && <Secret title={t("The signing secret")} value={secret} onClose={() => setSecret(null)} />}
    </section>
  );
}

function Edit({ endpoint, onClose, onDone }: { endpoint: WebhookEndpointRead | null; onClose: () => void; onDone: (secret: string | null) => void }) {
  const save = useMutation({
    mutationFn: async (body: { url: string; description: string; event_types: WebhookEventType[] }) => {
      if (!endpoint) return (await data(createWebhookEndpoint({ body, throwOnError: true }))).secret;
      await updateWebhookEndpoint({ path: { endpoint_id: endpoint.id }, body, throwOnError: true });
      return null;
    },
    onSuccess: onDone,
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    save.mutate({ url: String(form.get("url")), description: String(form.get("description")), event_types: form.getAll("types") as WebhookEventType[] });
  };
  return (
    <Dialog title={endpoint ? endpoint.url : t("New endpoint")} wide onClose={onClose} footer={<><Button onClick={onClose}>{t("Go back")}</Button><Button kind="main" type="submit" form="endpoint-form" busy={save.isPending}>{endpoint ? t("Save") : t("Add")}</Button></>}>
      <form id="endpoint-form" className="form" onSubmit={submit}>
        {save.error && !fieldError(save.error, "/url") && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <Field label={t("Address of the endpoint")} error={fieldError(save.error, "/url")} hint={t("A public address with https.")}>{(attributes) => <input {...attributes} name="url" type="url" placeholder="https://" defaultValue={endpoint?.url} required autoFocus />}</Field>
        <Field label={t("What it is for")} error={fieldError(save.error, "/description")}>{(attributes) => <input {...attributes} name="description" defaultValue={endpoint?.description} />}</Field>
        <fieldset className="scopes">
          <legend>{t("Events (none chosen is all)")}</legend>
          {TYPES.map((one) => <label key={one} className="check"><input type="checkbox" name="types" value={one} defaultChecked={endpoint?.event_types.includes(one)} /><code>{one}</code></label>)}
        </fieldset>
      </form>
    </Dialog>
  );
}

type OpenedProps = { endpoint: WebhookEndpointRead; onClose: () => void; onEdit: () => void; onSecret: (text: string) => void; onChange: () => void };

function Opened({ endpoint, onClose, onEdit, onSecret, onChange }: OpenedProps) {
  const cache = useQueryClient();
  const path = { endpoint_id: endpoint.id };
  const key = ["webhook-deliveries", endpoint.id];
  const { query } = useKeyset<WebhookDeliveryRead>(key, (cursor) => data(listWebhookDeliveries({ path, query: { limit: 20, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const act = useMutation({
    mutationFn: async (action: "test" | "enable" | "disable" | "delete" | "retry" | "rotate") => {
      const options = { path, throwOnError: true } as const;
      if (action === "rotate") onSecret((await data(rotateWebhookSecret({ ...options, body: {} }))).secret);
      else if (action === "retry") say(t("{n, plural, one {# delivery is} other {# deliveries are}} tried again.", { n: (await data(retryWebhookDeliveries({ ...options, body: {} }))).retried }));
      else await { test: sendTestWebhook, enable: enableWebhookEndpoint, disable: disableWebhookEndpoint, delete: deleteWebhookEndpoint }[action](options);
      return action;
    },
    onSuccess: (action) => {
      if (action === "test") say(t("A test event is on its way."));
      if (action === "delete") onClose();
      else void cache.invalidateQueries({ queryKey: key });
      onChange();
    },
    onError: fail,
  });
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <Dialog title={endpoint.url} wide onClose={onClose}>
      {may("webhooks:write") && (
        <div className="page-actions">
          <Button onClick={() => act.mutate("test")} busy={act.isPending}>{t("Send a test")}</Button>
          <Button onClick={onEdit}>{t("Change")}</Button>
          <Button onClick={() => act.mutate("rotate")}>{t("New secret")}</Button>
          <Button onClick={() => act.mutate("retry")}>{t("Deliver failed ones again")}</Button>
          <Button onClick={() => act.mutate(endpoint.status === "active" ? "disable" : "enable")}>{endpoint.status === "active" ? t("Disable") : t("Enable")}</Button>
          <Button kind="danger" onClick={() => act.mutate("delete")}>{t("Delete")}</Button>
        </div>
      )}
      <h3>{t("Deliveries")}</h3>
      <Shown query={query}>
        {rows.length === 0 ? (
          <p className="faint">{t("Nothing was delivered yet.")}</p>
        ) : (
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead><tr><th>{t("Event")}</th><th>{t("Status")}</th><th>{t("When")}</th><th className="end">{t("Attempts")}</th><th>{t("Answer")}</th></tr></thead>
              <tbody>
                {rows.map((one) => (
                  <tr key={one.id}>
                    <td><code>{one.type}</code> <Raw value={one.data} /></td>
                    <td><Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></td>
                    <td className="faint"><Time at={one.created_at} /></td>
                    <td className="end">{count(one.attempts)}</td>
                    <td>{one.response_status ?? ""} <span className="faint">{one.last_error ?? ""}</span></td>
                  </tr>
                ))}
              </tbody>
            </table>
            <More query={query} />
          </div>
        )}
      </Shown>
    </Dialog>
  );
}
