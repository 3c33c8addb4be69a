/**
 * The inbox: the conversations (people who have waited longest come first), the search, the thread
 * (the messages of one conversation), and the person. Only Ctrl+Enter or a button sends a message.
 */
import { Outlet, useNavigate, useParams, useRouter, useSearch } from "@tanstack/react-router";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { memo, useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { flushSync } from "react-dom";
import { countConversations, listConversations, type Conversation, type Counts } from "../api/inbox";
import { useMinute } from "../clock";
import { count } from "../format";
import { t, useLanguage } from "../i18n";
import { useKeys } from "../keys";
import { may } from "../session";
import { useKeyset } from "../ui/keyset";
import { Button, Empty, Failed, Loading, PageHead } from "../ui/parts";
import { afterPaint } from "../ui/after-paint";
import { PlainLink } from "../ui/plain-link";
import { Search } from "../ui/search";
import { Bulk } from "./inbox/bulk";
import { Ahead, Way } from "./inbox/context";
import { Found } from "./inbox/found";
import { prefetchThread } from "./inbox/prefetch";
import { Row, type RowProps } from "./inbox/row";
import { FILTERS, viewNames, type View } from "./inbox/views";
import "./inbox.css";

const NEAR_MS = 250;
/** If a thread stays open for this time, the address of the screen changes to it. */
const ADDRESS_MS = 100;

export function useCounts(isOn = true) {
  return useQuery({ queryKey: ["conversations", "counts"], queryFn: countConversations, enabled: isOn, refetchInterval: 60_000 });
}

export function Inbox() {
  // The rows are memoised. This text makes them render again: each minute, and in a new language.
  const spoken = `${useLanguage()} ${useMinute()}`;
  const cache = useQueryClient();
  const search = useSearch({ from: "/shell/inbox" });
  const view = search.view ?? "waiting";
  const { id } = useParams({ strict: false }) as { id?: string };
  const navigate = useNavigate();
  const { history } = useRouter();
  // The mark in the list moves at once. Then the thread changes, and then the address.
  const [current, setCurrent] = useState(id);
  const [ahead, setAhead] = useState<string>();
  const [chosen, setChosen] = useState<Set<string> | null>(null);
  const [isAll, setAll] = useState(false);
  const counts = useCounts();
  const list = useKeyset<Conversation>(["conversations", "list", view], (cursor, signal) =>
    listConversations({ limit: 50, ...FILTERS[view], ...(cursor ? { cursor } : {}) }, signal),
  );
  const rows = useMemo(() => list.query.data?.pages.flatMap((page) => page.data) ?? [], [list.query.data]);
  const waiting = counts.data?.waiting ?? 0;
  useEffect(() => {
    if (waiting) document.title = `(${waiting > 99 ? "99+" : waiting}) ${t("Inbox")} · crm-api`;
  });
  const latest = useRef({ rows, current, id });
  latest.current = { rows, current, id };
  const turns = useRef(0);
  useEffect(() => {
    setCurrent(id);
    setAhead(undefined);
  }, [id]);
  const open = useCallback((to: string) => {
    flushSync(() => setCurrent(to));
    const turn = ++turns.current;
    const { href } = history.location;
    // A later step to another conversation, or a change to another screen, cancels this step.
    const isLast = () => turn === turns.current && href === history.location.href;
    const follow = () => isLast() && void navigate({ to: "/inbox/$id", params: { id: to }, search: ({ message: _gone, ...was }) => was });
    // Render the thread after the mark is painted, and only for the last of several quick presses.
    afterPaint(() => {
      if (!latest.current.id) return follow();
      if (!isLast()) return;
      setAhead(to);
      setTimeout(follow, ADDRESS_MS);
    });
  }, [navigate, history]);
  const near = useCallback((row: Conversation) => prefetchThread(cache, row), [cache]);
  const step = useCallback((by: number) => {
    const { rows: all, current: at } = latest.current;
    const place = all.findIndex((one) => one.id === at);
    const to = all[Math.max(0, Math.min(all.length - 1, place < 0 ? 0 : place + by))];
    if (!to) return;
    document.querySelector(`[data-row="${to.id}"]`)?.scrollIntoView({ block: "nearest" });
    open(to.id);
  }, [open]);
  useEffect(() => {
    const place = rows.findIndex((one) => one.id === current);
    const timer = setTimeout(() => [rows[place + 1], rows[place - 1]].forEach((one) => one && near(one)), NEAR_MS);
    return () => clearTimeout(timer);
  }, [rows, current, near]);
  const way = useMemo(() => ({
    isHere: (one: string) => latest.current.current === one,
    next: (from: string) => {
      const { rows: all } = latest.current;
      const place = all.findIndex((one) => one.id === from);
      const to = all[place + 1] ?? all[place - 1];
      if (to) open(to.id);
      else void navigate({ to: "/inbox", search: (was) => was });
    },
  }), [open, navigate]);
  const choose = useCallback((one: string) => setChosen((was) => {
    const all = new Set(was ?? []);
    if (!all.delete(one)) all.add(one);
    return all;
  }), []);
  const field = useRef<HTMLDivElement>(null);
  const setQ = useCallback((q: string) => void navigate({ to: "/inbox", search: ({ q: _q, message: _m, ...was }) => (q ? { ...was, q } : was), replace: true }), [navigate]);
  useKeys(t("Inbox"), [
    { key: "j", name: t("Next conversation"), run: () => step(1) },
    { key: "k", name: t("Conversation before"), run: () => step(-1) },
    { key: "/", name: t("Search conversations and messages"), run: () => field.current?.querySelector("input")?.focus() },
    { key: "x", name: t("Choose this conversation, to change many"), run: may("messages:send") ? () => current && choose(current) : undefined },
  ]);
  const address = new URLSearchParams(Object.entries(search).filter(([name, one]) => one && name !== "message") as [string, string][]).toString();
  const tail = address ? `?${address}` : "";
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = list.query;
  const more = useMemo(() => hasNextPage && (
    <li className="more">
      <Button busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>{t("Show more")}</Button>
    </li>
  ), [hasNextPage, isFetchingNextPage, fetchNextPage, spoken]);
  const endBulk = () => (setChosen(null), setAll(false));
  return (
    <Way.Provider value={way}>
      <div className={id ? "inbox inbox-open" : "inbox"}>
        <div className="inbox-list">
          <PageHead
            title={t("Inbox")}
            actions={may("messages:send") && !search.q && <Button kind="quiet" aria-pressed={chosen !== null} onClick={() => (chosen ? endBulk() : setChosen(new Set()))}>{t("Choose")}</Button>}
          />
          <div className="inbox-search" ref={field}>
            <Search label={t("Search conversations and messages")} value={search.q ?? ""} onChange={setQ} />
          </div>
          {!search.q && (
            <Views view={view} counts={counts.data} />
          )}
          {chosen && !search.q && <Bulk ids={[...chosen]} filter={FILTERS[view]} isAll={isAll} onAll={setAll} onEnd={endBulk} />}
          {search.q ? (
            <Found q={search.q} current={current} message={search.message} search={tail} onOpen={open} spoken={spoken} />
          ) : list.query.isPending ? (
            <Loading lines={8} />
          ) : list.query.isLoadingError ? (
            <Failed error={list.query.error} again={() => void list.query.refetch()} />
          ) : rows.length === 0 ? (
            <Empty title={view === "waiting" ? t("Nobody waits") : t("Nothing here")}>
              {view === "waiting" ? t("Everybody has an answer. New replies appear here by themselves.") : t("Conversations of this kind appear here.")}
            </Empty>
          ) : (
            <Rows rows={rows} view={view} current={current} chosen={chosen} isAll={isAll} search={tail} onOpen={open} onChoose={choose} onNear={near} spoken={spoken}>
              {more}
            </Rows>
          )}
        </div>
        <Ahead.Provider value={ahead}><Outlet /></Ahead.Provider>
      </div>
    </Way.Provider>
  );
}

type RowsProps = Omit<RowProps, "row" | "isCurrent" | "isChosen"> & { rows: Conversation[]; current: string | undefined; chosen: Set<string> | null; isAll: boolean; children: ReactNode };

/** The rows of the list, memoised: a change of the thread does not render them again. */
const Rows = memo(function Rows({ rows, current, chosen, isAll, children, ...rest }: RowsProps) {
  return (
    <ul className="conversations">
      {rows.map((row) => <Row key={row.id} row={row} isCurrent={row.id === current} isChosen={chosen ? isAll || chosen.has(row.id) : undefined} {...rest} />)}
      {children}
    </ul>
  );
});

const Views = memo(function Views({ view, counts }: { view: View; counts: Counts | undefined }) {
  return (
    <div className="views" role="group" aria-label={t("Views")}>
      {viewNames().map(([name, text, figure]) => (
        <PlainLink key={name} href={name === "waiting" ? "/inbox" : `/inbox?view=${name}`} aria-current={view === name ? "true" : undefined}>
          {text}
          {figure && counts && counts[figure] > 0 && <span className="number">{count(counts[figure])}</span>}
        </PlainLink>
      ))}
    </div>
  );
});

export function NoConversation() {
  return (
    <div className="inbox-none">
      <Empty title={t("Choose a conversation")}>{t("Press J to open the next one, and ? for all keys.")}</Empty>
    </div>
  );
}
