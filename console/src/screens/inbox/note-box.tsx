/** The field for a note to colleagues, which is never sent. "@" offers their names. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { addConversationNote } from "../../api/generated";
import type { Conversation } from "../../api/inbox";
import { useColleagues, type Colleague } from "../../colleagues";
import { sentenceOf } from "../../api/problem";
import { t } from "../../i18n";
import { currentSession } from "../../session";
import { Button } from "../../ui/parts";
import { say } from "../../ui/toasts";

type Props = { conversation: Conversation; area: React.RefObject<HTMLTextAreaElement | null>; onDone: () => void };

const TYPED = /(?:^|\s)@([\p{L}\p{N}]*)$/u;

export function NoteBox({ conversation, area, onDone }: Props) {
  const cache = useQueryClient();
  const { others } = useColleagues();
  const session = currentSession();
  const copy = `crm-note:${session.state === "in" ? session.me.id : ""}:${conversation.id}`;
  const [text, setText] = useState(() => localStorage.getItem(copy) ?? "");
  const [before, setBefore] = useState(text);
  const write = (next: string) => {
    setText(next);
    setBefore(next);
    if (next) localStorage.setItem(copy, next);
    else localStorage.removeItem(copy);
  };
  const add = useMutation({
    mutationFn: () => {
      const mentions = others.filter((one) => text.includes(`@${one.name}`)).map((one) => one.id);
      return addConversationNote({ path: { conversation_id: conversation.id }, body: { body: text, mentions }, throwOnError: true });
    },
    onSuccess: () => {
      write("");
      say(t("Noted."));
      void cache.invalidateQueries({ queryKey: ["conversation", conversation.id, "notes"] });
      onDone();
    },
  });
  const begun = TYPED.exec(before)?.[1]?.toLowerCase();
  const offered = begun === undefined ? [] : others.filter((one) => one.name.toLowerCase().startsWith(begun)).slice(0, 6);
  const mention = (one: Colleague) => {
    const rest = text.slice(before.length);
    write(`${before.replace(/@[\p{L}\p{N}]*$/u, "")}@${one.name} ${rest}`);
    area.current?.focus();
  };
  const cannot = !text.trim() || add.isPending;
  return (
    <form className="answer-form" onSubmit={(event) => (event.preventDefault(), cannot || add.mutate())}>
      {add.error && <p className="notice notice-bad" role="alert">{sentenceOf(add.error)}</p>}
      <textarea
        ref={area}
        aria-label={t("Internal note")}
        placeholder={t("Only your team sees this. Write @ and a name to notify somebody.")}
        rows={3}
        maxLength={10_000}
        value={text}
        onChange={(event) => {
          write(event.target.value);
          setBefore(event.target.value.slice(0, event.target.selectionStart));
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !cannot) {
            event.preventDefault();
            add.mutate();
          } else if (event.key === "Tab" && offered[0] && !event.shiftKey) {
            event.preventDefault();
            mention(offered[0]);
          } else if (event.key === "Escape") event.currentTarget.blur();
        }}
      />
      <div className="answer-foot">
        <span className="mentions" role="group" aria-label={t("Mention")}>
          {offered.map((one) => <button key={one.id} type="button" className="link" onClick={() => mention(one)}>@{one.name}</button>)}
          {offered.length > 0 && <span className="faint">{t("Tab takes the first.")}</span>}
        </span>
        <Button type="submit" kind="main" icon="note" disabled={cannot} busy={add.isPending}>{t("Add note")}</Button>
      </div>
    </form>
  );
}
