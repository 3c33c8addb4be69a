/** The dialog that changes many contacts: choose, try, confirm the numbers, run, undo. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState, type FormEvent } from "react";
import { data } from "../api/client";
import { listLists, listTags } from "../api/generated";
import { ApiProblem, sentenceOf } from "../api/problem";
import { count } from "../format";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button, Field, Meter } from "../ui/parts";
import { tryAction, type Action, type Done, type Steps, type Target, type Tried } from "./bulk-runs";

type Kind = Action["kind"];
type State = { step: "choose" } | { step: "tried"; tried: Tried } | { step: "done"; done: Done } | { step: "undone"; text: string };

function kinds(): [Kind, string][] {
  return [
    ["tag", t("Add a tag")], ["untag", t("Remove a tag")], ["list", t("Add to a list")], ["opt_out", t("Opt out")],
    ["do_not_contact", t("Do not contact")], ["flag", t("Mark as an office number")],
  ];
}

/** Return the sentence of an error. An `Error` of the console has its sentence as its message. */
function sentence(error: unknown): string {
  return error instanceof Error && !(error instanceof ApiProblem) && error.name === "Error" ? error.message : sentenceOf(error);
}

export function BulkDialog({ target, title, onClose }: { target: Target; title: string; onClose: () => void }) {
  const cache = useQueryClient();
  const [kind, setKind] = useState<Kind>("tag");
  const [state, setState] = useState<State>({ step: "choose" });
  const [progress, setProgress] = useState<{ done: number; of: number } | null>(null);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const steps = (): Steps => {
    stop.current = new AbortController();
    setProgress({ done: 0, of: 0 });
    return { signal: stop.current.signal, onProgress: (done, of) => setProgress({ done, of }) };
  };
  const refresh = () => {
    for (const key of ["contacts", "contact", "lists", "tags", "flags", "timeline"]) void cache.invalidateQueries({ queryKey: [key] });
  };
  const attempt = useMutation({
    mutationFn: (action: Action) => tryAction(action, target, steps()),
    onSuccess: (tried) => setState({ step: "tried", tried }),
  });
  const run = useMutation({
    mutationFn: (tried: Tried) => tried.run(steps()),
    onSuccess: (done) => setState({ step: "done", done }),
    onError: () => setState({ step: "choose" }),
    onSettled: refresh,
  });
  const back = useMutation({
    mutationFn: (undo: NonNullable<Done["undo"]>) => undo(steps()),
    onSuccess: (text) => setState({ step: "undone", text }),
    onSettled: refresh,
  });
  const isBusy = attempt.isPending || run.isPending || back.isPending;
  const error = [attempt, run, back].find((one) => one.error && !one.isPending)?.error;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    run.reset();
    const form = new FormData(event.currentTarget);
    const value = String(form.get("value") ?? "").trim();
    const name = event.currentTarget.querySelector<HTMLSelectElement>("select[name=value]")?.selectedOptions[0]?.text;
    attempt.mutate(actionOf(kind, value, kind === "list" ? (value === "new" ? String(form.get("name")) : (name ?? "")) : ""));
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      footer={
        <>
          {isBusy ? <Button onClick={() => stop.current.abort()}>{t("Stop")}</Button> : <Button onClick={onClose}>{state.step === "done" || state.step === "undone" ? t("Close") : t("Cancel")}</Button>}
          {state.step === "choose" && <Button kind="main" type="submit" form="bulk-form" busy={isBusy}>{t("Try it")}</Button>}
          {state.step === "tried" && !isBusy && <Button onClick={() => setState({ step: "choose" })}>{t("Go back")}</Button>}
          {state.step === "tried" && <Button kind="main" busy={isBusy} disabled={!state.tried.changes} onClick={() => run.mutate(state.tried)}>{t("Change {n, plural, one {# contact} other {# contacts}}", { n: state.tried.changes })}</Button>}
          {state.step === "done" && state.done.undo && <Button busy={isBusy} onClick={() => back.mutate(state.done.undo!)}>{t("Undo")}</Button>}
        </>
      }
    >
      {error && !isBusy && <p className="notice notice-bad" role="alert">{error.name === "AbortError" ? t("Stopped. What was done before stays.") : sentence(error)}</p>}
      {state.step === "choose" && (
        <form id="bulk-form" className="form" onSubmit={submit}>
          <Field label={t("What to do")}>
            {(attributes) => (
              <select {...attributes} value={kind} onChange={(event) => (attempt.reset(), run.reset(), setKind(event.target.value as Kind))}>
                {kinds().map(([name, text]) => <option key={name} value={name}>{text}</option>)}
              </select>
            )}
          </Field>
          <ValueField key={kind} kind={kind} />
          <p className="faint">{t("Nothing is changed yet: the next step counts what would change.")}</p>
        </form>
      )}
      {state.step === "tried" && <Figures tried={state.tried} kind={kind} />}
      {state.step === "done" && <p className="notice notice-good" role="status">{state.done.text}</p>}
      {state.step === "undone" && <p className="notice" role="status">{state.text}</p>}
      {isBusy && progress && (
        <div className="form" role="status">
          <p className="faint number">{progress.of ? t("{n} of {all}", { n: count(progress.done), all: count(progress.of) }) : t("{n} people read", { n: count(progress.done) })}</p>
          <Meter value={progress.done} of={progress.of} label={t("Progress")} />
        </div>
      )}
    </Dialog>
  );
}

