/** Parts of the Today screen: people who wait for an answer, and tasks that are due. */
import { Link } from "@tanstack/react-router";
import { updateTask, type TodayRead } from "../../api/generated";
import { changeConversation } from "../../api/inbox";
import { now } from "../../clock";
import { ago, count, currentZone, personName, phone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Button, Time } from "../../ui/parts";
import { morningAfter } from "../../ui/zoned";
import { Part, useAct, useToday } from "./part";

const tomorrow = () => morningAfter(new Date(now()), currentZone(), 1).toISOString();

export function People() {
  const query = useToday();
  const { act } = useAct();
  const people = query.data?.people;
  const rows = people?.waiting_longest ?? [];
  const without = (id: string) => (today: TodayRead): TodayRead =>
    today.people ? { ...today, people: { counts: { ...today.people.counts, waiting: today.people.counts.waiting - 1 }, waiting_longest: today.people.waiting_longest.filter((one) => one.id !== id) } } : today;
  return (
    <Part
      title={t("People waiting")}
      figure={people?.counts.waiting ? count(people.counts.waiting) : undefined}
      query={query}
      isEmpty={rows.length === 0}
      empty={t("Everybody has an answer.")}
      more={<Link to="/inbox" search={{}} className="link">{t("All")}</Link>}
    >
      <ul className="rows">
        {rows.map((one) => {
          const name = one.contact ? personName({ ...one.contact, phone: one.phone }) : phone(one.phone);
          const undo = () => changeConversation(one.id, { state: "waiting" });
          return (
            <li key={one.id} className="row">
              <Link to="/inbox/$id" params={{ id: one.id }} search={{}} className="row-link">{name}</Link>
              <span className="rows-text">{one.last_message?.body_preview}</span>
              <time className="waiting" dateTime={one.waiting_since ?? ""}>{one.waiting_since ? ago(one.waiting_since) : ""}</time>
              {may("messages:send") && (
                <span className="row-acts">
                  <Button kind="quiet" aria-label={t("Snooze {name} until tomorrow", { name })} onClick={() => act({ run: () => changeConversation(one.id, { state: "snoozed", snoozed_until: tomorrow() }), shown: without(one.id), done: t("{name} comes back tomorrow.", { name }), undo })}>{t("Tomorrow")}</Button>
                  <Button kind="quiet" aria-label={t("Done with {name}", { name })} onClick={() => act({ run: () => changeConversation(one.id, { state: "done" }), shown: without(one.id), done: t("Done."), undo })}>{t("Done")}</Button>
                </span>
              )}
            </li>
          );
        })}
      </ul>
    </Part>
  );
}

export function Tasks() {
  const query = useToday();
  const { act } = useAct();
  const tasks = query.data?.tasks;
  const rows = tasks?.first ?? [];
  const without = (id: string) => (today: TodayRead): TodayRead =>
    today.tasks ? { ...today, tasks: { ...today.tasks, due: today.tasks.due - 1, first: today.tasks.first.filter((one) => one.id !== id) } } : today;
  const change = (id: string, body: { done_at?: string | null; due_at?: string }) => updateTask({ path: { task_id: id }, body, throwOnError: true });
  return (
    <Part title={t("Tasks due")} figure={tasks?.due ? count(tasks.due) : undefined} query={query} isEmpty={rows.length === 0} empty={t("No task is due today.")}>
      <ul className="rows">
        {rows.map((one) => (
          <li key={one.id}>
            <label className="check rows-text">
              <input
                type="checkbox"
                disabled={!may("contacts:write")}
                checked={false}
                onChange={() => act({ run: () => change(one.id, { done_at: new Date(now()).toISOString() }), shown: without(one.id), done: t("Task done: {title}", { title: one.title }), undo: () => change(one.id, { done_at: null }) })}
              />
              {one.title}
            </label>
            <span className={one.overdue ? "task-late" : "faint"}><Time at={one.due_at} /></span>
            <span className="row-acts">
              {one.conversation_id ? (
                <Link to="/inbox/$id" params={{ id: one.conversation_id }} search={{}} className="link">{t("Conversation")}</Link>
              ) : (
                one.contact_id && <Link to="/contacts/$id" params={{ id: one.contact_id }} className="link">{t("Contact")}</Link>
              )}
              {may("contacts:write") && (
                <Button kind="quiet" aria-label={t("Move {name} to tomorrow", { name: one.title })} onClick={() => act({ run: () => change(one.id, { due_at: tomorrow() }), shown: without(one.id), done: t("Due tomorrow."), undo: () => change(one.id, { due_at: one.due_at }) })}>{t("Tomorrow")}</Button>
              )}
            </span>
          </li>
        ))}
      </ul>
    </Part>
  );
}
