/** The screens for users without a session: sign-in, first owner, invitation and password reset. */
import { Link, useNavigate } from "@tanstack/react-router";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type FormEvent, type ReactNode } from "react";
import { data } from "../api/client";
import { acceptInvitation, checkFirstOwner, checkPasswordReset, createFirstOwner, forgetPassword, resetPassword } from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { t, useLanguage } from "../i18n";
import { storeFirstLanguage } from "../preferences";
import { signIn as openSession, SignInRefused, useSession } from "../session";
import { Button, Field, useTitle } from "../ui/parts";

function Gate({ title, lead, children }: { title: string; lead?: ReactNode; children?: ReactNode }) {
  useLanguage();
  useTitle(title);
  return (
    <main className="gate">
      <div className="gate-card">
        <div className="brand" aria-hidden="true">
          <span className="brand-mark" />
          crm-api
        </div>
        <h1>{title}</h1>
        {lead && <p className="gate-lead">{lead}</p>}
        {children}
      </div>
    </main>
  );
}

async function signIn(email: string, password: string): Promise<void> {
  await openSession(email, password);
  await storeFirstLanguage();
}

function Refusal({ error }: { error: unknown }) {
  if (!error) return null;
  return (
    <p className="notice notice-bad" role="alert">
      {typeof error === "string" ? error : sentenceOf(error)}
    </p>
  );
}

function valuesOf(event: FormEvent<HTMLFormElement>): Record<string, string> {
  event.preventDefault();
  const form = new FormData(event.currentTarget);
  return Object.fromEntries([...form].map(([name, value]) => [name, String(value)]));
}

export function SignIn({ next }: { next: string }) {
  const session = useSession();
  const navigate = useNavigate();
  const [asksReset, setAsksReset] = useState(false);
  const enter = useMutation({
    mutationFn: ({ email, password }: Record<string, string>) => signIn(email ?? "", password ?? ""),
    onSuccess: () => navigate({ to: next, replace: true }),
  });
  const first = useQuery({ queryKey: ["first-owner"], queryFn: () => data(checkFirstOwner({ throwOnError: true })), staleTime: Infinity });
  if (asksReset) return <Forgotten onBack={() => setAsksReset(false)} />;
  const refused = enter.error instanceof SignInRefused ? enter.error : null;
  const isWrong = refused?.message === "wrong";
  const sentence = isWrong
    ? t("The e-mail address or the password is wrong. Check both; capital letters count.")
    : refused?.message || (enter.error ? sentenceOf(enter.error) : null);
  return (
    <Gate
      title={t("Sign in")}
      lead={session.state === "out" && session.why === "ended" ? t("Your session has ended. Sign in again to go on where you were.") : undefined}
    >
      {first.data?.needed && <p className="notice" role="status">{t("Nobody can sign in yet. The terminal where make up runs shows a link with /welcome: open it, and you become the first owner. If the service was started another way, crm-api users invite prints an invitation.")}</p>}
      <form onSubmit={(event) => enter.mutate(valuesOf(event))}>
        <Refusal error={sentence} />
        <Field label={t("E-mail")}>
          {(attributes) => <input {...attributes} name="email" type="email" autoComplete="username" required autoFocus />}
        </Field>
        <Field label={t("Password")}>
          {(attributes) => <input {...attributes} name="password" type="password" autoComplete="current-password" required />}
        </Field>
        <Button type="submit" kind="main" busy={enter.isPending}>
          {t("Sign in")}
        </Button>
      </form>
      {!first.data?.needed && (
        <button type="button" className="link" onClick={() => setAsksReset(true)}>
          {t("Forgotten your password?")}
        </button>
      )}
    </Gate>
  );
}

function Forgotten({ onBack }: { onBack: () => void }) {
  const ask = useMutation({
    mutationFn: ({ email }: Record<string, string>) => forgetPassword({ body: { email: email ?? "" }, throwOnError: true }),
  });
  const way = useQuery({ queryKey: ["password-reset"], queryFn: () => data(checkPasswordReset({ throwOnError: true })), staleTime: Infinity });
  if (way.data?.by_mail === false) {
    return (
      <Gate title={t("Forgotten your password?")} lead={t("This service sends no mail, so it cannot send you a link.")}>
        <p>{t("Ask an owner for a link to a new password: Settings, People, New password.")}</p>
        <p>{t("On the machine that runs the service, this command prints such a link:")}</p>
        <p className="secret">.venv/bin/crm-api users reset-password --email …</p>
        <button type="button" className="link" onClick={onBack}>{t("Back")}</button>
      </Gate>
    );
  }
  return (
    <Gate title={t("Get a link by mail")} lead={t("The link lets you choose a new password. It works for one hour.")}>
      {ask.isSuccess ? (
        <p className="notice notice-good" role="status">
          {t("If a user has this address, a mail is on its way. If none comes, ask an owner for a link to a new password.")}
        </p>
      ) : (
        <form onSubmit={(event) => ask.mutate(valuesOf(event))}>
          <Refusal error={ask.error} />
          <Field label={t("E-mail")} error={fieldError(ask.error, "/email")}>
            {(attributes) => <input {...attributes} name="email" type="email" autoComplete="username" required autoFocus />}
          </Field>
          <Button type="submit" kind="main" busy={ask.isPending}>
            {t("Send the link")}
          </Button>
        </form>
      )}
      <button type="button" className="link" onClick={onBack}>
        {t("Back")}
      </button>
    </Gate>
  );
}

