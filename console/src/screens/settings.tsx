/** The company, its lines, the people who work here, keys and webhooks, and one's own preferences. */
import { useSearch } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import {
  createApiKey, createWebhookEndpoint, disableWebhookEndpoint, enableWebhookEndpoint, getSettings, inviteUser, inviteUserAgain, listApiKeys, listLines, listUsers, listWebhookEndpoints,
  revokeApiKey, sendTestWebhook, signUserOut, syncLines, unblockLine, updateLine, updateSettings, updateUser, deleteWebhookEndpoint,
  type LineRead, type SettingsRead, type UserRead, type UserRole,
} from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { count, currentZone, phone } from "../format";
import { t } from "../i18n";
import { usePreferences } from "../preferences";
import { currentSession, may } from "../session";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Field, Meter, PageHead, Time, scrolls } from "../ui/parts";
import { PartsNav } from "../ui/parts-nav";
import { fail, say } from "../ui/toasts";
import { plain } from "../ui/words";
import { Shown, TONE } from "./operations";

const ROLES: UserRole[] = ["owner", "manager", "agent", "viewer"];

export function Settings() {
  const parts: [string, string][] = [
    ...(may("admin") ? ([["company", t("Company")]] as [string, string][]) : []),
    ["you", t("You")],
    ["lines", t("Lines")],
    ...(may("admin") ? ([["people", t("People")], ["keys", t("API keys")]] as [string, string][]) : []),
    ...(may("webhooks:read") ? ([["webhooks", t("Webhooks")]] as [string, string][]) : []),
  ];
  const part = useSearch({ from: "/shell/settings" }).part ?? parts[0]![0];
  return (
    <>
      <PageHead title={t("Settings")} />
      <PartsNav to="/settings" parts={parts} current={part} label={t("Parts")} />
      <div className="sections">
        {part === "company" && <Company />}
        {part === "you" && <You />}
        {part === "lines" && <Lines />}
        {part === "people" && <People />}
        {part === "keys" && <Keys />}
        {part === "webhooks" && <Webhooks />}
      </div>
    </>
  );
}

function Company() {
  const query = useQuery({ queryKey: ["settings"], queryFn: () => data(getSettings({ throwOnError: true })) });
  return <Shown query={query}>{query.data && <CompanyForm settings={query.data} />}</Shown>;
}

function CompanyForm({ settings }: { settings: SettingsRead }) {
  const cache = useQueryClient();
  const save = useMutation({
    mutationFn: (body: Record<string, unknown>) => data(updateSettings({ body, throwOnError: true })),
    onSuccess: (changed) => (cache.setQueryData(["settings"], changed), say(t("Saved."))),
  });
  const isLocked = (name: string) => settings.locked.includes(name);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim() || null;
    const all: Record<string, unknown> = {
      business_name: text("business_name"), business_contact: text("business_contact"), away_reply: text("away_reply"),
      require_approval: form.get("require_approval") === "on",
      test_numbers: String(form.get("test_numbers") ?? "").split(",").map((one) => one.trim()).filter(Boolean),
    };
    save.mutate(Object.fromEntries(Object.entries(all).filter(([name]) => !isLocked(name))));
  };
  const locked = t("Set by the environment of the service; it cannot be changed here.");
  return (
    <section className="card card-body" aria-labelledby="company-title">
      <h2 id="company-title">{t("Company")}</h2>
      <form className="form" onSubmit={submit}>
        {save.error && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <Field label={t("Name of the company")} error={fieldError(save.error, "/business_name")} hint={isLocked("business_name") ? locked : t("Messages name the sender with it.")}>
          {(attributes) => <input {...attributes} name="business_name" defaultValue={settings.business_name ?? ""} disabled={isLocked("business_name")} />}
        </Field>
        <Field label={t("How to reach you")} error={fieldError(save.error, "/business_contact")} hint={isLocked("business_contact") ? locked : t("Sent to people who ask for help.")}>
          {(attributes) => <input {...attributes} name="business_contact" defaultValue={settings.business_contact ?? ""} disabled={isLocked("business_contact")} />}
        </Field>
        <Field label={t("Own numbers for test messages")} error={fieldError(save.error, "/test_numbers")} hint={t("Separate them with commas.")}>
          {(attributes) => <input {...attributes} name="test_numbers" defaultValue={settings.test_numbers.join(", ")} />}
        </Field>
        <Field label={t("Reply while the office is closed")} error={fieldError(save.error, "/away_reply")} hint={t("Leave it empty to send none.")}>
          {(attributes) => <textarea {...attributes} name="away_reply" rows={2} defaultValue={settings.away_reply ?? ""} />}
        </Field>
        <label className="check">
          <input type="checkbox" name="require_approval" defaultChecked={settings.require_approval} disabled={isLocked("require_approval")} />
          {t("Campaigns start only after a second person has approved them")}
        </label>
        <p><Button kind="main" type="submit" busy={save.isPending}>{t("Save")}</Button></p>
      </form>
    </section>
  );
}

