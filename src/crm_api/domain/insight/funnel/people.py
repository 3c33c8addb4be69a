"""Build SQL that reads each person's first message, and when the person reached each stage."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from crm_api.domain.insight.measures.errors import PeriodError
from crm_api.domain.insight.measures.figure_request import BEGINNING, END


class Stage(StrEnum):
    """A stage of the funnel that a person can reach.

    Attributes:
        MESSAGED: The first message of a campaign was sent to the person.
        DELIVERED: The message was delivered.
        REPLIED: The person replied to the message.
        APPOINTMENT_BOOKED: The person agreed to the date of an appointment.
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
class PeopleFilter:
    """Which people the funnel or the cohorts count. A field that is None does not filter.

    Attributes:
        since: Only first messages that were sent at or after this instant count.
        until: Only first messages that were sent before this instant count.
    """

    since: datetime
    until: datetime
    campaign_id: UUID | None = None
    line_id: UUID | None = None
    list_id: UUID | None = None

    def check(self) -> None:
        """Check that the period from ``since`` to ``until`` is not empty.

        Raises:
            PeriodError: ``until`` is not after ``since``.
        """
        if self.since >= self.until:
            raise PeriodError

    def values(self) -> dict[str, Any]:
        """Return the values to bind to the SQL of this module: the period and the filters."""
        wanted = {name: getattr(self, name) for name in _FILTERS}
        given = {name: one for name, one in wanted.items() if one is not None}
        return {"since": self.since, "until": self.until, **given}


_FILTERS = {
    "campaign_id": "m.campaign_id = :campaign_id",
    "line_id": "g.line_id = :line_id",
    "list_id": "g.audience ->> 'list_id' = CAST(CAST(:list_id AS uuid) AS text)",
}
_TIMES = {Stage.MESSAGED: 1, Stage.DELIVERED: 2, Stage.REPLIED: 3}


def time_of(stage: Stage) -> str | None:
    """Return the SQL expression for the instant at which a person reached a stage of the funnel.

    In the complete SQL, ``f`` must be the alias of the table that ``first_message_sql`` defines.

    Returns:
        The expression. None if the stage is an outcome, such as ``quote_sent``: then
        ``outcome_stage_sql`` gives the instants.
    """
    place = _TIMES.get(stage)
    return None if place is None else f"f.times[{place}]"


def first_message_sql(wanted: PeopleFilter) -> str:
    """Return the SQL of the common table expression ``first``, which must be placed after ``WITH``.

    ``first`` has one row for each person who got the first message of a campaign in the period. If
    several campaigns sent a first message to the person, the earliest message counts. The columns
    are:

    - ``person``: the id of the contact; for a merged duplicate, the id of the primary contact.
    - ``sent_at``: when the message was sent.
    - ``times``: an array of three instants: when the message was sent, when it was delivered, and
      when the person replied. The last two may be NULL.
    """
    given = [name for name in _FILTERS if getattr(wanted, name) is not None]
    filters = [f"AND {_FILTERS[name]}" for name in given]
    # The conditions on the period use the expression of an index. For a period with only one limit,
    # the planner of PostgreSQL expects to read a third of the table. For a period with two limits,
    # it expects to read a small part. So, if the period has a beginning, the SQL contains both
    # limits.
    if wanted.since > BEGINNING:
        filters.append("AND coalesce(m.sent_at, m.due_at) >= :since")
    if wanted.since > BEGINNING or wanted.until < END:
        filters.append("AND coalesce(m.sent_at, m.due_at) < :until")
    campaign = "JOIN campaign g ON g.id = m.campaign_id"
    return f"""
    first AS MATERIALIZED (
        SELECT p.person, p.times[1] AS sent_at, p.times FROM (
            SELECT coalesce(d.merged_into, m.contact_id) AS person,
                   min(ARRAY[m.sent_at, m.delivered_at, m.replied_at]) AS times
            FROM campaign_membership m
            {campaign if {"line_id", "list_id"} & set(given) else ""}
            LEFT JOIN contact d ON d.id = m.contact_id AND d.merged_into IS NOT NULL
            WHERE m.step = 0 AND m.status IN ('sent', 'delivered') AND m.sent_at IS NOT NULL
              {" ".join(filters)}
            GROUP BY 1) p
    )"""


def outcome_stage_sql() -> str:
    """Return the SQL of the common table expression ``later``, with the outcomes of each person.

    An outcome is a result of the work with a person, such as ``quote_sent``. ``later`` has one row
    for each person and kind of outcome, with the instant of the earliest such outcome. Only
    outcomes after the person's first message count. The SQL reads the common table expression
    ``first`` (``first_message_sql``).
    """
    return """
    happened AS MATERIALIZED (
        SELECT coalesce(d.merged_into, s.contact_id) AS person, o.kind, o.occurred_at AS at
        FROM outcome o
        JOIN outcome_subject s ON s.outcome_id = o.id
        LEFT JOIN contact d ON d.id = s.contact_id AND d.merged_into IS NOT NULL
        WHERE o.reverses_id IS NULL AND o.occurred_at >= :since AND s.contact_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id)
    ), beside AS (
        -- The planner has no statistics for these tables, so a join would be a slow nested loop.
        -- The condition with `IS TRUE` uses a hash, because the planner cannot turn it into a join.
        -- The window function `min` then finds the first message of each person.
        SELECT u.person, u.kind, u.at, min(u.sent_at) OVER (PARTITION BY u.person) AS sent_at
        FROM (SELECT f.person, NULL AS kind, NULL AS at, f.sent_at FROM first f
              WHERE (f.person IN (SELECT h.person FROM happened h)) IS TRUE
              UNION ALL SELECT h.person, h.kind, h.at, NULL FROM happened h) u
    ), later AS (
        SELECT b.person, b.sent_at, b.kind AS stage, min(b.at) AS at FROM beside b
        WHERE b.at >= b.sent_at GROUP BY b.person, b.sent_at, b.kind
    )"""
