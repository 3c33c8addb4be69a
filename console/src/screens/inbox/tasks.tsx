/** The tasks of a conversation: what a user must do, and until when. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { createTask, listTasks, updateTask } from "../../api/generated";
import type { Conversation } from "../../api/inbox";
import { fieldError } from "../../api/problem";
import { now } from "../../clock";
import { useColleagues } from "../../colleagues";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Button, Doubt, Field, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { instantOf, localOf, morningAfter } from "../../ui/zoned";

export function NewTask({ conversation, onClose }: { conversation: Conversation; onClose: () => void }) {
  const cache = useQueryClient();
  const { me, others } = useColleagues();
  const zone = currentZone();
  const [title, setTitle] = useState("");
  const [due, setDue] = useState(() => localOf(morningAfter(new Date(now()), zone, 1), zone));
  const [assignee, setAssignee] = useState(me?.id ?? "");
  const [asksPast, setAsksPast] = useState(false);
  const make = useMutation({
    mutationFn: () =>
      data(createTask({ body: { title, due_at: instantOf(due, zone).toISOString(), conversation_id: conversation.id, assignee_id: assignee || null }, throwOnError: true })),
    onSuccess: () => {
      say(t("Task added."));
      for (const key of ["tasks", "today"]) void cache.invalidateQueries({ queryKey: [key] });
      onClose();
    },
    onError: (error) => !fieldError(error, "/title") && !fieldError(error, "/due_at") && fail(error),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (instantOf(due, zone).getTime() < now()) setAsksPast(true);
    else make.mutate();
  };
  return (
    <Dialog title={t("New task")} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        {asksPast && <Doubt text={t("This is in the past.")} act={t("Add anyway")} busy={make.isPending} onAct={() => make.mutate()} />}
        <Field label={t("What to do")} error={fieldError(make.error, "/title")}>{(a) => <input {...a} maxLength={200} autoFocus required value={title} onChange={(event) => setTitle(event.target.value)} />}</Field>
        <div className="form-pair">
          <Field label={t("Until")} error={fieldError(make.error, "/due_at")} hint={zone}>{(a) => <input {...a} type="datetime-local" required value={due} onChange={(event) => (setAsksPast(false), setDue(event.target.value))} />}</Field>
          <Field label={t("Who does it")}>
            {(a) => (
              <select {...a} value={assignee} onChange={(event) => setAssignee(event.target.value)}>
                <option value="">{t("Nobody assigned")}</option>
                {me && <option value={me.id}>{t("Me")}</option>}
                {others.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
              </select>
            )}
          </Field>
        </div>
        <div className="form-end"><Button type="submit" kind="main" busy={make.isPending} disabled={!title.trim() || !due}>{t("Add task")}</Button></div>
      </form>
    </Dialog>
  );
}

/** Show the open tasks of the conversation, each with a checkbox. */
export function Tasks({ conversation }: { conversation: Conversation }) {
  const cache = useQueryClient();
  const key = ["tasks", "conversation", conversation.id];
  const found = useQuery({
    queryKey: key,
    queryFn: () => data(listTasks({ query: { conversation_id: conversation.id, status: "open", limit: 20 }, throwOnError: true })),
    enabled: may("contacts:read"),
  });
  const mark = useMutation({
    mutationFn: ({ id, done }: { id: string; done: boolean }) => data(updateTask({ path: { task_id: id }, body: { done_at: done ? new Date(now()).toISOString() : null }, throwOnError: true })),
    onSuccess: (task, { done }) => done && say(t("Task done: {title}", { title: task.title }), { undo: () => mark.mutate({ id: task.id, done: false }) }),
    onError: fail,
    onSettled: () => {
      for (const one of ["tasks", "today"]) void cache.invalidateQueries({ queryKey: [one] });
    },
  });
  const rows = found.data?.data ?? [];
  if (!rows.length) return null;
  return (
    <section aria-label={t("Tasks")}>
      <h3>{t("Tasks")}</h3>
      <ul className="aside-list">
        {rows.map((one) => (
          <li key={one.id}>
            <label className="check">
              <input type="checkbox" disabled={mark.isPending || !may("contacts:write")} checked={mark.isPending && mark.variables?.id === one.id} onChange={() => mark.mutate({ id: one.id, done: true })} />
              {one.title}
            </label>
            <span className={one.overdue ? "task-late" : "faint"}><Time at={one.due_at} /></span>
          </li>
        ))}
      </ul>
    </section>
  );
}
