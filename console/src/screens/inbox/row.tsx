/** One conversation in the list of the inbox. */
import { memo } from "react";
import type { Conversation } from "../../api/inbox";
import { ago, personName, phone } from "../../format";
import { t } from "../../i18n";
import { useVisitors } from "../../presence";
import { Badge } from "../../ui/parts";
import type { View } from "./views";

export type RowProps = {
  row: Conversation;
  view: View;
  isCurrent: boolean;
  /** Undefined while the user does not choose conversations. */
  isChosen: boolean | undefined;
  search: string;
  onOpen: (id: string) => void;
  onChoose: (id: string) => void;
  onNear: (row: Conversation) => void;
  spoken: string;
};

export const nameOf = (one: Conversation): string => (one.contact ? personName({ ...one.contact, phone: one.phone }) : phone(one.phone));

/** Show a row as a plain link. Fifty links of the router would delay each press of J. */
export const Row = memo(function Row({ row, view, isCurrent, isChosen, search, onOpen, onChoose, onNear }: RowProps) {
  const since = view === "waiting" || view === "mine" ? (row.waiting_since ?? row.last_message?.at) : row.last_message?.at;
  const isUnread = row.unread_count > 0;
  const name = nameOf(row);
  return (
    <li className="conversation-item">
      {isChosen !== undefined && (
        <input type="checkbox" aria-label={t("Choose {name}", { name })} checked={isChosen} onChange={() => onChoose(row.id)} />
      )}
      <a
        href={`/inbox/${row.id}${search}`}
        data-row={row.id}
        className={isUnread ? "conversation conversation-unread" : "conversation"}
        aria-current={isCurrent ? "true" : undefined}
        onMouseEnter={() => onNear(row)}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
          event.preventDefault();
          onOpen(row.id);
        }}
      >
        <span className="conversation-name">{name}</span>
        <time dateTime={since ?? ""}>{since ? ago(since) : ""}</time>
        <span className="conversation-text">
          {row.has_draft && <em>{t("Draft")} </em>}
          {row.last_message?.direction === "outgoing" && <span className="faint">{t("You:")} </span>}
          {row.last_message?.body_preview ?? t("No message yet")}
        </span>
        <span className="conversation-marks">
          <Visitors id={row.id} />
          {isUnread && <b className="number" aria-label={t("{n} unread", { n: row.unread_count })}>{row.unread_count}</b>}
          {row.flags.includes("opted_out") && <Badge tone="bad">{t("Opted out")}</Badge>}
          {row.flags.includes("opt_out_hold") && <Badge tone="hold">{t("On hold")}</Badge>}
          {row.assignee && <i title={row.assignee.name}>{row.assignee.name.slice(0, 2)}</i>}
        </span>
      </a>
    </li>
  );
});

function Visitors({ id }: { id: string }) {
  const [first] = useVisitors(id);
  if (!first) return null;
  return <i className="visitor" title={first.activity === "typing" ? t("{name} is writing", { name: first.name }) : t("{name} is looking at this", { name: first.name })}>{first.name.slice(0, 2)}</i>;
}
