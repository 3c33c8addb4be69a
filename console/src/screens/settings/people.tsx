/** The users: invite them, give them a role, end their sessions, disable them. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { inviteUser, inviteUserAgain, listUsers, makeResetLink, signUserOut, updateUser, type UserRead, type UserRole } from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { t } from "../../i18n";
import { currentSession } from "../../session";
import { Dialog } from "../../ui/dialog";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Badge, Button, Field, Time, scrolls } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { Shown, TONE } from "../operations/shown";
import { Secret } from "./secret";

// This is a record, so that the compiler reports a new role that is missing here.
const ROLES = Object.keys({ owner: 0, manager: 0, agent: 0, marketer: 0, viewer: 0 } satisfies Record<UserRole, 0>) as UserRole[];

type Act = { user: UserRead; role?: UserRole; status?: "active" | "disabled"; isOut?: boolean; isAgain?: boolean; isReset?: boolean };

type Link = { title: string; note: string; value: string };

export function People() {
  const cache = useQueryClient();
  const [isInviting, setInviting] = useState(false);
  const [disabling, setDisabling] = useState<UserRead | null>(null);
  const [link, setLink] = useState<Link | null>(null);
  const { query } = useKeyset<UserRead>(["users", "all"], (cursor) => data(listUsers({ query: { limit: 100, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const refresh = () => void cache.invalidateQueries({ queryKey: ["users"] });
  const session = currentSession();
  const me = session.state === "in" ? session.me.id : "";
  const show = (token: string | null | undefined) =>
    token
      ? setLink({ title: t("Give this link to the person"), note: t("No mail server is set. The link works for a week, once, and is not shown again."), value: `${location.origin}/accept-invitation?token=${token}` })
      : say(t("The invitation is on its way by mail."));
  const showReset = (user: UserRead, token: string | null) =>
    token
      ? setLink({ title: t("Give this link to {name}", { name: user.name }), note: t("No mail server is set. The link to a new password works for an hour, once, and is not shown again."), value: `${location.origin}/reset-password?token=${token}` })
      : say(t("A link to a new password is on its way to {name} by mail.", { name: user.name }));
  const act = useMutation({
    mutationFn: async ({ user, role, status, isOut, isAgain, isReset }: Act) => {
      const path = { user_id: user.id };
      if (isOut) await signUserOut({ path, throwOnError: true });
      else if (isAgain) show((await data(inviteUserAgain({ path, throwOnError: true }))).invitation_token);
      else if (isReset) showReset(user, (await data(makeResetLink({ path, throwOnError: true }))).reset_token);
      else await updateUser({ path, body: { ...(role ? { role } : {}), ...(status ? { status } : {}) }, throwOnError: true });
    },
    onSuccess: (_, { user, role, status, isOut }) => {
      refresh();
      if (isOut) say(t("{name} is signed out everywhere.", { name: user.name }));
      if (role) say(t("{name} is now {role}.", { name: user.name, role: stateName(role).toLowerCase() }));
      if (status) say(status === "disabled" ? t("{name} can no longer sign in.", { name: user.name }) : t("{name} can sign in again.", { name: user.name }));
    },
    onError: (error) => (refresh(), fail(error)),
    onSettled: () => setDisabling(null),
  });
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
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
              {rows.map((one) => (
                <tr key={one.id}>
                  <td><strong>{one.name}</strong> {one.id === me && <span className="faint">{t("(you)")}</span>}</td>
                  <td>{one.email}</td>
                  <td>
                    <select className="auto" aria-label={t("Role of {name}", { name: one.name })} value={one.role} disabled={act.isPending || one.id === me} onChange={(event) => act.mutate({ user: one, role: event.target.value as UserRole })}>
                      {[...new Set([...ROLES, one.role])].map((role) => <option key={role} value={role}>{stateName(role)}</option>)}
                    </select>
                  </td>
                  <td><Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></td>
                  <td className="faint"><Time at={one.last_login_at} relative /></td>
                  <td className="end">
                    {one.status === "invited" && <Button kind="quiet" onClick={() => act.mutate({ user: one, isAgain: true })}>{t("Invite again")}</Button>}
                    {one.status === "active" && one.id !== me && (
                      <>
                        <Button kind="quiet" aria-label={t("New password for {name}", { name: one.name })} onClick={() => act.mutate({ user: one, isReset: true })}>{t("New password")}</Button>
                        <Button kind="quiet" aria-label={t("End the sessions of {name}", { name: one.name })} onClick={() => act.mutate({ user: one, isOut: true })}>{t("End the sessions")}</Button>
                        <Button kind="danger" aria-label={t("Disable {name}", { name: one.name })} onClick={() => setDisabling(one)}>{t("Disable")}</Button>
                      </>
                    )}
                    {one.status === "disabled" && <Button kind="quiet" aria-label={t("Enable {name}", { name: one.name })} onClick={() => act.mutate({ user: one, status: "active" })}>{t("Enable")}</Button>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <More query={query} />
        </div>
      </Shown>
      {isInviting && <Invite onClose={() => setInviting(false)} onDone={(token) => (setInviting(false), refresh(), show(token))} />}
      {disabling && (
        <Dialog
          title={t("Disable {name}?", { name: disabling.name })}
          onClose={() => setDisabling(null)}
          footer={<><Button onClick={() => setDisabling(null)}>{t("Go back")}</Button><Button kind="danger" busy={act.isPending} onClick={() => act.mutate({ user: disabling, status: "disabled" })}>{t("Disable")}</Button></>}
        >
          <p>{t("All sessions end at once. What the person did stays, and you can enable the person again.")}</p>
        </Dialog>
      )}
      {link && <Secret {...link} onClose={() => setLink(null)} />}
    </section>
  );
}

function Invite({ onClose, onDone }: { onClose: () => void; onDone: (token: string | null) => void }) {
  const invite = useMutation({
    mutationFn: (body: { email: string; name: string; role: UserRole }) => data(inviteUser({ body, throwOnError: true })),
    onSuccess: (made) => onDone(made.invitation_token),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    invite.mutate({ email: String(form.get("email")), name: String(form.get("name")), role: String(form.get("role")) as UserRole });
  };
  return (
    <Dialog title={t("Invite")} onClose={onClose} footer={<><Button onClick={onClose}>{t("Cancel")}</Button><Button kind="main" type="submit" form="invite-form" busy={invite.isPending}>{t("Invite")}</Button></>}>
      <form id="invite-form" className="form" onSubmit={submit}>
        {invite.error && <p className="notice notice-bad" role="alert">{sentenceOf(invite.error)}</p>}
        <Field label={t("Name")} error={fieldError(invite.error, "/name")}>{(attributes) => <input {...attributes} name="name" required autoFocus />}</Field>
        <Field label={t("E-mail")} error={fieldError(invite.error, "/email")}>{(attributes) => <input {...attributes} name="email" type="email" required />}</Field>
        <Field label={t("Role")} hint={t("Viewers read, agents answer, marketers plan campaigns and see no amounts, managers send, owners do everything.")}>
          {(attributes) => <select {...attributes} name="role" defaultValue="agent">{ROLES.map((role) => <option key={role} value={role}>{stateName(role)}</option>)}</select>}
        </Field>
      </form>
    </Dialog>
  );
}
