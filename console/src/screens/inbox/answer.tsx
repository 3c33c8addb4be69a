/** The field for an answer or for an internal note. Only Ctrl+Enter or a button sends an answer. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { data } from "../../api/client";
import { listLines, sendMessage, useSavedReply as applySavedReply, withdrawMessage, type MessageRead, type ReplyCreate } from "../../api/generated";
import { changeConversation, type Conversation } from "../../api/inbox";
import { ApiProblem } from "../../api/problem";
import { forgetDraft, holdDraft, loadDraft, releaseDraft, useDraft, writeHere } from "../../drafts";
import { currentZone, when } from "../../format";
import { t } from "../../i18n";
import { onEvent } from "../../live";
import { useReport } from "../../presence";
import { may } from "../../session";
import { afterPaint } from "../../ui/after-paint";
import { Icon } from "../../ui/icons";
import { Button, Doubt } from "../../ui/parts";
import { say } from "../../ui/toasts";
import { Attach, Attached, type Upload } from "./attach";
import { NoteBox } from "./note-box";
import { contactOf } from "./prefetch";
import { SavedReplies, follows, type Following } from "./saved-replies";
import { SendLater } from "./send-later";
import { useWay } from "./context";
import { refusal } from "./words";

const UNDO_SECONDS = 5;
const STOPS_TYPING_MS = 6_000;
const LONGEST = 1600;
/** From this length on, the length is shown, because a second segment begins and costs money. */
const SHOW_LENGTH = 160;
const PLACEHOLDER = /\{\{|\{%/;

type Meanwhile = { by: { name: string } | null; body: string | null; at: string };
export type Send = { confirm?: boolean; ends?: boolean; at?: string; move?: boolean };
type Props = { conversation: Conversation; area: React.RefObject<HTMLTextAreaElement | null>; kind: "message" | "note"; onKind: (kind: "message" | "note") => void };

/** Return the time zone of the contact, or of the line if the contact has no time zone. */
export function useZoneOf(conversation: Conversation): string {
  const id = conversation.contact?.id;
  const contact = useQuery({ ...contactOf(id ?? ""), enabled: !!id && may("contacts:read") });
  const lines = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })), enabled: may("campaigns:read"), staleTime: 300_000 });
  return contact.data?.timezone ?? lines.data?.data.find((one) => one.id === conversation.line_id)?.timezone ?? currentZone();
}

export function Answer(props: Props) {
  const { conversation, kind, onKind, area } = props;
  return (
    <div className={kind === "note" ? "answer answer-note" : "answer"}>
      <div className="answer-kinds" role="group" aria-label={t("What to write")}>
        <button type="button" aria-pressed={kind === "message"} onClick={() => onKind("message")}>{t("Answer")}</button>
        <button type="button" aria-pressed={kind === "note"} onClick={() => onKind("note")}>{t("Internal note")}</button>
      </div>
      {kind === "note" ? <NoteBox conversation={conversation} area={area} onDone={() => onKind("message")} /> : <MessageBox {...props} />}
    </div>
  );
}