function actionOf(kind: Kind, value: string, name: string): Action {
  switch (kind) {
    case "tag":
    case "untag":
      return { kind, tag: value };
    case "list":
      return { kind, list: value === "new" ? "" : value, name };
    case "flag":
      return { kind, flag: "office_number", reason: value };
    default:
      return { kind, reason: value };
  }
}

function ValueField({ kind }: { kind: Kind }) {
  const isTag = kind === "tag" || kind === "untag";
  const tags = useQuery({ queryKey: ["tags"], enabled: isTag, queryFn: () => data(listTags({ query: { limit: 200 }, throwOnError: true })) });
  const lists = useQuery({ queryKey: ["lists"], enabled: kind === "list", queryFn: () => data(listLists({ query: { limit: 200 }, throwOnError: true })) });
  const [list, setList] = useState("");
  if (isTag) {
    return (
      <Field label={t("Tag")} hint={kind === "tag" ? t("A new name makes a new tag.") : undefined}>
        {(attributes) => (
          <>
            <input {...attributes} name="value" required maxLength={100} autoComplete="off" list="bulk-tags" />
            <datalist id="bulk-tags">{tags.data?.data.map((one) => <option key={one.tag} value={one.tag} />)}</datalist>
          </>
        )}
      </Field>
    );
  }
  if (kind === "list") {
    return (
      <>
        <Field label={t("List")}>
          {(attributes) => (
            <select {...attributes} name="value" required value={list} onChange={(event) => setList(event.target.value)}>
              <option value="" disabled>{t("Choose")}</option>
              {lists.data?.data.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
              <option value="new">{t("A new list")}</option>
            </select>
          )}
        </Field>
        {list === "new" && <Field label={t("Name of the new list")}>{(attributes) => <input {...attributes} name="name" required maxLength={200} />}</Field>}
      </>
    );
  }
  const isFlag = kind === "flag";
  return (
    <Field label={t("Reason")} hint={isFlag ? t("A label: the number reaches a desk. It stops no message.") : t("In the person's words. It is kept as proof.")}>
      {(attributes) => <input {...attributes} name="value" required={!isFlag} maxLength={200} />}
    </Field>
  );
}

function Figures({ tried, kind }: { tried: Tried; kind: Kind }) {
  return (
    <>
      <dl className="tally">
        {tried.figures.map((one) => (
          <div key={one.name}>
            <dt>{one.label}</dt>
            <dd data-figure={one.name} data-value={one.value}>{count(one.value)}</dd>
          </div>
        ))}
      </dl>
      {kind === "opt_out" && <p className="notice notice-warn">{t("An opt-out is a decision about consent: it cannot be undone here. Only an opt-in with a reason ends it, person by person.")}</p>}
      {tried.changes === 0 && <p className="faint">{t("Nothing would change.")}</p>}
    </>
  );
}
