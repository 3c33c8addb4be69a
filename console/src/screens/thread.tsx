/** The screen of a conversation: messages and notes, the answer, and the person beside them. */
import { Link, useParams, useSearch } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { memo, startTransition, useContext, useEffect, useRef, useState } from "react";
import { changeConversation, type Change, type Conversation } from "../api/inbox";
import { ApiProblem } from "../api/problem";
import { now } from "../clock";
import { useColleagues } from "../colleagues";
import { currentZone, phone, when } from "../format";
import { t } from "../i18n";
import { useKeys } from "../keys";
import { useReport, useVisitors } from "../presence";
import { may } from "../session";
import { afterPaint } from "../ui/after-paint";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { Button, Failed, Loading, Time } from "../ui/parts";
import { Popover } from "../ui/popover";
import { fail, say } from "../ui/toasts";
import { morningAfter } from "../ui/zoned";
import { Answer } from "./inbox/answer";
import { Ahead, useWay } from "./inbox/context";
import { HoldNotice } from "./inbox/hold";
import { Messages } from "./inbox/messages";
import { Outcomes } from "./inbox/outcomes";
import { Person } from "./inbox/person";
import { conversationOf } from "./inbox/prefetch";
import { nameOf } from "./inbox/row";
import { NewTask } from "./inbox/tasks";

export function Thread() {
  const address = useParams({ from: "/shell/inbox/$id" }).id;
  const id = useContext(Ahead) ?? address;
  const { message } = useSearch({ from: "/shell/inbox" });
  const found = useQuery(conversationOf(id));
  if (found.isError && !found.data) return <div className="thread"><Failed error={found.error} again={() => void found.refetch()} /></div>;
  if (!found.data) return <div className="thread"><Loading /></div>;
  return <Open key={id} conversation={found.data} message={id === address ? message : undefined} />;
}

type Ask = Change & { confirm?: boolean };

/**
 * Return a function that changes the conversation. The screen shows the change at once. If the
 * service refuses the change, the screen shows the old state and an error message.
 */
function useChange(conversation: Conversation, onTaken: (sentence: string, again: Ask) => void) {
  const cache = useQueryClient();
  const key = ["conversation", conversation.id];
  return useMutation({
    mutationFn: (change: Ask) => changeConversation(conversation.id, change),
    onMutate: (change) => {
      const was = cache.getQueryData<Conversation>(key);
      if (was && change.state) cache.setQueryData(key, { ...was, state: change.state, snoozed_until: change.snoozed_until ?? null });
      return was;
    },
    onSuccess: (changed) => cache.setQueryData(key, changed),
    onError: (error, change, was) => {
      if (was) cache.setQueryData(key, was);
      if (error instanceof ApiProblem && error.code === "conversation_taken") onTaken(error.message, { ...change, confirm: true });
      else fail(error);
    },
    onSettled: () => void cache.invalidateQueries({ queryKey: ["conversations"] }),
  });
}

const inDays = (days: number) => morningAfter(new Date(now()), currentZone(), days).toISOString();

