/**
 * The recipients of a campaign as one bar with a part for each status. The parts sum to the total.
 * Below the bar, a link for each status opens its recipients.
 */
import { Link } from "@tanstack/react-router";
import type { MembershipStatus, StatusCounts } from "../api/generated";
import { count, rate } from "../format";
import { RECIPIENT_STATUSES, recipientStatus } from "./words";
import "./truth.css";

function Parts({ counts, total }: { counts: Pick<StatusCounts, MembershipStatus>; total: number }) {
  return RECIPIENT_STATUSES.filter((one) => counts[one] > 0).map((one) => (
    <span key={one} className={`truth-${one}`} style={{ flexGrow: counts[one], flexBasis: 0 }} title={`${recipientStatus(one)}: ${count(counts[one])} (${rate(counts[one] / total)})`} />
  ));
}

export function TruthBar({ counts, total, label }: { counts: Pick<StatusCounts, MembershipStatus>; total: number; label: string }) {
  return (
    <div className="truth-bar" role="img" aria-label={label}>
      <Parts counts={counts} total={total} />
    </div>
  );
}

type Props = { counts: StatusCounts; total: number; id: string; current: string | undefined };

export function Truth({ counts, total, id, current }: Props) {
  const shown = RECIPIENT_STATUSES.filter((one) => counts[one] > 0 || ["delivered", "sent", "failed", "pending"].includes(one));
  const empty = RECIPIENT_STATUSES.filter((one) => !shown.includes(one));
  return (
    <div className="truth">
      <div className="truth-bar truth-tall" aria-hidden="true">
        <Parts counts={counts} total={total} />
      </div>
      <ul className="truth-legend">
        {shown.map((one) => (
          <li key={one}>
            <Link
              to="/campaigns/$id"
              params={{ id }}
              search={(was) => ({ ...was, status: current === one ? undefined : one })}
              aria-current={current === one ? "true" : undefined}
              resetScroll={false}
            >
              <i className={`truth-${one}`} aria-hidden="true" />
              <span>{recipientStatus(one)}</span>
              <b data-figure={one} data-value={counts[one]}>{count(counts[one])}</b>
              <small>{total ? rate(counts[one] / total) : ""}</small>
            </Link>
          </li>
        ))}
      </ul>
      {empty.map((one) => (
        <span key={one} className="hidden" data-figure={one} data-value={counts[one]}>
          {recipientStatus(one)}: {count(counts[one])}
        </span>
      ))}
    </div>
  );
}
