/** Saved replies: the text for this person, and the changes that follow after it is sent. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { createSavedReply, deleteSavedReply, listSavedReplies, previewSavedReplyForContact, type FollowingState, type ReplyClass, type SavedReplyEffectsRead } from "../../api/generated";
import type { Conversation } from "../../api/inbox";
import { fieldError } from "../../api/problem";
import { t } from "../../i18n";
import { Dialog } from "../../ui/dialog";
import { Icon } from "../../ui/icons";
import { Button, Field } from "../../ui/parts";
import { Popover } from "../../ui/popover";
import { fail, say } from "../../ui/toasts";
import { className } from "./words";

export type Following = { id: string; then: SavedReplyEffectsRead };

const CLASSES: ReplyClass[] = ["interested", "question", "later", "not_interested", "wrong_number", "other"];

/** Describe in words the changes that follow when a saved reply is sent; "" if there are none. */
export function follows({ then }: Pick<Following, "then">): string {
  const states: Record<FollowingState, string> = { waiting: t("waits"), open: t("open"), done: t("done") };
  return [then.tag && t("tag {tag}", { tag: then.tag }), then.reply_class && className(then.reply_class), then.state && states[then.state]].filter(Boolean).join(" · ");
}

type Props = { conversation: Conversation; text: string; onChoose: (body: string, following: Following) => void };

export function SavedReplies({ conversation, text, onChoose }: Props) {
  const cache = useQueryClient();
  const [isNew, setNew] = useState(false);
  const [part, setPart] = useState("");
  const found = useQuery({ queryKey: ["saved-replies"], queryFn: () => data(listSavedReplies({ query: { limit: 100 }, throwOnError: true })), staleTime: 300_000 });
  const contact = conversation.contact?.id;
  const fill = useMutation({
    mutationFn: async (id: string) => {
      const filled = await data(previewSavedReplyForContact({ path: { saved_reply_id: id }, query: { contact_id: contact!, line_id: conversation.line_id }, throwOnError: true }));
      return { id, ...filled };
    },
    onSuccess: ({ id, body, then }) => onChoose(body, { id, then }),
    onError: fail,
  });
  const remove = useMutation({
    mutationFn: (id: string) => deleteSavedReply({ path: { saved_reply_id: id }, throwOnError: true }),
    onError: fail,
    onSettled: () => void cache.invalidateQueries({ queryKey: ["saved-replies"] }),
  });
  const all = (found.data?.data ?? []).filter((one) => `${one.name} ${one.body}`.toLowerCase().includes(part.toLowerCase()));
  return (
    <>
      <Popover button={t("Saved replies")} className="button">
        {(close) => (
          <div className="menu saved-replies">
            {(found.data?.data.length ?? 0) > 7 && <input type="search" aria-label={t("Search saved replies")} placeholder={t("Search saved replies")} value={part} onChange={(event) => setPart(event.target.value)} />}
            {found.data?.data.length === 0 && <p className="faint">{t("No saved reply yet.")}</p>}
            {all.map((one) => (
              <div key={one.id} className="saved-reply">
                <button type="button" disabled={!contact || fill.isPending} onClick={() => (close(), fill.mutate(one.id))}>
                  <strong>{one.name}</strong>
                  <span className="faint">{one.body}</span>
                  {follows(one) && <small>{follows(one)}</small>}
                </button>
                <button type="button" className="icon-button" aria-label={t("Delete {name}", { name: one.name })} onClick={() => remove.mutate(one.id)}><Icon name="close" size={12} /></button>
              </div>
            ))}
            <hr />
            <button type="button" onClick={() => (close(), setNew(true))}><Icon name="plus" /> {t("New saved reply")}</button>
          </div>
        )}
      </Popover>
      {isNew && <NewReply text={text} onClose={() => setNew(false)} />}
    </>
  );
}

function NewReply({ text, onClose }: { text: string; onClose: () => void }) {
  const cache = useQueryClient();
  const [name, setName] = useState("");
  const [body, setBody] = useState(text);
  const [tag, setTag] = useState("");
  const [reply, setReply] = useState<ReplyClass | "">("");
  const [state, setState] = useState<FollowingState | "">("");
  const make = useMutation({
    mutationFn: () => data(createSavedReply({ body: { name, body, then: { tag: tag || null, reply_class: reply || null, state: state || null } }, throwOnError: true })),
    onSuccess: () => {
      say(t("Saved."));
      void cache.invalidateQueries({ queryKey: ["saved-replies"] });
      onClose();
    },
    onError: (error) => !["/name", "/body", "/then/tag"].some((one) => fieldError(error, one)) && fail(error),
  });
  return (
    <Dialog
      title={t("New saved reply")}
      onClose={onClose}
      footer={<Button kind="main" disabled={!name.trim() || !body.trim()} busy={make.isPending} onClick={() => make.mutate()}>{t("Save")}</Button>}
    >
      <Field label={t("Name of the reply")} error={fieldError(make.error, "/name")}>{(a) => <input {...a} maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />}</Field>
      <Field label={t("Text")} hint={<><code>{"{{ first_name }}"}</code> {t("becomes the first name.")}</>} error={fieldError(make.error, "/body")}>{(a) => <textarea {...a} rows={4} value={body} onChange={(event) => setBody(event.target.value)} />}</Field>
      <h3>{t("When it is sent")}</h3>
      <div className="form-pair">
        <Field label={t("Add a tag")} error={fieldError(make.error, "/then/tag")}>{(a) => <input {...a} maxLength={100} value={tag} onChange={(event) => setTag(event.target.value)} />}</Field>
        <Field label={t("Outcome of the reply")}>
          {(a) => (
            <select {...a} value={reply} onChange={(event) => setReply(event.target.value as ReplyClass)}>
              <option value="">{t("As it is")}</option>
              {CLASSES.map((one) => <option key={one} value={one}>{className(one)}</option>)}
            </select>
          )}
        </Field>
      </div>
      <Field label={t("The conversation becomes")}>
        {(a) => (
          <select {...a} value={state} onChange={(event) => setState(event.target.value as FollowingState)}>
            <option value="">{t("As it is")}</option>
            <option value="done">{t("Done")}</option>
            <option value="open">{t("Open")}</option>
          </select>
        )}
      </Field>
    </Dialog>
  );
}