function NewSecret({ error }: { error: unknown }) {
  return (
    <Field label={t("New password")} error={fieldError(error, "/password")} hint={t("At least 10 characters.")}>
      {(attributes) => <input {...attributes} name="password" type="password" autoComplete="new-password" minLength={10} required />}
    </Field>
  );
}

/** Return the token of a link: from the fragment, which no server gets, or from the query. */
function tokenOf(): string {
  return location.hash.slice(1) || (new URLSearchParams(location.search).get("token") ?? "");
}

export function Welcome() {
  const navigate = useNavigate();
  const [token] = useState(tokenOf);
  const make = useMutation({
    mutationFn: async ({ email = "", name = "", password = "" }: Record<string, string>) => {
      await data(createFirstOwner({ body: { token, email, name, password }, throwOnError: true }));
      await signIn(email, password);
    },
    onSuccess: () => navigate({ to: "/", replace: true }),
  });
  return (
    <Gate title={t("Welcome")} lead={t("You are the first here. Choose how you sign in; you become the owner and invite the others later.")}>
      <form onSubmit={(event) => make.mutate(valuesOf(event))}>
        <Refusal error={make.error} />
        <Field label={t("Your name")} error={fieldError(make.error, "/name")}>
          {(attributes) => <input {...attributes} name="name" autoComplete="name" required autoFocus />}
        </Field>
        <Field label={t("E-mail")} error={fieldError(make.error, "/email")}>
          {(attributes) => <input {...attributes} name="email" type="email" autoComplete="username" required />}
        </Field>
        <NewSecret error={make.error} />
        <Button type="submit" kind="main" busy={make.isPending}>
          {t("Begin")}
        </Button>
      </form>
      <ToSignIn />
    </Gate>
  );
}

export function AcceptInvitation() {
  const navigate = useNavigate();
  const [token] = useState(tokenOf);
  const accept = useMutation({
    mutationFn: async ({ name = "", password = "" }: Record<string, string>) => {
      const user = await data(acceptInvitation({ body: { token, password, ...(name ? { name } : {}) }, throwOnError: true }));
      await signIn(user.email, password);
    },
    onSuccess: () => navigate({ to: "/", replace: true }),
  });
  return (
    <Gate title={t("Accept the invitation")} lead={t("Choose a password. You are signed in at once.")}>
      <form onSubmit={(event) => accept.mutate(valuesOf(event))}>
        <Refusal error={accept.error} />
        <Field label={t("Your name")} error={fieldError(accept.error, "/name")} hint={t("Leave it empty to keep the name of the invitation.")}>
          {(attributes) => <input {...attributes} name="name" autoComplete="name" autoFocus />}
        </Field>
        <NewSecret error={accept.error} />
        <Button type="submit" kind="main" busy={accept.isPending}>
          {t("Accept")}
        </Button>
      </form>
      <ToSignIn />
    </Gate>
  );
}

export function ResetPassword() {
  const navigate = useNavigate();
  const [token] = useState(tokenOf);
  const reset = useMutation({
    mutationFn: async ({ password = "" }: Record<string, string>) => {
      const user = await data(resetPassword({ body: { token, password }, throwOnError: true }));
      await signIn(user.email, password);
    },
    onSuccess: () => navigate({ to: "/", replace: true }),
  });
  return (
    <Gate title={t("Choose a new password")} lead={t("All your other sessions end.")}>
      <form onSubmit={(event) => reset.mutate(valuesOf(event))}>
        <Refusal error={reset.error} />
        <NewSecret error={reset.error} />
        <Button type="submit" kind="main" busy={reset.isPending}>
          {t("Save")}
        </Button>
      </form>
      <ToSignIn />
    </Gate>
  );
}

function ToSignIn() {
  return (
    <Link to="/sign-in" className="link">
      {t("You already have an account?")}
    </Link>
  );
}

export function NotFound() {
  return (
    <Gate title={t("This page does not exist")} lead={t("Check the address, or go on from the start.")}>
      <Link to="/" className="button button-main">
        {t("To the start")}
      </Link>
    </Gate>
  );
}

/** The screen for a defect of the console, or for a page whose files a new version has replaced. */
export function Broken() {
  return (
    <div className="empty" role="alert">
      <h1>{t("This screen has failed")}</h1>
      <p>{t("Load the page again. If it fails again, report what you did to the operator of the service.")}</p>
      <Button kind="main" onClick={() => location.reload()}>
        {t("Load again")}
      </Button>
    </div>
  );
}