function You() {
  const { preferences, change } = usePreferences();
  const zones = Intl.supportedValuesOf("timeZone");
  if (!preferences) return null;
  return (
    <section className="card card-body" aria-labelledby="you-title">
      <h2 id="you-title">{t("You")}</h2>
      <div className="form">
        <Field label={t("Time zone")} hint={t("All times are shown in it. Without one, this browser's is used: {zone}.", { zone: currentZone() })}>
          {(attributes) => (
            <select {...attributes} value={preferences.timezone ?? ""} onChange={(event) => change({ timezone: event.target.value || null }).catch(fail)}>
              <option value="">{t("As this browser")}</option>
              {zones.map((one) => <option key={one}>{one}</option>)}
            </select>
          )}
        </Field>
        <Field label={t("Language")}>
          {(attributes) => (
            <select {...attributes} value={preferences.language} onChange={(event) => change({ language: event.target.value as "es" }).catch(fail)}>
              <option value="en">English</option>
              <option value="es">Español</option>
            </select>
          )}
        </Field>
        <Field label={t("Theme")}>
          {(attributes) => (
            <select {...attributes} value={preferences.theme} onChange={(event) => change({ theme: event.target.value as "dark" }).catch(fail)}>
              <option value="system">{t("As the system")}</option>
              <option value="light">{t("Light")}</option>
              <option value="dark">{t("Dark")}</option>
            </select>
          )}
        </Field>
      </div>
    </section>
  );
}

