/** The results of a search: conversations, then messages. A message links to its thread. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Fragment } from "react";
import { data } from "../../api/client";
import { listAllMessages, type MessageRead } from "../../api/generated";
import { listConversations, type Conversation } from "../../api/inbox";
import { phone } from "../../format";
import { t } from "../../i18n";
import { Button, Empty, Failed, Loading, Time } from "../../ui/parts";
import { useKeyset } from "../../ui/keyset";
import { Row } from "./row";

type Props = { q: string; current: string | undefined; message: string | undefined; search: string; onOpen: (id: string) => void; spoken: string };

const ignore = () => undefined;

export function Found({ q, current, message, search, onOpen, spoken }: Props) {
  const people = useQuery({
    queryKey: ["conversations", "found", q],
    queryFn: ({ signal }) => listConversations({ q, limit: 8 }, signal),
    staleTime: 30_000,
  });
  const messages = useKeyset<MessageRead>(["messages", "found", q], (cursor, signal) =>
    data(listAllMessages({ query: { q, limit: 30, ...(cursor ? { cursor } : {}) }, signal, throwOnError: true })),
  );
  const hits = messages.query.data?.pages.flatMap((page) => page.data) ?? [];
  const rows: Conversation[] = people.data?.data ?? [];
  if (people.isPending || messages.query.isPending) return <Loading lines={8} />;
  if (people.isLoadingError || messages.query.isLoadingError) {
    return <Failed error={people.error ?? messages.query.error} again={() => void (people.refetch(), messages.query.refetch())} />;
  }
  if (!rows.length && !hits.length) {
    return <Empty title={t("Nothing found")}>{t("Search for a name, a number, or words of a message. Texts of campaigns are not searched.")}</Empty>;
  }
  const words = q.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return (
    <div className="conversations" role="region" aria-label={t("Search results")}>
      {rows.length > 0 && (
        <>
          <h2 className="found-head">{t("Conversations")}</h2>
          <ul>
            {rows.map((row) => (
              <Row key={row.id} row={row} view="open" isCurrent={row.id === current && !message} isChosen={undefined} search={search} onOpen={onOpen} onChoose={ignore} onNear={ignore} spoken={spoken} />
            ))}
          </ul>
        </>
      )}
      {hits.length > 0 && (
        <>
          <h2 className="found-head">{t("Messages")}</h2>
          <ul>
            {hits.map((hit) => (
              <li key={hit.id}>
                {hit.conversation_id && (
                  <Link to="/inbox/$id" params={{ id: hit.conversation_id }} search={(was) => ({ ...was, message: hit.id })} className="conversation" aria-current={hit.id === message ? "true" : undefined} activeProps={{}}>
                    <span className="conversation-name">{hit.direction === "outgoing" ? t("To {phone}", { phone: phone(hit.phone) }) : phone(hit.phone)}</span>
                    <Time at={hit.occurred_at} relative />
                    <span className="conversation-text found-text"><Marked text={around(hit.body ?? "", words)} words={words} /></span>
                  </Link>
                )}
              </li>
            ))}
            {messages.query.hasNextPage && (
              <li className="more"><Button busy={messages.query.isFetchingNextPage} onClick={() => void messages.query.fetchNextPage()}>{t("Show more")}</Button></li>
            )}
          </ul>
        </>
      )}
    </div>
  );
}

/** Return the part of a long message that starts just before the first word that was found. */
function around(text: string, words: string[]): string {
  const places = words.map((word) => text.toLowerCase().indexOf(word)).filter((at) => at >= 0);
  const first = places.length ? Math.min(...places) : 0;
  return first < 60 ? text : `…${text.slice(first - 40)}`;
}

function Marked({ text, words }: { text: string; words: string[] }) {
  if (!words.length) return text;
  const pattern = new RegExp(`(${words.join("|")})`, "giu");
  return text.split(pattern).map((part, at) => (at % 2 ? <mark key={at}>{part}</mark> : <Fragment key={at}>{part}</Fragment>));
}
