/**
 * The dialog to act as a simulated person (write, call, send STOP), and to choose what people do
 * when a message arrives.
 */
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import { callAsSandboxPerson, forgetSandboxPeople, listContacts, listSandboxPeople, scriptSandboxPerson, writeAsSandboxPerson, type Behaviour, type PersonScriptRead } from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { personName, phone as shownPhone } from "../format";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Button, Field } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { actName } from "../ui/code-names";

const behaviours = (): [Behaviour, string][] => [
  ["replies", t("Replies to the first message")],
  ["stops", t("Sends STOP")],
  ["calls", t("Calls back")],
  ["silent", t("Only reads")],
  ["undelivered", t("The carrier filters it")],
  ["landline", t("Is a landline")],
  ["unreached", t("No report ever comes")],
];

export function SandboxPeople({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient();
  const [phone, setPhone] = useState("");
  const [text, setText] = useState("");
  const [behaviour, setBehaviour] = useState<Behaviour>("replies");
  const scripts = useQuery({ queryKey: ["sandbox-people"], queryFn: () => data(listSandboxPeople({ query: { limit: 100 }, throwOnError: true })) });
  const known = useQuery({
    queryKey: ["contacts", "of-sandbox", phone],
    enabled: phone.trim().length > 1,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => data(listContacts({ query: { q: phone.trim(), limit: 8 }, signal, throwOnError: true })),
  });
  const act = useMutation({
    mutationFn: ({ run }: { run: () => Promise<unknown>; done: string }) => run(),
    onSuccess: (_made, { done }) => say(done),
    onError: (error) => !fieldError(error, "/phone") && !fieldError(error, "/text") && fail(error),
    onSettled: () => void cache.invalidateQueries({ queryKey: ["sandbox-people"] }),
  });
  const write = (words: string, pictures = 0) =>
    act.mutate({ run: () => writeAsSandboxPerson({ body: { phone, text: words, pictures }, throwOnError: true }), done: t("{phone} wrote: {text}", { phone: shownPhone(phone), text: words }) });
  const call = (answered: boolean, voicemail: boolean) =>
    act.mutate({ run: () => callAsSandboxPerson({ body: { phone, answered, voicemail }, throwOnError: true }), done: t("{phone} called.", { phone: shownPhone(phone) }) });
  const isOff = !phone.trim() || act.isPending;
  return (
    <Dialog title={t("Simulated people")} onClose={onClose} wide>
      <Field label={t("Number of the person")} hint={t("A name finds the number. Any number will do; it needs no contact. For a behaviour also the first digits and a star, such as +1617555*, or * for all.")} error={fieldError(act.error, "/phone")}>
        {(a) => <input {...a} inputMode="search" list="sandbox-known" placeholder="617-555-0142" value={phone} onChange={(event) => setPhone(event.target.value)} />}
      </Field>
      <datalist id="sandbox-known">
        {known.data?.data.map((one) => <option key={one.id} value={one.phone}>{personName(one)}</option>)}
      </datalist>
      <form className="sandbox-write" onSubmit={(event) => (event.preventDefault(), write(text))}>
        <Field label={t("What the person writes")} error={fieldError(act.error, "/text")}>{(a) => <input {...a} maxLength={1600} value={text} onChange={(event) => setText(event.target.value)} />}</Field>
        <div className="later-choices">
          <Button type="submit" kind="main" disabled={isOff || !text.trim()}>{t("Write as this person")}</Button>
          <Button disabled={isOff || !text.trim()} onClick={() => write(text, 1)}>{t("With a picture")}</Button>
          <Button disabled={isOff} onClick={() => write("STOP")}>{t("Say STOP")}</Button>
          <Button disabled={isOff} onClick={() => call(false, false)}>{t("Call, nobody answers")}</Button>
          <Button disabled={isOff} onClick={() => call(false, true)}>{t("Leave a voicemail")}</Button>
          <Button disabled={isOff} onClick={() => call(true, false)}>{t("Call, somebody answers")}</Button>
        </div>
      </form>
      <h3>{t("When a message arrives")}</h3>
      <div className="sandbox-behave">
        <Field label={t("This person")}>
          {(a) => (
            <select {...a} value={behaviour} onChange={(event) => setBehaviour(event.target.value as Behaviour)}>
              {behaviours().map(([value, name]) => <option key={value} value={value}>{name}</option>)}
            </select>
          )}
        </Field>
        <Button disabled={isOff} onClick={() => act.mutate({ run: () => scriptSandboxPerson({ body: { phone, behaviour }, throwOnError: true }), done: t("From the next message on.") })}>{t("Set")}</Button>
      </div>
      {scripts.isError && <p className="notice notice-bad" role="alert">{sentenceOf(scripts.error)}</p>}
      <ul className="aside-list">
        {(scripts.data?.data ?? []).map((one) => (
          <li key={one.phone}>
            <span><b className="number">{shownPhone(one.phone)}</b> {steps(one)}</span>
            <button type="button" className="icon-button" aria-label={t("Forget {name}", { name: one.phone })} onClick={() => act.mutate({ run: () => forgetSandboxPeople({ query: { phone: one.phone }, throwOnError: true }), done: t("Forgotten.") })}><Icon name="close" size={12} /></button>
          </li>
        ))}
      </ul>
      {scripts.data?.data.length === 0 && <p className="faint">{t("Where nothing is set, the number decides: most people only read, some reply, a few send STOP.")}</p>}
    </Dialog>
  );
}

function steps(one: PersonScriptRead): string {
  return one.script.map((step) => (step.do === "reply" ? `${actName(step.do)} “${step.text}”` : actName(step.do))).join(" → ") || t("No report ever comes");
}
