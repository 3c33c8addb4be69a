/** The steps that connect a real provider account. Some steps are commands for the server. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent, type ReactNode } from "react";
import { data } from "../../api/client";
import {
  readMessage, getSettings, listChecks, listLines, orderCheck, ready, sendMessage, syncLines, updateSettings, type LineRead,
} from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { phone } from "../../format";
import { t } from "../../i18n";
import { Badge, Button, Field, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { messageStatus, plain } from "../../ui/words";
import { Command, Shown, TONE } from "../operations/shown";
import "../operations/operations.css";

type State = "done" | "todo" | "failed" | "unknown";

function Step({ n, title, state, children }: { n: number; title: string; state: State; children: ReactNode }) {
  const shown = { done: t("Done"), todo: t("To do"), failed: t("Does not work"), unknown: t("Not checked yet") }[state];
  const tone = { done: "good", todo: "info", failed: "bad", unknown: "neutral" }[state] as "good";
  return (
    <li className="card card-body wizard-step" aria-label={title}>
      <h3><span className="number">{n}</span> {title} <Badge tone={tone}>{shown}</Badge></h3>
      {children}
    </li>
  );
}

export function Provider() {
  const isSandbox = document.documentElement.dataset.sandbox === "true";
  const state = useQuery({ queryKey: ["ready"], queryFn: () => data(ready({ throwOnError: true })), refetchInterval: 30_000 });
  const lines = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const answers = (state.data?.checks as Record<string, string> | undefined)?.provider;
  const all = lines.data?.data ?? [];
  return (
    <section aria-labelledby="provider-title" className="provider-steps">
      <h2 id="provider-title">{t("Connect the account of the provider")}</h2>
      <p className={isSandbox ? "notice" : "notice notice-good"}>
        {isSandbox ? t("The sandbox is used: nothing is really sent. The steps below lead to real messages.") : t("A key of the provider is set: messages are really sent.")}
      </p>
      <ol className="provider-steps">
        <Step n={1} title={t("Key")} state={isSandbox ? "todo" : "done"}>
          <p>{t("Create an API key in the provider's settings. It belongs to the service's environment or the file .env in its folder, never to a browser, so the console cannot set it. With these lines, restart the service:")}</p>
          <Command>CRM_OPENPHONE_API_KEY=…</Command>
          <Command>{`CRM_PUBLIC_URL=${location.protocol === "https:" ? location.origin : "https://crm.example.com"}`}</Command>
          {isSandbox && <p className="faint">{t("Use a fresh data directory: a database whose sandbox clock was moved is refused with a real key.")}</p>}
        </Step>
        <Step n={2} title={t("Check of the key")} state={isSandbox ? "todo" : answers === undefined ? "unknown" : answers === "ok" ? "done" : "failed"}>
          <p>
            {t("The provider, as this service sees it now:")} {answers !== undefined && <Badge tone={TONE[answers] ?? "bad"}>{TONE[answers] ? stateName(answers) : t("Not well")}</Badge>} {answers !== undefined && !TONE[answers] && answers}{" "}
            <Button kind="quiet" busy={state.isFetching} onClick={() => void state.refetch()}>{t("Check again")}</Button>
          </p>
          <p>{t("This command on the server checks key, rights, webhook and mail, and says what to correct:")}</p>
          <Command>crm-api doctor</Command>
        </Step>
        <LinesStep lines={all} query={lines} />
        <WebhookStep />
        <TestStep lines={all} />
      </ol>
    </section>
  );
}

function LinesStep({ lines, query }: { lines: LineRead[]; query: Parameters<typeof Shown>[0]["query"] }) {
  const cache = useQueryClient();
  const sync = useMutation({
    mutationFn: () => data(syncLines({ throwOnError: true })),
    onSuccess: (found) => (say(t("{n, plural, one {# line was} other {# lines were}} read.", { n: found.data.length })), void cache.invalidateQueries({ queryKey: ["lines"] })),
    onError: fail,
  });
  return (
    <Step n={3} title={t("Lines")} state={lines.length > 0 ? "done" : "todo"}>
      <p>{t("Read your numbers from the provider. Each may send 125 campaign messages a day until you change it under Lines.")}</p>
      <Shown query={query}>
        {lines.length > 0 && <ul>{lines.map((one) => <li key={one.id}><strong>{one.name}</strong> <span className="number faint">{phone(one.number)}</span> <Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></li>)}</ul>}
      </Shown>
      <p><Button busy={sync.isPending} onClick={() => sync.mutate()}>{t("Read them from the provider")}</Button></p>
    </Step>
  );
}

function WebhookStep() {
  const cache = useQueryClient();
  const checks = useQuery({
    queryKey: ["health-checks"],
    queryFn: () => data(listChecks({ query: { limit: 20 }, throwOnError: true })),
    refetchInterval: (query) => (query.state.data?.data[0]?.status === "waiting" ? 1_500 : 30_000),
  });
  const check = useMutation({
    mutationFn: () => data(orderCheck({ body: { side: "provider" }, throwOnError: true })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: ["health-checks"] }),
    onError: fail,
  });
  const side = checks.data?.health.sides.find((one) => one.side === "provider");
  const newest = checks.data?.data.find((one) => one.side === "provider");
  const isWaiting = newest?.status === "waiting";
  const state = side?.status === "passed" ? "done" : side?.status === "failed" ? "failed" : "unknown";
  return (
    <Step n={4} title={t("Webhook")} state={state}>
      <p>{t("The provider reports replies, calls, delivery and STOP by a webhook. This command on the server registers it and keeps its key; it may be repeated:")}</p>
      <Command>crm-api webhooks register</Command>
      <p>{t("This one lets the provider deliver a signed sample, and waits until it has arrived:")}</p>
      <Command>crm-api webhooks test</Command>
      <p>
        <Button busy={check.isPending || isWaiting} onClick={() => check.mutate()}>{t("Check the registration")}</Button>{" "}
        {side?.concluded_at && <span className="faint">{t("Last checked")} <Time at={side.concluded_at} /></span>}
      </p>
      {side?.failure && <p className="notice notice-bad" role="alert">{side.failure}</p>}
      {side && !side.is_on && side.off_because && <p className="notice">{side.off_because}</p>}
    </Step>
  );
}

function TestStep({ lines }: { lines: LineRead[] }) {
  const cache = useQueryClient();
  const settings = useQuery({ queryKey: ["settings"], queryFn: () => data(getSettings({ throwOnError: true })) });
  const [sent, setSent] = useState<string | null>(null);
  const message = useQuery({
    queryKey: ["test-message", sent],
    enabled: sent !== null,
    queryFn: () => data(readMessage({ path: { message_id: sent! }, throwOnError: true })),
    refetchInterval: (query) => (["delivered", "failed", "undelivered"].includes(query.state.data?.status ?? "") ? false : 1_500),
  });
  const send = useMutation({
    mutationFn: async ({ line, to }: { line: string; to: string }) => {
      const known = settings.data?.test_numbers ?? [];
      const made = await data(sendMessage({ body: { line_id: line, to, body: t("A test message of your own service.") }, throwOnError: true }));
      if (!known.includes(to) && settings.data) cache.setQueryData(["settings"], await data(updateSettings({ body: { test_numbers: [...known, to] }, throwOnError: true })));
      return made;
    },
    onSuccess: (made) => setSent(made.id),
  });
  const status = message.data?.status;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    send.mutate({ line: String(form.get("line")), to: String(form.get("to")) });
  };
  const state: State = status === "delivered" ? "done" : status === "failed" || status === "undelivered" ? "failed" : "todo";
  return (
    <Step n={5} title={t("Test message")} state={state}>
      <p>{t("Send one message to your own phone. It is kept among your own numbers for tests.")}</p>
      <form className="form" onSubmit={submit}>
        {send.error && !fieldError(send.error, "/to") && <p className="notice notice-bad" role="alert">{sentenceOf(send.error)}</p>}
        <div className="form-pair">
          <Field label={t("From")}>{(attributes) => <select {...attributes} name="line" required>{lines.map((one) => <option key={one.id} value={one.id}>{one.name || phone(one.number)}</option>)}</select>}</Field>
          <Field label={t("Your own number")} error={fieldError(send.error, "/to")}>{(attributes) => <input {...attributes} key={settings.data?.test_numbers[0]} name="to" inputMode="tel" defaultValue={settings.data?.test_numbers[0] ?? ""} required />}</Field>
        </div>
        <p><Button type="submit" icon="send" busy={send.isPending} disabled={lines.length === 0}>{t("Send the test message")}</Button></p>
      </form>
      {message.data && <p role="status">{t("It is {status}.", { status: messageStatus(message.data.status).toLowerCase() })} {status === "delivered" && t("Sending and reports work.")} {message.data.error_code && plain(message.data.error_code)}</p>}
    </Step>
  );
}
