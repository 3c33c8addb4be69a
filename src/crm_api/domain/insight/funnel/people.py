"""The people of a period with their first message, and what happened to each since."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from crm_api.domain.insight.measures.compiling import BEGINNING, END
from crm_api.domain.insight.measures.errors import PeriodError


class Stage(StrEnum):
    """A stage that a person can reach after a message.

    Attributes:
        MESSAGED: The person got the first message of a campaign.
        DELIVERED: The message was delivered.
        REPLIED: The person replied.
        APPOINTMENT_BOOKED: The person agreed to a date.
        QUOTE_SENT: The person got a quote.
        JOB_DONE: The work was done.
        INVOICE_PAID: The person paid an invoice.
    """

    MESSAGED = "messaged"
    DELIVERED = "delivered"
    REPLIED = "replied"
    APPOINTMENT_BOOKED = "appointment_booked"
    QUOTE_SENT = "quote_sent"
    JOB_DONE = "job_done"
    INVOICE_PAID = "invoice_paid"


@dataclass(frozen=True, kw_only=True)
class MessagedPeople:
    """Which people are followed; None does not filter.

    Attributes:
        since: Only first messages from this instant on.
        until: Only first messages before this instant.
    """

    since: datetime
    until: datetime
    campaign_id: UUID | None = None
    line_id: UUID | None = None
    list_id: UUID | None = None

    def check(self) -> None:
        """Refuse an empty period.

        Raises:
            PeriodError: The period ends before it begins.
        """
        if self.since >= self.until:
            raise PeriodError

    def values(self) -> dict[str, Any]:
        """Return the values of the parameters of ``events_sql``."""
        wanted = {name: getattr(self, name) for name in _FILTERS}
        given = {name: one for name, one in wanted.items() if one is not None}
        return {"since": self.since, "until": self.until, **given}


_FILTERS = {
    "campaign_id": "m.campaign_id = :campaign_id",
    "line_id": "g.line_id = :line_id",
    "list_id": "g.audience ->> 'list_id' = CAST(CAST(:list_id AS uuid) AS text)",
}


def events_sql(wanted: MessagedPeople) -> str:
    """Return the common tables ``first`` and ``event`` of a statement.

    ``first`` has each person once, with the first message of the period. ``event`` has the first
    time of each stage after this message. A merged duplicate is one person with its contact.
    """
    filters = [
        f"AND {condition}"
        for name, condition in _FILTERS.items()
        if getattr(wanted, name) is not None
    ]
    # The same period by the expression of an index. Without a bound it would be taken for strong.
    if wanted.since > BEGINNING:
        filters.append("AND coalesce(m.sent_at, m.due_at) >= :since")
    if wanted.until < END:
        filters.append("AND coalesce(m.sent_at, m.due_at) < :until")
    return f"""
    first AS MATERIALIZED (
        SELECT DISTINCT ON (1) coalesce(d.merged_into, m.contact_id) AS person, m.sent_at,
               m.delivered_at, m.replied_at
        FROM campaign_membership m
        JOIN campaign g ON g.id = m.campaign_id
        LEFT JOIN contact d ON d.id = m.contact_id
        WHERE m.step = 0 AND m.status IN ('sent', 'delivered')
          AND m.sent_at >= :since AND m.sent_at < :until {" ".join(filters)}
        ORDER BY 1, m.sent_at, m.id
    ), happened AS (
        SELECT coalesce(d.merged_into, s.contact_id) AS person, o.kind, o.occurred_at AS at
        FROM outcome o
        JOIN outcome_subject s ON s.outcome_id = o.id
        LEFT JOIN contact d ON d.id = s.contact_id
        WHERE o.reverses_id IS NULL AND o.occurred_at >= :since
          AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id)
    ), event AS (
        SELECT f.person, f.sent_at, 'messaged' AS stage, f.sent_at AS at FROM first f
        UNION ALL
        SELECT f.person, f.sent_at, 'delivered', f.delivered_at FROM first f
        WHERE f.delivered_at IS NOT NULL
        UNION ALL
        SELECT f.person, f.sent_at, 'replied', f.replied_at FROM first f
        WHERE f.replied_at IS NOT NULL
        UNION ALL
        SELECT f.person, f.sent_at, h.kind, min(h.at) FROM first f
        JOIN happened h ON h.person = f.person AND h.at >= f.sent_at
        GROUP BY f.person, f.sent_at, h.kind
    )"""