function Lines() {
  const cache = useQueryClient();
  const [edited, setEdited] = useState<LineRead | null>(null);
  const query = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const act = useMutation({
    mutationFn: async (unblocked?: string) => {
      if (unblocked) await unblockLine({ path: { line_id: unblocked }, throwOnError: true });
      else await syncLines({ throwOnError: true });
    },
    onSuccess: () => (say(t("Done.")), void cache.invalidateQueries({ queryKey: ["lines"] })),
    onError: fail,
  });
  const mayWrite = may("admin");
  return (
    <section className="card" aria-labelledby="lines-title">
      <div className="card-head">
        <h2 id="lines-title">{t("Lines")}</h2>
        {mayWrite && <Button busy={act.isPending} onClick={() => act.mutate(undefined)}>{t("Read them from the provider")}</Button>}
      </div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("Name")}</th><th>{t("Number")}</th><th>{t("Status")}</th><th>{t("Today")}</th><th>{t("Time zone")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {query.data?.data.map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.name}</strong></td>
                  <td className="number">{phone(one.number)}</td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{plain(one.status)}</Badge>{one.blocked_reason && <p>{one.blocked_reason}</p>}</td>
                  <td>
                    <Meter value={one.sent_today} of={one.limit_today} label={t("Sent today by {name}", { name: one.name })} tone={one.sent_today >= one.limit_today ? "warn" : "info"} />
                    <span className="faint number">{t("{n} of {limit} today", { n: count(one.sent_today), limit: count(one.limit_today) })}</span>
                  </td>
                  <td className="faint">{one.timezone}</td>
                  <td className="end">
                    {mayWrite && one.status === "blocked" && <Button busy={act.isPending} onClick={() => act.mutate(one.id)}>{t("Unblock")}</Button>}
                    {mayWrite && <Button kind="quiet" aria-label={t("Change {name}", { name: one.name })} onClick={() => setEdited(one)}>{t("Change")}</Button>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {query.data?.data.length === 0 && <p className="card-body faint">{t("No line yet. Read them from the provider.")}</p>}
      </Shown>
      {edited && <LineDialog line={edited} onClose={() => setEdited(null)} />}
    </section>
  );
}

function LineDialog({ line, onClose }: { line: LineRead; onClose: () => void }) {
  const cache = useQueryClient();
  const save = useMutation({
    mutationFn: (body: { name: string; daily_limit: number; timezone: string }) => data(updateLine({ path: { line_id: line.id }, body, throwOnError: true })),
    onSuccess: () => (say(t("Saved.")), void cache.invalidateQueries({ queryKey: ["lines"] }), onClose()),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    save.mutate({ name: String(form.get("name")), daily_limit: Number(form.get("daily_limit")), timezone: String(form.get("timezone")) });
  };
  return (
    <Dialog title={phone(line.number)} onClose={onClose} footer={<><Button onClick={onClose}>{t("Cancel")}</Button><Button kind="main" type="submit" form="line-form" busy={save.isPending}>{t("Save")}</Button></>}>
      <form id="line-form" className="form" onSubmit={submit}>
        {save.error && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <Field label={t("Name")} error={fieldError(save.error, "/name")}>{(attributes) => <input {...attributes} name="name" defaultValue={line.name} />}</Field>
        <Field label={t("Messages a day, at most")} error={fieldError(save.error, "/daily_limit")}>{(attributes) => <input {...attributes} name="daily_limit" type="number" min={0} defaultValue={line.daily_limit} />}</Field>
        <Field label={t("Time zone")} error={fieldError(save.error, "/timezone")}>{(attributes) => <input {...attributes} name="timezone" defaultValue={line.timezone} />}</Field>
      </form>
    </Dialog>
  );
}

function People() {
  const cache = useQueryClient();
  const [isInviting, setInviting] = useState(false);
  const [link, setLink] = useState<string | null>(null);
  const query = useQuery({ queryKey: ["users"], queryFn: () => data(listUsers({ query: { limit: 100 }, throwOnError: true })) });
  const refresh = () => void cache.invalidateQueries({ queryKey: ["users"] });
  const session = currentSession();
  const me = session.state === "in" ? session.me.id : "";
  const show = (token: string | null | undefined) => (token ? setLink(`${location.origin}/accept-invitation?token=${token}`) : say(t("The invitation is on its way by mail.")));
  const invite = useMutation({
    mutationFn: (body: { email: string; name: string; role: UserRole }) => data(inviteUser({ body, throwOnError: true })),
    onSuccess: (made) => (setInviting(false), refresh(), show(made.invitation_token)),
  });
  const act = useMutation({
    mutationFn: async ({ user, role, status, isOut, isAgain }: { user: UserRead; role?: UserRole; status?: "active" | "disabled"; isOut?: boolean; isAgain?: boolean }) => {
      const path = { user_id: user.id };
      if (isOut) await signUserOut({ path, throwOnError: true });
      else if (isAgain) show((await data(inviteUserAgain({ path, throwOnError: true }))).invitation_token);
      else await updateUser({ path, body: { ...(role ? { role } : {}), ...(status ? { status } : {}) }, throwOnError: true });
    },
    onSuccess: refresh,
    onError: (error) => (refresh(), fail(error)),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    invite.mutate({ email: String(form.get("email")), name: String(form.get("name")), role: String(form.get("role")) as UserRole });
  };
  return (
    <section className="card" aria-labelledby="users-title">
      <div className="card-head">
        <h2 id="users-title">{t("People who work here")}</h2>
        <Button kind="main" icon="plus" onClick={() => setInviting(true)}>{t("Invite")}</Button>
      </div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("Name")}</th><th>{t("E-mail")}</th><th>{t("Role")}</th><th>{t("Status")}</th><th>{t("Last here")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {query.data?.data.map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.name}</strong></td>
                  <td>{one.email}</td>
                  <td>
                    <select aria-label={t("Role of {name}", { name: one.name })} value={one.role} disabled={act.isPending || one.id === me} onChange={(event) => act.mutate({ user: one, role: event.target.value as UserRole })}>
                      {[...new Set([...ROLES, one.role])].map((role) => <option key={role} value={role}>{plain(role)}</option>)}
                    </select>
                  </td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{plain(one.status)}</Badge></td>
                  <td className="faint"><Time at={one.last_login_at} relative /></td>
                  <td className="end">
                    {one.status === "invited" && <Button kind="quiet" onClick={() => act.mutate({ user: one, isAgain: true })}>{t("Invite again")}</Button>}
                    {one.status === "active" && one.id !== me && (
                      <>
                        <Button kind="quiet" onClick={() => act.mutate({ user: one, isOut: true })}>{t("End the sessions")}</Button>
                        <Button kind="quiet" onClick={() => act.mutate({ user: one, status: "disabled" })}>{t("Disable")}</Button>
                      </>
                    )}
                    {one.status === "disabled" && <Button kind="quiet" onClick={() => act.mutate({ user: one, status: "active" })}>{t("Enable")}</Button>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Shown>
      {isInviting && (
        <Dialog title={t("Invite")} onClose={() => setInviting(false)} footer={<><Button onClick={() => setInviting(false)}>{t("Cancel")}</Button><Button kind="main" type="submit" form="invite-form" busy={invite.isPending}>{t("Invite")}</Button></>}>
          <form id="invite-form" className="form" onSubmit={submit}>
            {invite.error && <p className="notice notice-bad" role="alert">{sentenceOf(invite.error)}</p>}
            <Field label={t("Name")} error={fieldError(invite.error, "/name")}>{(attributes) => <input {...attributes} name="name" required autoFocus />}</Field>
            <Field label={t("E-mail")} error={fieldError(invite.error, "/email")}>{(attributes) => <input {...attributes} name="email" type="email" required />}</Field>
            <Field label={t("Role")} hint={t("Viewers read, agents answer, managers send, owners do everything.")}>
              {(attributes) => <select {...attributes} name="role" defaultValue="agent">{ROLES.map((role) => <option key={role} value={role}>{plain(role)}</option>)}</select>}
            </Field>
          </form>
        </Dialog>
      )}
      {link && (
        <Dialog title={t("Give this link to the person")} onClose={() => setLink(null)} footer={<Button kind="main" onClick={() => setLink(null)}>{t("Done")}</Button>}>
          <p>{t("No mail server is set. The link works for a week, once, and is not shown again.")}</p>
          <p className="secret">{link}</p>
        </Dialog>
      )}
    </section>
  );
}

function Keys() {
  const cache = useQueryClient();
  const [made, setMade] = useState<string | null>(null);
  const query = useQuery({ queryKey: ["api-keys"], queryFn: () => data(listApiKeys({ query: { limit: 100 }, throwOnError: true })) });
  const refresh = () => void cache.invalidateQueries({ queryKey: ["api-keys"] });
  const create = useMutation({
    mutationFn: (body: { name: string; scopes: string[] }) => data(createApiKey({ body, throwOnError: true })),
    onSuccess: (key) => (setMade(key.key), refresh()),
    onError: fail,
  });
  const revoke = useMutation({
    mutationFn: (id: string) => revokeApiKey({ path: { key_id: id }, throwOnError: true }),
    onSuccess: () => (say(t("The key does not work any more.")), refresh()),
    onError: fail,
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    create.mutate({ name: String(form.get("name")), scopes: String(form.get("scopes")).split(/[\s,]+/).filter(Boolean) });
    event.currentTarget.reset();
  };
  return (
    <section className="card" aria-labelledby="keys-title">
      <div className="card-head"><h2 id="keys-title">{t("API keys")}</h2></div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("Name")}</th><th>{t("Begins with")}</th><th>{t("May")}</th><th>{t("Last used")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {query.data?.data.map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.name}</strong></td>
                  <td><code>{one.prefix}</code></td>
                  <td>{one.scopes.join(", ")}</td>
                  <td className="faint"><Time at={one.last_used_at} relative /></td>
                  <td className="end"><Button kind="danger" aria-label={t("Revoke {name}", { name: one.name })} busy={revoke.isPending} onClick={() => revoke.mutate(one.id)}>{t("Revoke")}</Button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Shown>
      <form className="card-body form" onSubmit={submit}>
        <div className="form-pair">
          <Field label={t("Name of a new key")}>{(attributes) => <input {...attributes} name="name" required />}</Field>
          <Field label={t("What it may do")} hint="contacts:read messages:send">{(attributes) => <input {...attributes} name="scopes" required />}</Field>
        </div>
        <p><Button type="submit" busy={create.isPending}>{t("Create the key")}</Button></p>
      </form>
      {made && (
        <Dialog title={t("The new key")} onClose={() => setMade(null)} footer={<Button kind="main" onClick={() => setMade(null)}>{t("Done")}</Button>}>
          <p>{t("Copy it now. It is not shown again.")}</p>
          <p className="secret">{made}</p>
        </Dialog>
      )}
    </section>
  );
}

function Webhooks() {
  const cache = useQueryClient();
  const [secret, setSecret] = useState<string | null>(null);
  const query = useQuery({ queryKey: ["webhook-endpoints"], queryFn: () => data(listWebhookEndpoints({ query: { limit: 100 }, throwOnError: true })) });
  const refresh = () => void cache.invalidateQueries({ queryKey: ["webhook-endpoints"] });
  const create = useMutation({
    mutationFn: (url: string) => data(createWebhookEndpoint({ body: { url }, throwOnError: true })),
    onSuccess: (made) => (setSecret(made.secret), refresh()),
    onError: fail,
  });
  const act = useMutation({
    mutationFn: async ({ id, action }: { id: string; action: "test" | "enable" | "disable" | "delete" }) => {
      const options = { path: { endpoint_id: id }, throwOnError: true } as const;
      await { test: sendTestWebhook, enable: enableWebhookEndpoint, disable: disableWebhookEndpoint, delete: deleteWebhookEndpoint }[action](options);
    },
    onSuccess: () => (say(t("Done.")), refresh()),
    onError: fail,
  });
  const mayWrite = may("webhooks:write");
  return (
    <section className="card" aria-labelledby="webhooks-title">
      <div className="card-head"><h2 id="webhooks-title">{t("Where events are sent")}</h2></div>
      <Shown query={query}>
        <div className="scroll-x" ref={scrolls}>
          <table className="table">
            <thead><tr><th>{t("Address")}</th><th>{t("Status")}</th><th>{t("Events")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {query.data?.data.map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.url}</strong></td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{plain(one.status)}</Badge></td>
                  <td className="faint">{one.event_types.join(", ") || t("All")}</td>
                  <td className="end">
                    {mayWrite && (
                      <>
                        <Button kind="quiet" onClick={() => act.mutate({ id: one.id, action: "test" })}>{t("Send a test")}</Button>
                        <Button kind="quiet" onClick={() => act.mutate({ id: one.id, action: one.status === "active" ? "disable" : "enable" })}>{one.status === "active" ? t("Disable") : t("Enable")}</Button>
                        <Button kind="danger" onClick={() => act.mutate({ id: one.id, action: "delete" })}>{t("Delete")}</Button>
                      </>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {query.data?.data.length === 0 && <p className="card-body faint">{t("No other system gets events.")}</p>}
      </Shown>
      {mayWrite && (
        <form className="card-body form" onSubmit={(event) => (event.preventDefault(), create.mutate(String(new FormData(event.currentTarget).get("url"))))}>
          <Field label={t("Address of a new endpoint")} error={fieldError(create.error, "/url")}>{(attributes) => <input {...attributes} name="url" type="url" placeholder="https://" required />}</Field>
          <p><Button type="submit" busy={create.isPending}>{t("Add")}</Button></p>
        </form>
      )}
      {secret && (
        <Dialog title={t("The signing secret")} onClose={() => setSecret(null)} footer={<Button kind="main" onClick={() => setSecret(null)}>{t("Done")}</Button>}>
          <p>{t("Copy it now. It is not shown again.")}</p>
          <p className="secret">{secret}</p>
        </Dialog>
      )}
    </section>
  );
}
