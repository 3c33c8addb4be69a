/** One conversation: its messages and notes, the answer, and the person beside it. */
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { data } from "../api/client";
import {
  addConversationNote, getContact, getDraft, listConversationNotes, listMessages, listPropertiesOfContact, listUsers, sendMessage, withdrawMessage, writeDraft,
  deleteDraft, listSavedReplies, previewSavedReplyForContact, type ConversationNoteRead, type MessageRead,
} from "../api/generated";
import { changeConversation, markRead, readConversation, type Change, type Conversation } from "../api/inbox";
import { ApiProblem, sentenceOf } from "../api/problem";
import { day, personName, phone, when } from "../format";
import { t } from "../i18n";
import { currentSession, may } from "../session";
import { Icon } from "../ui/icons";
import { Badge, Button, Failed, Loading, Time } from "../ui/parts";
import { Popover } from "../ui/popover";
import { fail, say } from "../ui/toasts";
import { messageStatus, plain } from "../ui/words";

const UNDO_SECONDS = 5;
const SAVE_AFTER_MS = 700;

export function Thread() {
  const { id } = useParams({ from: "/shell/inbox/$id" });
  const found = useQuery({ queryKey: ["conversation", id], queryFn: () => readConversation(id) });
  if (found.isError) return <div className="thread"><Failed error={found.error} again={() => void found.refetch()} /></div>;
  if (!found.data) return <div className="thread"><Loading /></div>;
  return <Open key={id} conversation={found.data} />;
}

function useChange(conversation: Conversation) {
  const cache = useQueryClient();
  const key = ["conversation", conversation.id];
  return useMutation({
    mutationFn: (change: Change) => changeConversation(conversation.id, change),
    onMutate: (change) => {
      const was = cache.getQueryData<Conversation>(key);
      if (was && change.state) cache.setQueryData(key, { ...was, state: change.state });
      return was;
    },
    onSuccess: (changed) => cache.setQueryData(key, changed),
    onError: (error, _change, was) => {
      if (was) cache.setQueryData(key, was);
      fail(error);
    },
    onSettled: () => void cache.invalidateQueries({ queryKey: ["conversations"] }),
  });
}

/** Nine in the morning, so many days from now, by the reader's clock. */
function morning(days: number): string {
  const at = new Date();
  at.setDate(at.getDate() + days);
  at.setHours(9, 0, 0, 0);
  return at.toISOString();
}