function MessageBox({ conversation, area }: Props) {
  const cache = useQueryClient();
  const way = useWay();
  const { id } = conversation;
  const draft = useDraft(id);
  const { text } = draft;
  const zone = useZoneOf(conversation);
  const [uploads, setUploads] = useState<Upload[]>([]);
  const [following, setFollowing] = useState<Following | null>(null);
  const [meanwhile, setMeanwhile] = useState<Meanwhile | null>(null);
  const [refused, setRefused] = useState<{ text: string; next: string | null } | null>(null);
  const [isLater, setLater] = useState(false);
  /** How the user wants to send a text with a placeholder. The user must confirm it. */
  const [doubt, setDoubt] = useState<Send | null>(null);
  const [sure, setSure] = useState("");
  const [isTyping, setTyping] = useState(false);
  useReport(id, isTyping, true);
  useEffect(() => afterPaint(() => void loadDraft(id)), [id]);
  const isDraft = text.trim() !== "";
  useEffect(() => {
    if (draft.state !== "kept" || conversation.has_draft === isDraft) return;
    for (const key of [["conversations", "list"], ["conversation", id]]) void cache.invalidateQueries({ queryKey: key });
  }, [cache, id, draft.state, isDraft, conversation.has_draft]);
  // The same user may write in another window. So read the draft, but keep unsaved text.
  useEffect(() => onEvent((event) => void (event.type === "conversation.changed" && event.subject_id === id && loadDraft(id))), [id]);
  useEffect(() => {
    if (!isTyping) return;
    const timer = setTimeout(() => setTyping(false), STOPS_TYPING_MS);
    return () => clearTimeout(timer);
  }, [isTyping, text]);
  // A second attempt with the same message has the same key, so the message is sent only once.
  const attempt = useRef({ body: "", key: "" });
  const refresh = () => {
    for (const key of [["messages", id], ["conversation", id], ["conversations"]]) void cache.invalidateQueries({ queryKey: key });
  };
  const undo = async (message: MessageRead, ends: boolean, was: Conversation["state"]) => {
    try {
      await withdrawMessage({ path: { message_id: message.id }, throwOnError: true });
      if (message.body) writeHere(id, message.body);
      if (ends) await changeConversation(id, { state: was });
      say(t("The message was taken back."));
    } catch (error) {
      setRefused({ text: refusal(error), next: null });
    }
    refresh();
  };
  const send = useMutation({
    mutationFn: async ({ confirm, at, move }: Send) => {
      const body: ReplyCreate = {
        line_id: conversation.line_id, to: conversation.phone, body: text,
        ...(at ? { send_at: at } : { undo_seconds: UNDO_SECONDS }),
        ...(move ? { move } : {}), ...(confirm ? { confirm } : {}),
        ...(uploads.length ? { media_ids: uploads.map((one) => one.id) } : {}),
      };
      const written = JSON.stringify(body);
      await holdDraft(id);
      if (attempt.current.body !== written) attempt.current = { body: written, key: crypto.randomUUID() };
      return data(sendMessage({ body, headers: { "Idempotency-Key": attempt.current.key }, throwOnError: true }));
    },
    onSuccess: async (message, { ends, at }) => {
      attempt.current = { body: "", key: "" };
      forgetDraft(id, text);
      setUploads([]);
      setMeanwhile(null);
      setRefused(null);
      setLater(false);
      const was = conversation.state;
      const isDone = (ends || following?.then.state === "done") ?? false;
      if (following) await applySavedReply({ path: { conversation_id: id }, body: { saved_reply_id: following.id }, throwOnError: true }).catch((error: unknown) => setRefused({ text: refusal(error), next: null }));
      if (ends) await changeConversation(id, { state: "done" }).catch(() => undefined);
      setFollowing(null);
      refresh();
      const took = () => void undo(message, isDone, was);
      say(at ? t("Leaves {time}.", { time: when(message.send_at ?? at) }) : t("Leaves in {n} seconds.", { n: UNDO_SECONDS }), { undo: took, ...(at ? {} : { lasts: UNDO_SECONDS * 1_000 }) });
      if (isDone) way.next(id);
    },
    onError: (error) => {
      releaseDraft(id);
      setMeanwhile(null);
      setRefused(null);
      if (error instanceof ApiProblem && error.code === "answered_meanwhile") setMeanwhile(error.extras as unknown as Meanwhile);
      else setRefused({ text: refusal(error), next: error instanceof ApiProblem ? ((error.extras.next_allowed_at as string | null | undefined) ?? null) : null });
      refresh();
    },
  });
  const isStopped = conversation.flags.includes("opted_out");
  const cannot = (!text.trim() && !uploads.length) || isStopped || send.isPending;
  const submit = (how: Send) => {
    if (cannot) return;
    if (!PLACEHOLDER.test(text) || sure === text) return send.mutate(how);
    setLater(false);
    setDoubt(how);
  };
  const sendAnyway = (how: Send) => (setSure(text), setDoubt(null), send.mutate(how));
  return (
    <form className="answer-form" onSubmit={(event) => (event.preventDefault(), submit({}))}>
      {meanwhile && (
        <div className="notice notice-warn" role="alert">
          <p>{meanwhile.by?.name ? t("{name} has already answered, {time}:", { name: meanwhile.by.name, time: when(meanwhile.at) }) : t("Somebody has already answered in the provider's app, {time}:", { time: when(meanwhile.at) })}</p>
          <blockquote>{meanwhile.body}</blockquote>
          <p>
            <button type="button" className="link" onClick={() => submit({ confirm: true })}>{t("Send anyway")}</button>{" "}
            <button type="button" className="link" onClick={() => setMeanwhile(null)}>{t("Keep as a draft")}</button>
          </p>
        </div>
      )}
      {doubt && <Doubt text={t("The text has a placeholder in braces. An answer is sent as it is written, without a name or another value.")} act={t("Send anyway")} onAct={() => sendAnyway(doubt)} />}
      {refused && !isLater && (
        <p className="notice notice-bad" role="alert">
          {refused.text}{" "}
          {refused.next && <button type="button" className="link" onClick={() => submit({ at: refused.next! })}>{t("Send {time} (their time)", { time: when(refused.next, zone) })}</button>}
        </p>
      )}
      {isStopped && <p className="notice notice-bad">{t("This person has opted out. A message cannot be sent; a note can.")}</p>}
      {following && follows(following) && (
        <p className="follows">
          {t("Then:")} {follows(following)} <button type="button" className="link" onClick={() => setFollowing(null)}>{t("Only the text")}</button>
        </p>
      )}
      <textarea
        ref={area}
        aria-label={t("Answer")}
        placeholder={t("Write an answer")}
        rows={3}
        maxLength={LONGEST}
        value={text}
        readOnly={send.isPending}
        onChange={(event) => {
          setTyping(true);
          setRefused(null);
          setDoubt(null);
          writeHere(id, event.target.value);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            submit({ ends: event.shiftKey });
          }
          if (event.key === "Escape") event.currentTarget.blur();
        }}
      />
      <Attached uploads={uploads} onChange={setUploads} />
      <p className={draft.state === "here" ? "answer-hint answer-here" : "answer-hint faint"} role="status">
        {draft.state === "here" && isDraft ? t("Kept in this browser; the service cannot be reached.") : t("Ctrl+Enter sends. You can take it back for {n} seconds.", { n: UNDO_SECONDS })}
        {text.length >= SHOW_LENGTH && ` ${t("{n} of {all} characters", { n: text.length, all: LONGEST })}`}
      </p>
      <div className="answer-foot">
        <SavedReplies conversation={conversation} text={text} onChoose={(body, then) => (setDoubt(null), writeHere(id, body), setFollowing(then), area.current?.focus())} />
        <Attach uploads={uploads} onChange={setUploads} />
        <span className="answer-space" />
        <button type="button" className="icon-button" title={t("Send later")} aria-label={t("Send later")} disabled={cannot} onClick={() => (setRefused(null), setLater(true))}><Icon name="clock" /></button>
        <Button disabled={cannot} busy={send.isPending} onClick={() => submit({ ends: true })}>{t("Send and done")}</Button>
        <Button type="submit" kind="main" icon="send" disabled={cannot} busy={send.isPending}>{t("Send")}</Button>
      </div>
      {isLater && <SendLater zone={zone} refused={refused} isBusy={send.isPending} onSend={(at, move) => submit({ at, move })} onClose={() => (setLater(false), setRefused(null))} />}
    </form>
  );
}
