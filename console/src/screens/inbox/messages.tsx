/** The messages, calls, consent decisions and notes of one conversation, in order of time. */
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Fragment, memo, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import {
  withdrawMessage,
  type ConversationNoteRead, type MessageRead, type TimelineCall, type TimelineConsent,
} from "../../api/generated";
import { markRead, type Conversation } from "../../api/inbox";
import { now } from "../../clock";
import { writeHere } from "../../drafts";
import { day, when } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Icon } from "../../ui/icons";
import { Badge, Button, Failed, Loading, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { consentName, originName } from "../../ui/code-names";
import { messageStatus, plain } from "../../ui/words";
import { MediaItem, type Media } from "./pictures";
import { messagesOf, notesOf, timelineOf } from "./prefetch";
import { className } from "./words";
import { Actor } from "../../ui/actor";

const MOST_PAGES = 30;
/** The number of items that fill the height of a screen. */
const NEWEST = 12;

type Item =
  | { kind: "message"; id: string; at: string; message: MessageRead }
  | { kind: "note"; id: string; at: string; note: ConversationNoteRead }
  | { kind: "call"; id: string; at: string; call: TimelineCall }
  | { kind: "consent"; id: string; at: string; consent: TimelineConsent };

/** Read the other events of the contact: calls, consent decisions and campaigns. */
export function useTimeline(contact: string | undefined) {
  return useQuery({
    ...timelineOf(contact ?? ""),
    enabled: !!contact && may("contacts:read"),
  });
}

function useItems(conversation: Conversation) {
  const { id } = conversation;
  const messages = useInfiniteQuery(messagesOf(id));
  const notes = useQuery(notesOf(id));
  const timeline = useTimeline(conversation.contact?.id);
  const items = useMemo(() => {
    const all = messages.data?.pages.flatMap((page) => page.data) ?? [];
    const oldest = messages.hasNextPage ? (all.at(-1)?.occurred_at ?? "") : "";
    const others: Item[] = [];
    for (const one of timeline.data?.data ?? []) {
      if (one.type === "call" && one.conversation_id === id) others.push({ kind: "call", id: one.id, at: one.at, call: one });
      else if (one.type === "opt_out" || one.type === "opt_in" || one.type === "hold" || one.type === "release") others.push({ kind: "consent", id: one.id, at: one.at, consent: one });
    }
    for (const note of notes.data?.data ?? []) others.push({ kind: "note", id: note.id, at: note.created_at, note });
    const shown: Item[] = all.map((message) => ({ kind: "message", id: message.id, at: message.occurred_at, message }));
    // An item older than the oldest loaded message is shown after older messages are loaded.
    shown.push(...others.filter((one) => one.at >= oldest));
    return shown.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  }, [messages.data, messages.hasNextPage, notes.data, timeline.data, id]);
  return { messages, items };
}

/** Show the messages. Without `isWhole` and without a `target`, show only the newest items. */
export function Messages({ conversation, target, isWhole }: { conversation: Conversation; target: string | undefined; isWhole: boolean }) {
  const cache = useQueryClient();
  const { id } = conversation;
  const { messages, items } = useItems(conversation);
  const box = useRef<HTMLDivElement>(null);
  const newest = messages.data?.pages[0]?.data[0]?.id;
  const pages = messages.data?.pages.length ?? 0;
  const hasTarget = !!target && items.some((one) => one.id === target);
  const height = useRef({ pages: 0, of: 0 });
  const isAtEnd = useRef(true);
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = messages;
  useEffect(() => {
    if (target && !hasTarget && hasNextPage && !isFetchingNextPage && pages < MOST_PAGES) void fetchNextPage();
  }, [target, hasTarget, hasNextPage, isFetchingNextPage, pages, fetchNextPage]);
  const end = items.at(-1)?.id;
  useLayoutEffect(() => {
    const list = box.current;
    if (!list || target) return;
    const was = height.current;
    // Earlier messages do not move the visible part of the list. The list scrolls to a new message.
    if (was.pages && pages > was.pages) list.scrollTop += list.scrollHeight - was.of;
    else list.scrollTop = list.scrollHeight;
    isAtEnd.current = !was.pages || pages === was.pages;
    height.current = { pages, of: list.scrollHeight };
  }, [end, pages, target, isWhole]);
  // Pictures load later than their messages and make the list longer. So scroll to the end again.
  const isShown = items.length > 0;
  useEffect(() => {
    const list = box.current;
    if (!list || !isShown || target) return;
    const watcher = new ResizeObserver(() => {
      if (isAtEnd.current) list.scrollTop = list.scrollHeight;
    });
    watcher.observe(list.firstElementChild!);
    return () => watcher.disconnect();
  }, [isShown, target]);
  useLayoutEffect(() => {
    if (hasTarget) box.current?.querySelector(`[data-message="${target}"]`)?.scrollIntoView({ block: "center" });
  }, [hasTarget, target]);
  useEffect(() => {
    if (!newest || !conversation.unread_count) return;
    void markRead(id, newest).then(() => {
      cache.setQueryData<Conversation>(["conversation", id], (was) => (was ? { ...was, unread_count: 0 } : was));
      void cache.invalidateQueries({ queryKey: ["conversations"] });
    }, () => undefined);
  }, [id, newest, conversation.unread_count, cache]);
  if (messages.isPending) return <div className="messages"><Loading /></div>;
  if (messages.isError && !messages.data) return <div className="messages"><Failed error={messages.error} again={() => void messages.refetch()} /></div>;
  let last = "";
  return (
    <div className="messages" tabIndex={0} role="log" aria-label={t("Messages")} ref={box} onScroll={({ currentTarget: list }) => (isAtEnd.current = list.scrollHeight - list.scrollTop - list.clientHeight < 40)}>
      <div>
      {hasNextPage && (
        <p className="messages-more"><Button kind="quiet" busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>{t("Show earlier")}</Button></p>
      )}
      {items.length === 0 && <p className="faint messages-more">{t("No message yet")}</p>}
      {(isWhole || target ? items : items.slice(-NEWEST)).map((item) => {
        const date = day(item.at);
        const isNew = date !== last;
        last = date;
        return (
          <Fragment key={item.id}>
            {isNew && <p className="day"><span>{date}</span></p>}
            <div className={item.id === target ? "message-line message-found" : "message-line"} data-message={item.id}>
              <Line item={item} conversation={id} />
            </div>
          </Fragment>
        );
      })}
      </div>
    </div>
  );
}

function Line({ item, conversation }: { item: Item; conversation: string }) {
  switch (item.kind) {
    case "message":
      return <Message message={item.message} conversation={conversation} />;
    case "note":
      return <Note note={item.note} />;
    case "call":
      return <Call call={item.call} />;
    default:
      return (
        <p className="message-event">
          <Icon name="flag" size={13} /> {consentName(item.consent.type)} · <Actor who={item.consent.actor} /> <Time at={item.at} />
        </p>
      );
  }
}

const Message = memo(function Message({ message, conversation }: { message: MessageRead; conversation: string }) {
  const isIn = message.direction === "incoming";
  const isTaken = message.error_code === "withdrawn";
  const isBad = !isTaken && (message.status === "failed" || message.status === "undelivered");
  const isLater = message.status === "queued" && message.send_at !== null && new Date(message.send_at).getTime() > now() + 60_000;
  return (
    <div className={`bubble-line ${isIn ? "bubble-in" : "bubble-out"}`}>
      {message.media.length > 0 && (
        <div className="pictures">{message.media.map((item, at) => <MediaItem key={at} item={item as Media} />)}</div>
      )}
      {(message.body || message.media.length === 0) && <p className={isTaken ? "bubble bubble-taken" : "bubble"}>{message.body || t("A message without text")}</p>}
      <p className="bubble-foot">
        <Time at={message.occurred_at} />
        {!isIn && (
          <span className={isBad ? "bubble-bad" : undefined}>
            {isTaken ? t("Taken back") : isLater ? t("leaves {time}", { time: when(message.send_at!) }) : messageStatus(message.status)}
            {isBad && message.error_code ? `: ${plain(message.error_code)}` : ""}
          </span>
        )}
        {!isIn && (message.sent_by?.name ? <span>{message.sent_by.name}</span> : message.origin !== "manual" && <span>{originName(message.origin)}</span>)}
        {isIn && message.reply_class && <Badge>{className(message.reply_class.value)}</Badge>}
        {message.status === "queued" && message.origin === "manual" && may("messages:send") && <TakeBack message={message} conversation={conversation} />}
      </p>
    </div>
  );
});

function TakeBack({ message, conversation }: { message: MessageRead; conversation: string }) {
  const cache = useQueryClient();
  const withdraw = useMutation({
    mutationFn: () => withdrawMessage({ path: { message_id: message.id }, throwOnError: true }),
    onSuccess: () => {
      if (message.body) writeHere(conversation, message.body);
      say(t("The message was taken back."));
    },
    onError: fail,
    onSettled: () => {
      for (const key of [["messages", conversation], ["conversations"], ["conversation", conversation]]) void cache.invalidateQueries({ queryKey: key });
    },
  });
  return <button type="button" className="link" disabled={withdraw.isPending} onClick={() => withdraw.mutate()}>{t("Undo")}</button>;
}

function Call({ call }: { call: TimelineCall }) {
  const facts = call.call as { is_missed?: boolean; duration_seconds?: number | null; voicemail?: Media | null; recordings?: Media[] };
  const text = facts.is_missed ? t("Missed call") : call.direction === "outgoing" ? t("Call to the person") : t("Call of the person");
  const seconds = Math.round(facts.duration_seconds ?? 0);
  const files = [facts.voicemail, ...(facts.recordings ?? [])].filter((one): one is Media => !!one && (!!one.media_id || !!one.status));
  return (
    <div className={`bubble-line ${call.direction === "outgoing" ? "bubble-out" : "bubble-in"}`}>
      <p className={facts.is_missed ? "message-event bubble-bad" : "message-event"}>
        <Icon name="phone" size={13} /> {text}{seconds > 0 && !facts.is_missed ? ` · ${t("{n} s", { n: seconds })}` : ""} <Time at={call.at} />
      </p>
      {files.map((one, at) => <MediaItem key={at} item={one} />)}
    </div>
  );
}

function Note({ note }: { note: ConversationNoteRead }) {
  return (
    <div className="note">
      <p>{note.body}</p>
      <p className="bubble-foot">
        <Icon name="note" size={13} /> <Actor who={note.author} /> <Time at={note.created_at} />
        {note.mentions.length > 0 && <span>{t("for {names}", { names: note.mentions.map((one) => one.name).join(", ") })}</span>}
      </p>
    </div>
  );
}