function Open({ conversation }: { conversation: Conversation }) {
  const change = useChange(conversation);
  const navigate = useNavigate();
  const answer = useRef<HTMLTextAreaElement>(null);
  const session = currentSession();
  const me = session.state === "in" ? session.me.id : null;
  const done = () => {
    change.mutate({ state: "done" }, { onSuccess: () => say(t("Done."), { undo: () => change.mutate({ state: "open" }) }) });
  };
  const snooze = (until: string) =>
    change.mutate({ state: "snoozed", snoozed_until: until }, { onSuccess: () => say(t("Snoozed until {time}.", { time: when(until) }), { undo: () => change.mutate({ state: "open" }) }) });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.key === "r") answer.current?.focus();
      else if (event.key === "e" && may("messages:send")) done();
      else if (event.key === "s" && may("messages:send")) snooze(morning(1));
      else if (event.key === "a" && me && may("messages:send")) change.mutate({ assignee_id: me });
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
  const name = conversation.contact ? personName({ ...conversation.contact, phone: conversation.phone }) : phone(conversation.phone);
  return (
    <>
      <section className="thread" aria-label={t("Conversation with {name}", { name })}>
        <header className="thread-head">
          <Link to="/inbox" search={(was) => was} className="back thread-back" aria-label={t("Back to the list")}>
            <Icon name="left" />
          </Link>
          <div>
            <h2>{name}</h2>
            <p className="faint">
              {conversation.contact && <span className="number">{phone(conversation.phone)} · </span>}
              <State conversation={conversation} />
            </p>
          </div>
          {may("messages:send") && (
            <div className="page-actions">
              <Assign conversation={conversation} onChange={(assignee_id) => change.mutate({ assignee_id })} me={me} />
              <Popover button={<><Icon name="clock" /> {t("Snooze")}</>} className="button" align="end">
                {(close) => (
                  <div className="menu">
                    {([[t("For an hour"), new Date(Date.now() + 3_600_000).toISOString()], [t("Until tomorrow, 9:00"), morning(1)], [t("For a week"), morning(7)]] as const).map(([text, until]) => (
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
            </div>
          )}
        </header>
        <Messages conversation={conversation} />
        {may("messages:send") && <Answer conversation={conversation} area={answer} onDone={() => void navigate({ to: "/inbox", search: (was) => was })} />}
      </section>
      <Person conversation={conversation} />
    </>
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

function Assign({ conversation, onChange, me }: { conversation: Conversation; onChange: (id: string | null) => void; me: string | null }) {
  const users = useQuery({ queryKey: ["users"], queryFn: () => data(listUsers({ query: { limit: 100 }, throwOnError: true })), enabled: may("admin") });
  const others = (users.data?.data ?? []).filter((one) => one.status === "active" && one.id !== me);
  const current = conversation.assignee;
  return (
    <select aria-label={t("Assigned to")} className="assign" value={current?.id ?? ""} onChange={(event) => onChange(event.target.value || null)}>
      <option value="">{t("Nobody assigned")}</option>
      {me && <option value={me}>{t("Me")}</option>}
      {others.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
      {current && current.id !== me && !others.some((one) => one.id === current.id) && <option value={current.id}>{current.name}</option>}
    </select>
  );
}

type Item = { kind: "message"; at: string; message: MessageRead } | { kind: "note"; at: string; note: ConversationNoteRead };

function Messages({ conversation }: { conversation: Conversation }) {
  const cache = useQueryClient();
  const { id } = conversation;
  const end = useRef<HTMLDivElement>(null);
  const [pages, setPages] = useState(50);
  const messages = useQuery({
    queryKey: ["messages", id, pages],
    queryFn: () => data(listMessages({ path: { conversation_id: id }, query: { limit: pages }, throwOnError: true })),
    placeholderData: (was) => was,
  });
  const notes = useQuery({
    queryKey: ["conversation", id, "notes"],
    queryFn: () => data(listConversationNotes({ path: { conversation_id: id }, query: { limit: 100 }, throwOnError: true })),
  });
  const newest = messages.data?.data[0]?.id;
  useLayoutEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [newest]);
  useEffect(() => {
    if (!newest || !conversation.unread_count) return;
    void markRead(id, newest).then(() => {
      cache.setQueryData<Conversation>(["conversation", id], (was) => (was ? { ...was, unread_count: 0 } : was));
      void cache.invalidateQueries({ queryKey: ["conversations"] });
    }, () => undefined);
  }, [id, newest, conversation.unread_count, cache]);
  if (messages.isPending) return <div className="messages"><Loading /></div>;
  if (messages.isError) return <div className="messages"><Failed error={messages.error} again={() => void messages.refetch()} /></div>;
  const items: Item[] = [
    ...messages.data.data.map((message): Item => ({ kind: "message", at: message.occurred_at, message })),
    ...(notes.data?.data ?? []).map((note): Item => ({ kind: "note", at: note.created_at, note })),
  ].sort((a, b) => a.at.localeCompare(b.at));
  let last = "";
  return (
    <div className="messages" tabIndex={0} role="log" aria-label={t("Messages")}>
      {messages.data.next_cursor && pages < 200 && (
        <p className="messages-more"><Button kind="quiet" onClick={() => setPages(200)}>{t("Show earlier")}</Button></p>
      )}
      {items.map((item) => {
        const date = day(item.at);
        const isNew = date !== last;
        last = date;
        return (
          <div key={item.kind === "message" ? item.message.id : item.note.id} className="message-line">
            {isNew && <p className="day"><span>{date}</span></p>}
            {item.kind === "message" ? <Message message={item.message} /> : <Note note={item.note} />}
          </div>
        );
      })}
      <div ref={end} />
    </div>
  );
}

function Message({ message }: { message: MessageRead }) {
  const cache = useQueryClient();
  const isIn = message.direction === "incoming";
  const isBad = message.status === "failed" || message.status === "undelivered";
  const withdraw = useMutation({
    mutationFn: () => withdrawMessage({ path: { message_id: message.id }, throwOnError: true }),
    onSuccess: () => say(t("The message was taken back.")),
    onError: fail,
    onSettled: () => {
      void cache.invalidateQueries({ queryKey: ["messages", message.conversation_id] });
      void cache.invalidateQueries({ queryKey: ["conversations"] });
    },
  });
  return (
    <div className={`bubble-line ${isIn ? "bubble-in" : "bubble-out"}`}>
      <p className="bubble">{message.body || t("A message without text")}</p>
      <p className="bubble-foot">
        <Time at={message.occurred_at} />
        {!isIn && <span className={isBad ? "bubble-bad" : undefined}>{messageStatus(message.status)}{message.error_code ? `: ${plain(message.error_code)}` : ""}</span>}
        {!isIn && message.origin !== "manual" && <span>{plain(message.origin)}</span>}
        {message.status === "queued" && message.origin === "manual" && (
          <button type="button" className="link" disabled={withdraw.isPending} onClick={() => withdraw.mutate()}>{t("Undo")}</button>
        )}
      </p>
    </div>
  );
}

function Note({ note }: { note: ConversationNoteRead }) {
  return (
    <div className="note">
      <p>{note.body}</p>
      <p className="bubble-foot"><Icon name="note" size={13} /> {note.author} <Time at={note.created_at} /></p>
    </div>
  );
}

type AnswerProps = { conversation: Conversation; area: React.RefObject<HTMLTextAreaElement | null>; onDone: () => void };

function Answer({ conversation, area, onDone }: AnswerProps) {
  const cache = useQueryClient();
  const { id } = conversation;
  const [kind, setKind] = useState<"message" | "note">("message");
  const [text, setText] = useState("");
  const [meanwhile, setMeanwhile] = useState<string | null>(null);
  const saved = useRef("");
  const [isLoaded, setLoaded] = useState(false);
  const path = { conversation_id: id };
  useEffect(() => {
    let isCurrent = true;
    getDraft({ path, throwOnError: true }).then(({ data: draft }) => {
      if (!isCurrent) return;
      saved.current = draft.body ?? "";
      setText((now) => now || saved.current);
      setLoaded(true);
    }, () => setLoaded(true));
    return () => {
      isCurrent = false;
    };
  }, [id]);
  const latest = useRef(text);
  latest.current = text;
  const keep = async (body: string) => {
    if (body === saved.current) return;
    saved.current = body;
    await (body.trim() ? writeDraft({ path, body: { body }, throwOnError: true }) : deleteDraft({ path, throwOnError: true }));
    void cache.invalidateQueries({ queryKey: ["conversations", "list"] });
  };
  useEffect(() => {
    if (!isLoaded || kind !== "message") return;
    const timer = setTimeout(() => keep(text).catch(() => (saved.current = "")), SAVE_AFTER_MS);
    return () => clearTimeout(timer);
  }, [text, isLoaded, kind]);
  useEffect(() => () => void keep(latest.current).catch(() => undefined), [id]);
  const refresh = () => {
    void cache.invalidateQueries({ queryKey: ["messages", id] });
    void cache.invalidateQueries({ queryKey: ["conversation", id] });
    void cache.invalidateQueries({ queryKey: ["conversations"] });
  };
  const send = useMutation({
    mutationFn: async ({ confirm, ends }: { confirm?: boolean; ends?: boolean }) => {
      if (kind === "note") return void (await addConversationNote({ path, body: { body: text }, throwOnError: true }));
      const body = { line_id: conversation.line_id, to: conversation.phone, body: text, undo_seconds: UNDO_SECONDS, ...(confirm ? { confirm: true } : {}) };
      await sendMessage({ body, throwOnError: true });
      if (ends) await changeConversation(id, { state: "done" });
    },
    onSuccess: (_made, { ends }) => {
      setText("");
      saved.current = "";
      setMeanwhile(null);
      refresh();
      if (kind === "note") setKind("message");
      if (ends) onDone();
    },
    onError: (error) => {
      if (error instanceof ApiProblem && error.code === "answered_meanwhile") {
        setMeanwhile(error.message);
        refresh();
      } else fail(error);
    },
  });
  const isStopped = conversation.flags.includes("opted_out") && kind === "message";
  const cannot = !text.trim() || isStopped;
  return (
    <form
      className={kind === "note" ? "answer answer-note" : "answer"}
      onSubmit={(event) => {
        event.preventDefault();
        if (!cannot) send.mutate({});
      }}
    >
      {meanwhile && (
        <p className="notice notice-warn" role="alert">
          {meanwhile} <button type="button" className="link" onClick={() => send.mutate({ confirm: true })}>{t("Send anyway")}</button>
        </p>
      )}
      {isStopped && <p className="notice notice-bad">{t("This person has opted out. A message cannot be sent; a note can.")}</p>}
      {send.error && !meanwhile && <p className="hidden" role="alert">{sentenceOf(send.error)}</p>}
      <div className="answer-kinds" role="group" aria-label={t("What to write")}>
        <button type="button" aria-pressed={kind === "message"} onClick={() => setKind("message")}>{t("Answer")}</button>
        <button type="button" aria-pressed={kind === "note"} onClick={() => setKind("note")}>{t("Internal note")}</button>
      </div>
      <textarea
        ref={area}
        aria-label={kind === "note" ? t("Internal note") : t("Answer")}
        placeholder={kind === "note" ? t("Only your team sees this.") : t("Write an answer")}
        rows={3}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !cannot && !send.isPending) {
            event.preventDefault();
            send.mutate({ ends: event.shiftKey });
          }
          if (event.key === "Escape") event.currentTarget.blur();
        }}
      />
      <div className="answer-foot">
        {kind === "message" && conversation.contact && <SavedReplies conversation={conversation} onChoose={(body) => (setText(body), area.current?.focus())} />}
        <span className="faint">{kind === "message" ? t("Ctrl+Enter sends. You can take it back for {n} seconds.", { n: UNDO_SECONDS }) : ""}</span>
        {kind === "message" && <Button disabled={cannot} busy={send.isPending} onClick={() => send.mutate({ ends: true })}>{t("Send and done")}</Button>}
        <Button type="submit" kind="main" icon={kind === "note" ? "note" : "send"} disabled={cannot} busy={send.isPending}>
          {kind === "note" ? t("Add note") : t("Send")}
        </Button>
      </div>
    </form>
  );
}

function SavedReplies({ conversation, onChoose }: { conversation: Conversation; onChoose: (body: string) => void }) {
  const found = useQuery({ queryKey: ["saved-replies"], queryFn: () => data(listSavedReplies({ query: { limit: 100 }, throwOnError: true })), staleTime: 300_000 });
  const fill = useMutation({
    mutationFn: (id: string) =>
      data(previewSavedReplyForContact({ path: { saved_reply_id: id }, query: { contact_id: conversation.contact!.id, line_id: conversation.line_id }, throwOnError: true })),
    onSuccess: (filled) => onChoose(filled.body),
    onError: fail,
  });
  if (!found.data?.data.length) return null;
  return (
    <select aria-label={t("Saved replies")} className="assign" value="" disabled={fill.isPending} onChange={(event) => fill.mutate(event.target.value)}>
      <option value="">{t("Saved replies")}</option>
      {found.data.data.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
    </select>
  );
}

function Person({ conversation }: { conversation: Conversation }) {
  const id = conversation.contact?.id;
  const person = useQuery({
    queryKey: ["contact", id],
    queryFn: () => data(getContact({ path: { contact_id: id! }, throwOnError: true })),
    enabled: !!id && may("contacts:read"),
  });
  const properties = useQuery({
    queryKey: ["properties", id],
    queryFn: () => data(listPropertiesOfContact({ path: { contact_id: id! }, query: { limit: 5 }, throwOnError: true })),
    enabled: !!id && may("contacts:read"),
  });
  const one = person.data;
  return (
    <aside className="thread-person" aria-label={t("Person")}>
      {!id && <p className="faint">{t("No contact has this number.")}</p>}
      {one && (
        <>
          <h2>{personName(one)}</h2>
          <p>{one.opted_out ? <Badge tone="bad">{t("Opted out")}</Badge> : <Badge tone="good">{t("May be texted")}</Badge>}</p>
          <dl className="facts">
            <div><dt>{t("Phone")}</dt><dd className="number">{phone(one.phone)}</dd></div>
            {one.email && <div><dt>{t("E-mail")}</dt><dd>{one.email}</dd></div>}
            {one.address.city && <div><dt>{t("Address")}</dt><dd>{[one.address.street, one.address.city, one.address.state].filter(Boolean).join(", ")}</dd></div>}
            {one.timezone && <div><dt>{t("Their time")}</dt><dd>{when(new Date().toISOString(), one.timezone)}</dd></div>}
            {conversation.campaign && (
              <div>
                <dt>{t("Campaign")}</dt>
                <dd><Link to="/campaigns/$id" params={{ id: conversation.campaign.id }} search={{}}>{conversation.campaign.name}</Link></dd>
              </div>
            )}
            {properties.data?.data.map((property) => (
              <div key={property.id}>
                <dt>{t("Property")}</dt>
                <dd>{[property.address.street, property.year_built && t("built {year}", { year: String(property.year_built) })].filter(Boolean).join(" · ")}</dd>
              </div>
            ))}
          </dl>
          <Link to="/contacts/$id" params={{ id: one.id }} className="link">{t("Open the contact")}</Link>
        </>
      )}
    </aside>
  );
}