/** Show the open conversation, memoised: a change of only the address does not render it again. */
const Open = memo(function Open({ conversation, message }: { conversation: Conversation; message: string | undefined }) {
  const way = useWay();
  const [taken, setTaken] = useState<{ sentence: string; again: Ask } | null>(null);
  const [isTask, setTask] = useState(false);
  const [isPerson, setPerson] = useState(false);
  const [kind, setKind] = useState<"message" | "note">("message");
  // Paint the newest messages first. Earlier messages and the person beside them follow.
  const [isPainted, setPainted] = useState(false);
  useEffect(() => afterPaint(() => startTransition(() => setPainted(true))), []);
  const answer = useRef<HTMLTextAreaElement>(null);
  const change = useChange(conversation, (sentence, again) => setTaken({ sentence, again }));
  const { me } = useColleagues();
  const maySend = may("messages:send");
  useReport(conversation.id, false, !maySend);
  const back = () => change.mutate(conversation.state === "snoozed" ? { state: "snoozed", snoozed_until: conversation.snoozed_until } : { state: conversation.state });
  const done = () => change.mutate({ state: "done" }, { onSuccess: () => say(t("Done."), { undo: back }) });
  const snooze = (until: string) => change.mutate({ state: "snoozed", snoozed_until: until }, { onSuccess: () => say(t("Snoozed until {time}.", { time: when(until) }), { undo: back }) });
  const write = (to: "message" | "note") => {
    setKind(to);
    requestAnimationFrame(() => answer.current?.focus());
  };
  const here = (run: () => void) => () => way.isHere(conversation.id) && run();
  useKeys(t("Conversation"), maySend ? [
    { key: "r", name: t("Write an answer"), run: here(() => write("message")) },
    { key: "n", name: t("Write an internal note"), run: here(() => write("note")) },
    { key: "Ctrl+Enter", name: t("Send; with Shift, send and finish") },
    { key: "e", name: t("Done"), run: here(done) },
    { key: "s", name: t("Snooze until tomorrow"), run: here(() => snooze(inDays(1))) },
    { key: "a", name: t("Assign to me"), run: me ? here(() => change.mutate({ assignee_id: me.id })) : undefined },
    { key: "t", name: t("New task"), run: may("contacts:write") ? here(() => setTask(true)) : undefined },
    { key: "o", name: t("Open the next conversation"), run: here(() => way.next(conversation.id)) },
  ] : []);
  const name = nameOf(conversation);
  return (
    <>
      <section className="thread" aria-label={t("Conversation with {name}", { name })}>
        <header className="thread-head">
          <Link to="/inbox" search={({ message: _gone, ...was }) => was} className="back thread-back" aria-label={t("Back to the list")}>
            <Icon name="left" />
          </Link>
          <div>
            <h2>{name}</h2>
            <p className="faint">
              {conversation.contact && <span className="number">{phone(conversation.phone)} · </span>}
              <State conversation={conversation} />
            </p>
          </div>
          <div className="page-actions">
            <Button className="thread-person-button" onClick={() => setPerson(true)}>{t("Person")}</Button>
            {maySend && (
              <>
                {may("contacts:write") && <Button kind="quiet" onClick={() => setTask(true)}>{t("Task")}</Button>}
                <Assign conversation={conversation} onChange={(assignee_id) => change.mutate({ assignee_id })} />
                <Popover button={<><Icon name="clock" /> {t("Snooze")}</>} className="button" align="end">
                  {(close) => (
                    <div className="menu">
                      {([[t("For an hour"), new Date(now() + 3_600_000).toISOString()], [t("Until tomorrow, 9:00"), inDays(1)], [t("For a week"), inDays(7)]] as const).map(([text, until]) => (
                        <button key={text} type="button" onClick={() => (close(), snooze(until))}>{text}</button>
                      ))}
                    </div>
                  )}
                </Popover>
                {conversation.state === "done" ? (
                  <Button onClick={() => change.mutate({ state: "open" })}>{t("Open again")}</Button>
                ) : (
                  <Button icon="check" onClick={done}>{t("Done")}</Button>
                )}
              </>
            )}
          </div>
        </header>
        {taken && (
          <p className="notice notice-warn thread-notice" role="alert">
            {taken.sentence}{" "}
            <button type="button" className="link" onClick={() => (change.mutate(taken.again), setTaken(null))}>{t("Take it over")}</button>{" "}
            <button type="button" className="link" onClick={() => setTaken(null)}>{t("Leave it")}</button>
          </p>
        )}
        <HoldNotice conversation={conversation} />
        <Messages conversation={conversation} target={message} isWhole={isPainted} />
        <Visitors id={conversation.id} />
        {maySend && <Outcomes conversation={conversation} />}
        {maySend && <Answer conversation={conversation} area={answer} kind={kind} onKind={write} />}
      </section>
      <aside className="thread-person" aria-label={t("Person")}>
        {isPainted && <Person conversation={conversation} />}
      </aside>
      {isPerson && <Dialog title={name} onClose={() => setPerson(false)}><Person conversation={conversation} /></Dialog>}
      {isTask && <NewTask conversation={conversation} onClose={() => setTask(false)} />}
    </>
  );
});

/** Show who else views the conversation or writes in it, so that two users do not both answer. */
function Visitors({ id }: { id: string }) {
  const all = useVisitors(id);
  return (
    <p className="visitors" role="status">
      {all.map((one) => (one.activity === "typing" ? t("{name} is writing", { name: one.name }) : t("{name} is looking at this", { name: one.name }))).join(" · ")}
    </p>
  );
}

function State({ conversation }: { conversation: Conversation }) {
  switch (conversation.state) {
    case "waiting":
      return <span className="waiting">{t("waits since")} <Time at={conversation.waiting_since} /></span>;
    case "snoozed":
      return <>{t("snoozed until")} <Time at={conversation.snoozed_until} /></>;
    case "done":
      return <>{t("done")}</>;
    default:
      return <>{t("open")}</>;
  }
}

function Assign({ conversation, onChange }: { conversation: Conversation; onChange: (id: string | null) => void }) {
  const { me, others } = useColleagues();
  const current = conversation.assignee;
  return (
    <select aria-label={t("Assigned to")} className="assign" value={current?.id ?? ""} onChange={(event) => onChange(event.target.value || null)}>
      <option value="">{t("Nobody assigned")}</option>
      {me && <option value={me.id}>{t("Me")}</option>}
      {others.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
      {current && current.id !== me?.id && !others.some((one) => one.id === current.id) && <option value={current.id}>{current.name}</option>}
    </select>
  );
}
