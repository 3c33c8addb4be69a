/** Feeds and synchronised accounts, which show appointments in other calendars. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import {
  createCalendarAccount, createCalendarFeed, deleteCalendarAccount, deleteCalendarFeed, listCalendarAccounts, listCalendarFeeds,
  type CalendarAccountCreateWritable, type CalendarAccountStatus, type CalendarFeedCreate, type CalendarFeedRead,
} from "../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Badge, Button, Failed, Field, Loading, PageHead, Time, type Tone } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import type { Colleague } from "../colleagues";

type Props = { colleagues: Colleague[]; onBack: () => void };
const ofWhom = (colleagues: Colleague[], id: string | null) => (id ? (colleagues.find((one) => one.id === id)?.name ?? t("one user")) : t("everybody"));

export function Sharing({ colleagues, onBack }: Props) {
  return (
    <>
      <PageHead
        title={t("Calendar: feeds and accounts")}
        before={<button type="button" className="back icon-button" aria-label={t("Back to the calendar")} onClick={onBack}><Icon name="left" /></button>}
      />
      <div className="sections">
        <Feeds colleagues={colleagues} />
        <Accounts colleagues={colleagues} />
      </div>
    </>
  );
}

function Who({ colleagues, attributes }: { colleagues: Colleague[]; attributes: object }) {
  return (
    <select {...attributes} name="assignee_id">
      <option value="">{t("Of everybody")}</option>
      {colleagues.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
    </select>
  );
}

function Feeds({ colleagues }: { colleagues: Colleague[] }) {
  const cache = useQueryClient();
  const [secret, setSecret] = useState<string | null>(null);
  const [revoked, setRevoked] = useState<CalendarFeedRead | null>(null);
  const found = useQuery({ queryKey: ["calendar-feeds"], queryFn: () => data(listCalendarFeeds({ query: { limit: 200 }, throwOnError: true })) });
  const again = () => void cache.invalidateQueries({ queryKey: ["calendar-feeds"] });
  const create = useMutation({
    mutationFn: (body: CalendarFeedCreate) => data(createCalendarFeed({ body, throwOnError: true })),
    onSuccess: (made) => (setSecret(new URL(made.url, location.href).href), again()),
  });
  const revoke = useMutation({
    mutationFn: (id: string) => deleteCalendarFeed({ path: { feed_id: id }, throwOnError: true }),
    onSuccess: () => (say(t("The address no longer works.")), again()),
    onError: fail,
    onSettled: () => setRevoked(null),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const who = String(form.get("assignee_id"));
    create.mutate({ name: String(form.get("name")), busy_only: form.get("busy_only") === "on", ...(who ? { assignee_id: who } : {}) });
  };
  return (
    <section className="card" aria-labelledby="feeds-title">
      <div className="card-head">
        <h2 id="feeds-title">{t("Feeds")}</h2>
        <span className="faint">{t("A secret address that calendar programs read. Google reads it every 12 to 24 hours.")}</span>
      </div>
      {found.isLoadingError ? <Failed error={found.error} again={() => void found.refetch()} /> : !found.data ? <Loading lines={3} /> : (
        <ul className="shares">
          {found.data.data.map((one) => (
            <li key={one.id}>
              <strong>{one.name}</strong>
              <span>{t("Appointments of {who}", { who: ofWhom(colleagues, one.assignee_id) })}</span>
              {one.busy_only && <Badge>{t("Busy only")}</Badge>}
              <span className="faint"><Time at={one.created_at} /> · {one.author}</span>
              {may("sales:write") && <Button kind="danger" aria-label={t("Revoke {name}", { name: one.name })} onClick={() => setRevoked(one)}>{t("Revoke")}</Button>}
            </li>
          ))}
          {!found.data.data.length && <li className="faint">{t("No feed yet.")}</li>}
        </ul>
      )}
      {may("sales:write") && (
        <form className="form card-body" onSubmit={submit}>
          {create.error && !fieldError(create.error, "/name") && <p className="notice notice-bad" role="alert">{sentenceOf(create.error)}</p>}
          <div className="form-pair">
            <Field label={t("Name of the feed")} error={fieldError(create.error, "/name")}>{(attributes) => <input {...attributes} name="name" required maxLength={100} />}</Field>
            <Field label={t("Whose appointments")}>{(attributes) => <Who colleagues={colleagues} attributes={attributes} />}</Field>
          </div>
          <label className="check"><input type="checkbox" name="busy_only" /> {t("Only that somebody is busy, without people and places")}</label>
          <p><Button type="submit" kind="main" busy={create.isPending}>{t("Make a feed")}</Button></p>
        </form>
      )}
      {secret && <SecretDialog address={secret} onClose={() => setSecret(null)} />}
      {revoked && (
        <Dialog
          title={t("Revoke {name}?", { name: revoked.name })}
          onClose={() => setRevoked(null)}
          footer={
            <>
              <Button onClick={() => setRevoked(null)}>{t("Keep it")}</Button>
              <Button kind="danger" busy={revoke.isPending} onClick={() => revoke.mutate(revoked.id)}>{t("Revoke")}</Button>
            </>
          }
        >
          <p>{t("Programs that know its address get nothing any more. This cannot be undone; make another feed instead.")}</p>
        </Dialog>
      )}
    </section>
  );
}

function SecretDialog({ address, onClose }: { address: string; onClose: () => void }) {
  const copy = () =>
    navigator.clipboard.writeText(address).then(
      () => say(t("Copied.")),
      () => fail(t("The browser did not allow copying. Select the address, and copy it by hand.")),
    );
  return (
    <Dialog
      title={t("The address of the feed")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={copy}>{t("Copy the address")}</Button>
          <Button kind="main" onClick={onClose}>{t("I have it")}</Button>
        </>
      }
    >
      <p className="secret">{address}</p>
      <p className="notice notice-warn">{t("It is shown only now. Who knows it can read the calendar without signing in.")}</p>
    </Dialog>
  );
}

const ACCOUNT_TONE: Record<CalendarAccountStatus, Tone> = { pending: "info", active: "good", failing: "bad" };
const accountStatus = (status: CalendarAccountStatus) => ({ pending: t("Not read yet"), active: t("In step"), failing: t("Failing") })[status];

function Accounts({ colleagues }: { colleagues: Colleague[] }) {
  const cache = useQueryClient();
  const found = useQuery({
    queryKey: ["calendar-accounts"],
    refetchInterval: ({ state }) => (state.data?.data.some((one) => one.status === "pending") ? 5_000 : 60_000),
    queryFn: () => data(listCalendarAccounts({ query: { limit: 200 }, throwOnError: true })),
  });
  const again = () => void cache.invalidateQueries({ queryKey: ["calendar-accounts"] });
  const create = useMutation({
    mutationFn: (body: CalendarAccountCreateWritable) => data(createCalendarAccount({ body, throwOnError: true })),
    onSuccess: () => (say(t("The calendar is connected. It is read within a minute.")), again()),
  });
  const remove = useMutation({
    mutationFn: (id: string) => deleteCalendarAccount({ path: { account_id: id }, throwOnError: true }),
    onSuccess: () => (say(t("The calendar is no longer connected. Appointments and events stay.")), again()),
    onError: fail,
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const box = event.currentTarget;
    const form = new FormData(box);
    const text = (name: string) => String(form.get(name));
    const who = text("assignee_id");
    create.mutate({ name: text("name"), url: text("url"), username: text("username"), password: text("secret"), ...(who ? { assignee_id: who } : {}) }, { onSuccess: () => box.reset() });
  };
  const known = ["/name", "/url", "/username", "/password"];
  const isKnown = create.error instanceof ApiProblem && known.some((at) => fieldError(create.error, at));
  return (
    <section className="card" aria-labelledby="accounts-title">
      <div className="card-head">
        <h2 id="accounts-title">{t("Calendar accounts")}</h2>
        <span className="faint">{t("A calendar on a CalDAV server, such as iCloud, Fastmail or Nextcloud, in both directions. If both sides moved an appointment, the calendar wins.")}</span>
      </div>
      {found.isLoadingError ? <Failed error={found.error} again={() => void found.refetch()} /> : !found.data ? <Loading lines={3} /> : (
        <ul className="shares">
          {found.data.data.map((one) => (
            <li key={one.id}>
              <strong>{one.name}</strong>
              <Badge tone={ACCOUNT_TONE[one.status]}>{accountStatus(one.status)}</Badge>
              <span>{t("Appointments of {who}", { who: ofWhom(colleagues, one.assignee_id) })}</span>
              <span className="faint">{one.last_synced_at ? <>{t("In step at")} <Time at={one.last_synced_at} /></> : one.url}</span>
              {may("sales:write") && <Button kind="danger" busy={remove.isPending} aria-label={t("Disconnect {name}", { name: one.name })} onClick={() => remove.mutate(one.id)}>{t("Disconnect")}</Button>}
              {one.error && <p className="field-error">{one.error}</p>}
            </li>
          ))}
          {!found.data.data.length && <li className="faint">{t("No calendar is connected.")}</li>}
        </ul>
      )}
      {may("sales:write") && (
        <form className="form card-body" onSubmit={submit} autoComplete="off">
          {create.error && !isKnown && <p className="notice notice-bad" role="alert">{sentenceOf(create.error)}</p>}
          <div className="form-pair">
            <Field label={t("Name of the calendar")} error={fieldError(create.error, "/name")}>{(attributes) => <input {...attributes} name="name" required maxLength={100} />}</Field>
            <Field label={t("Whose appointments")}>{(attributes) => <Who colleagues={colleagues} attributes={attributes} />}</Field>
          </div>
          <Field label={t("Address of one calendar")} error={fieldError(create.error, "/url")}>{(attributes) => <input {...attributes} name="url" type="url" required placeholder="https://dav.example.com/olga/visits/" />}</Field>
          <div className="form-pair">
            <Field label={t("User name at the server")} error={fieldError(create.error, "/username")}>{(attributes) => <input {...attributes} name="username" required />}</Field>
            <Field label={t("Secret at the server")} hint={t("Use one that is only for this service. It is stored encrypted.")} error={fieldError(create.error, "/password")}>
              {(attributes) => <input {...attributes} name="secret" type="password" required autoComplete="off" />}
            </Field>
          </div>
          <p><Button type="submit" kind="main" busy={create.isPending}>{t("Connect")}</Button></p>
        </form>
      )}
    </section>
  );
}
