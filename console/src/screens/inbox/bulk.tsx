/** Change of many conversations: the chosen ones, or all of the view. The API counts them first. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { changeConversations, type BulkChange, type InboxSelection } from "../../api/generated";
import { useColleagues } from "../../colleagues";
import { currentZone, when } from "../../format";
import { now } from "../../clock";
import { t } from "../../i18n";
import { morningAfter } from "../../ui/zoned";
import { Dialog } from "../../ui/dialog";
import { Button } from "../../ui/parts";
import { Popover } from "../../ui/popover";
import { fail, say } from "../../ui/toasts";

type Props = { ids: string[]; filter: Record<string, string | boolean>; onAll: (isAll: boolean) => void; isAll: boolean; onEnd: () => void };
type Wanted = { set: BulkChange; sentence: (n: number) => string };
type Asked = Wanted & { token: string; count: number };

export function Bulk({ ids, filter, isAll, onAll, onEnd }: Props) {
  const cache = useQueryClient();
  const { me, others } = useColleagues();
  const [asked, setAsked] = useState<Asked | null>(null);
  const [tag, setTag] = useState("");
  const { sort: _order, ...selection } = filter;
  const chosen = isAll ? { filter: selection as InboxSelection } : { ids };
  const ask = useMutation({
    mutationFn: async (wanted: Wanted): Promise<Asked> => {
      const answer = await data(changeConversations({ body: { ...chosen, set: wanted.set, dry_run: true }, throwOnError: true }));
      return { ...wanted, token: answer.token ?? "", count: answer.count };
    },
    onSuccess: setAsked,
    onError: fail,
  });
  const run = useMutation({
    mutationFn: (wanted: Asked) => data(changeConversations({ body: { ...chosen, set: wanted.set, token: wanted.token }, throwOnError: true })),
    onSuccess: (changed) => {
      say(t("{n, plural, one {# conversation changed.} other {# conversations changed.}}", { n: changed.count }));
      onEnd();
    },
    onError: fail,
    onSettled: () => {
      setAsked(null);
      void cache.invalidateQueries({ queryKey: ["conversations"] });
      void cache.invalidateQueries({ queryKey: ["conversation"] });
    },
  });
  const until = morningAfter(new Date(now()), currentZone(), 1).toISOString();
  const isEmpty = !isAll && ids.length === 0;
  const choose = (set: BulkChange, sentence: Wanted["sentence"]) => ask.mutate({ set, sentence });
  return (
    <div className="bulk" role="toolbar" aria-label={t("Change the chosen conversations")}>
      <span className="number">{isAll ? t("All of this view") : t("{n} chosen", { n: ids.length })}</span>
      <button type="button" className="link" onClick={() => onAll(!isAll)}>{isAll ? t("Only the chosen") : t("Choose all of this view")}</button>
      <Popover button={t("Change")} className="button button-main">
        {(close) => (
          <div className="menu">
            <button type="button" disabled={isEmpty} onClick={() => (close(), choose({ state: "done" }, (n) => t("{n, plural, one {# conversation becomes done.} other {# conversations become done.}}", { n })))}>{t("Done")}</button>
            <button type="button" disabled={isEmpty} onClick={() => (close(), choose({ state: "open" }, (n) => t("{n, plural, one {# conversation becomes open.} other {# conversations become open.}}", { n })))}>{t("Open")}</button>
            <button type="button" disabled={isEmpty} onClick={() => (close(), choose({ state: "snoozed", snoozed_until: until }, (n) => t("{n, plural, one {# conversation is snoozed until {time}.} other {# conversations are snoozed until {time}.}}", { n, time: when(until) })))}>{t("Until tomorrow, 9:00")}</button>
            {[...(me ? [{ ...me, name: t("Me") }] : []), ...others].map((one) => (
              <button key={one.id} type="button" disabled={isEmpty} onClick={() => (close(), choose({ assignee_id: one.id }, (n) => t("{n, plural, one {# conversation is assigned to {name}.} other {# conversations are assigned to {name}.}}", { n, name: one.name })))}>{t("Assign to {name}", { name: one.name })}</button>
            ))}
            <form className="menu-form" onSubmit={(event) => (event.preventDefault(), close(), tag.trim() && choose({ add_tag: tag.trim() }, (n) => t("{n, plural, one {The person of # conversation gets the tag {tag}.} other {The people of # conversations get the tag {tag}.}}", { n, tag: tag.trim() })))}>
              <input aria-label={t("Tag")} placeholder={t("Tag")} maxLength={100} value={tag} onChange={(event) => setTag(event.target.value)} />
              <Button type="submit" disabled={isEmpty || !tag.trim()}>{t("Add tag")}</Button>
            </form>
          </div>
        )}
      </Popover>
      <button type="button" className="link" onClick={onEnd}>{t("Cancel")}</button>
      {asked && (
        <Dialog
          title={t("Change the chosen conversations")}
          onClose={() => setAsked(null)}
          footer={
            <>
              <Button onClick={() => setAsked(null)}>{t("Cancel")}</Button>
              <Button kind="main" busy={run.isPending} disabled={asked.count === 0} onClick={() => run.mutate(asked)}>{t("Change {n}", { n: asked.count })}</Button>
            </>
          }
        >
          <p>{asked.sentence(asked.count)}</p>
          <p className="faint">{t("Nothing is sent. If one of these people writes before you press the button, nothing changes and you are asked again.")}</p>
        </Dialog>
      )}
    </div>
  );
}
