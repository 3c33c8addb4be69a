/** The consent of a contact: its history, its proof, and the dialog for a user's decision. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import { getConsentHistory, getProofOfContact, optIn, optOut, type ConsentEntryRead, type ConsentProof, type ContactRead } from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { count, personName } from "../format";
import { t } from "../i18n";
import { useKeyset } from "../ui/keyset";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Failed, Field, Loading, Time } from "../ui/parts";
import { say } from "../ui/toasts";
import { consentName, consentSource } from "../ui/code-names";
import { plain } from "../ui/words";
import { useRefresh } from "./contact-refresh";
import { Actor } from "../ui/actor";

export function Consent({ id }: { id: string }) {
  const [asksProof, setAsksProof] = useState(false);
  const { query } = useKeyset<ConsentEntryRead>(["consent", id], (cursor) =>
    data(getConsentHistory({ path: { contact_id: id }, query: { limit: 20, ...(cursor ? { cursor } : {}) }, throwOnError: true })),
  );
  const entries = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="side-part" aria-labelledby="consent-title">
      <header>
        <h2 id="consent-title">{t("Consent history")}</h2>
        <button type="button" className="link" onClick={() => setAsksProof(true)}>{t("Proof")}</button>
      </header>
      {query.isError && <p className="field-error" role="alert">{sentenceOf(query.error)}</p>}
      {query.data && !entries.length && <p className="faint">{t("No decision is recorded.")}</p>}
      <ol className="consent">
        {entries.map((one) => <Entry key={one.id} entry={one} />)}
      </ol>
      {query.hasNextPage && <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show earlier")}</Button>}
      {asksProof && <ProofDialog id={id} onClose={() => setAsksProof(false)} />}
    </section>
  );
}

function Entry({ entry }: { entry: ConsentEntryRead }) {
  const evidence = Object.entries(entry.evidence ?? {});
  const facts: [string, React.ReactNode][] = [
    [t("Note"), entry.note],
    [t("Text that was shown"), entry.text_shown],
    [t("Written"), entry.claimed_at && <Time at={entry.claimed_at} />],
    [t("Stored"), <Time at={entry.created_at} />],
    ...evidence.map(([name, value]): [string, React.ReactNode] => [plain(name), typeof value === "object" ? JSON.stringify(value) : String(value)]),
  ];
  return (
    <li>
      <Badge tone={entry.action === "opt_out" ? "bad" : entry.action === "hold" ? "hold" : "good"}>{consentName(entry.action)}</Badge>
      <span>
        {consentSource(entry.source)}
        {entry.reason ? `: ${entry.reason}` : ""}
      </span>
      <span className="faint"><Time at={entry.occurred_at} /> · <Actor who={entry.actor} /></span>
      <details>
        <summary>{t("Evidence")}</summary>
        <dl className="facts">
          {facts.filter(([, value]) => value).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </details>
    </li>
  );
}

function saveFile(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}

function ProofDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const proof = useQuery({
    queryKey: ["consent-proof", id],
    staleTime: 0,
    // Read the proof again: a new entry gets its link in the hash chain only after a moment.
    refetchInterval: ({ state }) => (state.data?.verification.result === "incomplete" ? 3_000 : false),
    queryFn: async () => (await data(getProofOfContact({ path: { contact_id: id }, throwOnError: true }))) as ConsentProof,
  });
  const found = proof.data;
  return (
    <Dialog
      title={t("Proof of consent")}
      onClose={onClose}
      wide
      footer={
        <>
          <Button onClick={onClose}>{t("Close")}</Button>
          <Button onClick={() => void proof.refetch()} busy={proof.isFetching}>{t("Verify again")}</Button>
          {found && <Button kind="main" onClick={() => saveFile(`consent-${found.phone.slice(1)}.json`, JSON.stringify(found, null, 1))}>{t("Save the proof")}</Button>}
        </>
      }
    >
      {proof.isLoadingError ? <Failed error={proof.error} again={() => void proof.refetch()} /> : !found ? <Loading lines={5} /> : <Proof proof={found} />}
    </Dialog>
  );
}

function Proof({ proof }: { proof: ConsentProof }) {
  const { verification, texts } = proof;
  const isGood = verification.result === "ok";
  const sentence = isGood
    ? t("Every entry is complete and unchanged.")
    : verification.result === "broken"
      ? t("An entry was changed. Read the findings, and ask who has access to the database.")
      : t("An entry has no link yet, or was linked with another secret key.");
  const facts: [string, React.ReactNode][] = [
    [t("Verified"), <Time at={proof.generated_at} />],
    [t("Decisions"), count(proof.entries.length)],
    [t("Messages"), texts.accepted ? t("{n} accepted, the last {time}", { n: count(texts.accepted), time: texts.last_at ? new Date(texts.last_at).toLocaleDateString() : "–" }) : t("none")],
    [t("Number"), <code className="digest">{proof.phone_hash}</code>],
    [t("End of the chain"), <code className="digest">{proof.chain_end.digest ?? "–"}</code>],
  ];
  return (
    <>
      <p className={isGood ? "notice notice-good" : "notice notice-bad"} role="status" data-part="proof" data-value={verification.result}>{sentence}</p>
      {verification.findings.map((one) => <p key={one} className="field-error">{one}</p>)}
      <dl className="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <details>
        <summary>{t("How another party checks it")}</summary>
        <p className="faint">{proof.how_to_check}</p>
      </details>
    </>
  );
}

export function ConsentDialog({ contact, onClose }: { contact: ContactRead; onClose: () => void }) {
  const isHeld = contact.flags.includes("opt_out_hold");
  const [action, setAction] = useState<"out" | "in">(contact.opted_out ? "in" : "out");
  const refresh = useRefresh(contact.id);
  const decide = useMutation({
    mutationFn: async ({ reason, note }: { reason: string; note: string }) => {
      const options = { path: { contact_id: contact.id }, body: { reason, ...(note ? { note } : {}) }, throwOnError: true } as const;
      await (action === "out" ? optOut(options) : optIn(options));
    },
    onSuccess: () => {
      say(action === "out" ? t("The number gets no more messages.") : t("The number may get messages again."));
      refresh("consent", "flags", "engagement");
      onClose();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    decide.mutate({ reason: String(form.get("reason")), note: String(form.get("note")) });
  };
  return (
    <Dialog
      title={t("Consent of {name}", { name: personName(contact) })}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Cancel")}</Button>
          <Button kind="main" type="submit" form="consent-form" busy={decide.isPending}>
            {action === "out" ? t("Opt out") : t("Opt in")}
          </Button>
        </>
      }
    >
      <form id="consent-form" className="form" onSubmit={submit}>
        {decide.error && <p className="notice notice-bad" role="alert">{sentenceOf(decide.error)}</p>}
        {isHeld && <p className="notice notice-warn">{t("A doubtful reply put this number on hold. Read it, then decide.")}</p>}
        <div className="choice" role="radiogroup" aria-label={t("Decision")}>
          <label>
            <input type="radio" name="action" checked={action === "out"} onChange={() => setAction("out")} /> {t("Opt out: no more messages")}
          </label>
          <label>
            <input type="radio" name="action" checked={action === "in"} onChange={() => setAction("in")} /> {t("Opt in: messages are allowed")}
          </label>
        </div>
        <Field label={t("Reason")} error={fieldError(decide.error, "/reason")} hint={t("In the person's words. It is kept as proof.")}>
          {(attributes) => <input {...attributes} name="reason" required autoFocus />}
        </Field>
        <Field label={t("Note")}>{(attributes) => <input {...attributes} name="note" />}</Field>
      </form>
    </Dialog>
  );
}
