/** The inbox: who waits, longest first; the thread; the person beside it. Only Ctrl+Enter or the button sends. */
import { Link, Outlet, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { countConversations, listConversations, type Conversation, type Counts } from "../api/inbox";
import { ago, count, personName, phone } from "../format";
import { t } from "../i18n";
import { useKeyset } from "../ui/keyset";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Empty, Failed, Loading, PageHead } from "../ui/parts";
import "./inbox.css";

export type View = "waiting" | "unread" | "mine" | "open" | "snoozed" | "done";

/** What each view asks the API for. */
const FILTERS: Record<View, Record<string, string | boolean>> = {
  waiting: { state: "waiting", sort: "waiting_longest" },
  unread: { state: "waiting,open", unread: true },
  mine: { state: "waiting,open", assignee: "me", sort: "waiting_longest" },
  open: { state: "waiting,open" },
  snoozed: { state: "snoozed" },
  done: { state: "done" },
};

function viewNames(): [View, string, keyof Counts | null][] {
  return [
    ["waiting", t("Waiting"), "waiting"],
    ["unread", t("Unread"), "unread"],
    ["mine", t("Mine"), "mine"],
    ["open", t("All open"), null],
    ["snoozed", t("Snoozed"), "snoozed"],
    ["done", t("Done"), null],
  ];
}

export function useCounts(isOn = true) {
  return useQuery({ queryKey: ["conversations", "counts"], queryFn: countConversations, enabled: isOn, refetchInterval: 60_000 });
}

/** True while a letter typed is text, not a command. */
function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export function Inbox() {
  const search = useSearch({ from: "/shell/inbox" });
  const view = search.view ?? "waiting";
  const { id } = useParams({ strict: false }) as { id?: string };
  const navigate = useNavigate();
  const [helps, setHelps] = useState(false);
  const counts = useCounts();
  const list = useKeyset<Conversation>(["conversations", "list", view], (cursor, signal) =>
    listConversations({ limit: 50, ...FILTERS[view], ...(cursor ? { cursor } : {}) }, signal),
  );
  const rows = list.query.data?.pages.flatMap((page) => page.data) ?? [];
  const waiting = counts.data?.waiting ?? 0;
  useEffect(() => {
    if (waiting) document.title = `(${waiting > 99 ? "99+" : waiting}) ${t("Inbox")} · crm-api`;
  });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const at = rows.findIndex((one) => one.id === id);
      const go = (to: number) => {
        const next = rows[Math.max(0, Math.min(rows.length - 1, to))];
        if (next) void navigate({ to: "/inbox/$id", params: { id: next.id }, search: (was) => was });
      };
      if (event.key === "j") go(at + 1);
      else if (event.key === "k") go(at < 0 ? 0 : at - 1);
      else if (event.key === "?") setHelps(true);
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
  return (
    <div className={id ? "inbox inbox-open" : "inbox"}>
      <div className="inbox-list">
        <PageHead title={t("Inbox")} actions={<Button kind="quiet" onClick={() => setHelps(true)}>{t("Keys")}</Button>} />
        <div className="views" role="group" aria-label={t("Views")}>
          {viewNames().map(([name, text, figure]) => (
            <Link key={name} to="/inbox" search={name === "waiting" ? {} : { view: name }} aria-current={view === name ? "true" : undefined} activeOptions={{ exact: true }}>
              {text}
              {figure && counts.data && counts.data[figure] > 0 && <span className="number">{count(counts.data[figure])}</span>}
            </Link>
          ))}
        </div>
        {list.query.isPending ? (
          <Loading lines={8} />
        ) : list.query.isError ? (
          <Failed error={list.query.error} again={() => void list.query.refetch()} />
        ) : rows.length === 0 ? (
          <Empty title={view === "waiting" ? t("Nobody waits") : t("Nothing here")}>
            {view === "waiting" ? t("Everybody has an answer. New replies appear here by themselves.") : t("Conversations of this kind appear here.")}
          </Empty>
        ) : (
          <ul className="conversations">
            {rows.map((row) => <Row key={row.id} row={row} isCurrent={row.id === id} view={view} />)}
            {list.query.hasNextPage && (
              <li className="more">
                <Button busy={list.query.isFetchingNextPage} onClick={() => void list.query.fetchNextPage()}>{t("Show more")}</Button>
              </li>
            )}
          </ul>
        )}
      </div>
      <Outlet />
      {helps && <Keys onClose={() => setHelps(false)} />}
    </div>
  );
}

function Row({ row, isCurrent, view }: { row: Conversation; isCurrent: boolean; view: View }) {
  const since = view === "waiting" || view === "mine" ? (row.waiting_since ?? row.last_message?.at) : row.last_message?.at;
  const isUnread = row.unread_count > 0;
  return (
    <li>
      <Link
        to="/inbox/$id"
        params={{ id: row.id }}
        search={(was) => was}
        className={isUnread ? "conversation conversation-unread" : "conversation"}
        aria-current={isCurrent ? "true" : undefined}
        activeProps={{}}
      >
        <span className="conversation-name">{row.contact ? personName({ ...row.contact, phone: row.phone }) : phone(row.phone)}</span>
        <time dateTime={since ?? ""}>{since ? ago(since) : ""}</time>
        <span className="conversation-text">
          {row.has_draft && <em>{t("Draft")} </em>}
          {row.last_message?.direction === "outgoing" && <span className="faint">{t("You:")} </span>}
          {row.last_message?.body_preview ?? t("No message yet")}
        </span>
        <span className="conversation-marks">
          {isUnread && <b className="number" aria-label={t("{n} unread", { n: row.unread_count })}>{row.unread_count}</b>}
          {row.flags.includes("opted_out") && <Badge tone="bad">{t("Opted out")}</Badge>}
          {row.flags.includes("opt_out_hold") && <Badge tone="hold">{t("On hold")}</Badge>}
          {row.assignee && <i title={row.assignee.name}>{row.assignee.name.slice(0, 2)}</i>}
        </span>
      </Link>
    </li>
  );
}

function Keys({ onClose }: { onClose: () => void }) {
  const keys: [string, string][] = [
    ["J", t("Next conversation")],
    ["K", t("Conversation before")],
    ["R", t("Write an answer")],
    ["Ctrl+Enter", t("Send")],
    ["E", t("Done")],
    ["S", t("Snooze until tomorrow")],
    ["A", t("Assign to me")],
    ["?", t("This list")],
  ];
  return (
    <Dialog title={t("Keys")} onClose={onClose}>
      <dl className="keys">
        {keys.map(([key, text]) => (
          <div key={key}>
            <dt><kbd>{key}</kbd></dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <p className="faint">{t("No single key sends a message.")}</p>
    </Dialog>
  );
}

export function NoConversation() {
  return (
    <div className="inbox-none">
      <Empty title={t("Choose a conversation")}>{t("Press J to open the next one, and ? for all keys.")}</Empty>
    </div>
  );
}
