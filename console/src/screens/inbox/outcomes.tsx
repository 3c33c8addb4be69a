/** Buttons with single keys that set the reply class and the state. Each can be undone. */
import { useMutation, useQuery, useQueryClient, type InfiniteData } from "@tanstack/react-query";
import { data } from "../../api/client";
import { chooseReplyClass, listMessages, optIn, type MessagePage, type MessageRead, type ReplyClass } from "../../api/generated";
import { changeConversation, type Change, type Conversation } from "../../api/inbox";
import { now } from "../../clock";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { useKeys } from "../../keys";
import { fail, say } from "../../ui/toasts";
import { morningAfter } from "../../ui/zoned";
import { useWay } from "./context";
import { className } from "./words";

const LATER_DAYS = 7;

type Outcome = { key: string; value: ReplyClass; name: string; change: () => Change };

function outcomes(): Outcome[] {
  return [
    { key: "1", value: "interested", name: className("interested"), change: () => ({}) },
    { key: "2", value: "later", name: className("later"), change: () => ({ state: "snoozed", snoozed_until: morningAfter(new Date(now()), currentZone(), LATER_DAYS).toISOString() }) },
    { key: "3", value: "not_interested", name: className("not_interested"), change: () => ({ state: "done" }) },
    { key: "4", value: "wrong_number", name: className("wrong_number"), change: () => ({ state: "done" }) },
    { key: "5", value: "stop", name: className("stop"), change: () => ({ state: "done" }) },
  ];
}

type Was = { conversation: Conversation; message: MessageRead };

export function Outcomes({ conversation }: { conversation: Conversation }) {
  const cache = useQueryClient();
  const way = useWay();
  const { id } = conversation;
  const key = ["conversation", id];
  // The thread reads the messages. This query only uses the data that the thread has read.
  const found = useQuery<InfiniteData<MessagePage>>({ queryKey: ["messages", id, "thread"], enabled: false });
  const last = found.data?.pages.flatMap((page) => page.data).find((one) => one.direction === "incoming");
  const refresh = () => {
    for (const one of [key, ["conversations"], ["messages", id], ["contact", conversation.contact?.id], ["timeline", conversation.contact?.id]]) void cache.invalidateQueries({ queryKey: one });
  };
  const undo = useMutation({
    mutationFn: async ({ conversation: was, message }: Was) => {
      const wasOut = was.flags.includes("opted_out");
      const value = message.reply_class?.value ?? "other";
      await chooseReplyClass({ path: { message_id: message.id }, body: { class: value }, throwOnError: true });
      if (!wasOut && value !== "stop" && was.contact && cache.getQueryData<Conversation>(key)?.flags.includes("opted_out")) {
        await optIn({ path: { contact_id: was.contact.id }, body: { reason: t("Opted out by mistake, undone at once") }, throwOnError: true });
      }
      await changeConversation(id, was.state === "snoozed" ? { state: "snoozed", snoozed_until: was.snoozed_until } : { state: was.state });
    },
    onError: fail,
    onSettled: refresh,
  });
  const choose = useMutation({
    mutationFn: async (outcome: Outcome): Promise<Was> => {
      const message = last ?? (await data(listMessages({ path: { conversation_id: id }, query: { limit: 30 }, throwOnError: true }))).data.find((one) => one.direction === "incoming");
      if (!message) throw new Error("no reply");
      await chooseReplyClass({ path: { message_id: message.id }, body: { class: outcome.value }, throwOnError: true });
      const change = outcome.change();
      const changed = await changeConversation(id, change);
      cache.setQueryData(key, outcome.value === "stop" ? { ...changed, flags: [...new Set([...changed.flags, "opted_out"])] } : changed);
      return { conversation, message };
    },
    onMutate: (outcome) => {
      const was = cache.getQueryData<Conversation>(key);
      const { state } = outcome.change();
      if (was && state) cache.setQueryData(key, { ...was, state, ...(outcome.value === "stop" ? { flags: [...was.flags, "opted_out"] } : {}) });
      return was;
    },
    onSuccess: (was, outcome) => say(t("Outcome: {name}.", { name: outcome.name }), { undo: () => undo.mutate(was) }),
    onError: (error, _outcome, was) => {
      if (was) cache.setQueryData(key, was);
      if (error instanceof Error && error.message === "no reply") fail(t("This person has not written yet, so there is no outcome."));
      else fail(error);
    },
    onSettled: refresh,
  });
  const all = outcomes();
  const run = (one: Outcome) => !choose.isPending && choose.mutate(one);
  useKeys(t("Outcome of the reply"), all.map((one) => ({ key: one.key, name: one.name, run: () => way.isHere(id) && run(one) })));
  return (
    <div className="outcomes" role="group" aria-label={t("Outcome of the reply")}>
      {all.map((one) => (
        <button key={one.key} type="button" aria-pressed={last?.reply_class?.value === one.value} aria-keyshortcuts={one.key} onClick={() => run(one)}>
          <kbd aria-hidden="true">{one.key}</kbd> {one.name}
        </button>
      ))}
    </div>
  );
}
