"""The bases of measures. A base is an SQL query whose rows are the records that a measure counts.

All bases have the same columns, so that all measures and breakdowns are compiled in the same way:
``id``, ``kind``, ``at``, ``counted``, ``amount``, ``ripe_at``, ``campaign_id``, ``variant``,
``step``, ``contact_id``, ``source``, ``outcome_id``, ``list_id``. The conditions that limit ``at``
to a period are inside the query, so that PostgreSQL can use an index for them.

From the instant ``ripe_at``, a record is ripe: it can no longer be added to the numerator. Before
this instant, it is reported as unripe. A record with the value ``infinity`` is never reported as
unripe.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from crm_api.domain.campaigns.models import MESSAGE_HOUR, REPLY_MICROSECONDS
from crm_api.domain.campaigns.preview.message_sums import SEGMENT_PRICE
from crm_api.domain.insight.measures.answer_models import ANSWERS_UNTIL
from crm_api.domain.insight.measures.dimensions import OF_TIME, PLACES, Dimension
from crm_api.domain.insight.measures.reply_models import REPLIES_UNTIL

MICROSECONDS = 1_000_000
"""The number of microseconds in a second. Measures of time count whole microseconds, because
integers are sorted fast.
"""
FOREVER = "CAST('infinity' AS timestamptz)"


class RecordKind(StrEnum):
    """The kind of the records from which a figure is computed.

    Attributes:
        MESSAGE: A message of a campaign to a person; `id` is the id of the recipient.
        OUTCOME: An outcome.
        CREDIT: The share of an outcome that is credited to a message, or to no message; `id` is the
            id of the credit.
        ANSWER: An answer of the office to a person; `id` is the id of the message.
        COST: A cost that was entered.
    """

    MESSAGE = "message"
    OUTCOME = "outcome"
    CREDIT = "credit"
    ANSWER = "answer"
    COST = "cost"


class RecordPart(StrEnum):
    """The part of a quotient of two measures to which a record belongs."""

    NUMERATOR = "numerator"
    DENOMINATOR = "denominator"


@dataclass(frozen=True, kw_only=True)
class KeptSums:
    """How to compute figures from the kept sums: the table ``insight_tally`` (alias ``t``).

    Triggers update the sums when a record changes. So figures from the sums equal figures from the
    records.

    Attributes:
        records: The SQL expression for the number of records that a row ``t`` counts.
        counted: The SQL expression for the number of these records in the numerator.
        amount: The SQL expression for the sum of their amounts.
        is_first_step: Whether only messages of the first step count if the caller names no step.
        ripe: How long after its time a record may still be added to the numerator; None if the
            numerator never changes later.
        rows: SQL that selects the same records one by one, with the columns of a base. It is used
            for the parts of a period for which the sums cannot be used.
        beside: SQL that selects the other records of the base, which the table does not count; None
            if there are none.
    """

    records: str
    counted: str
    amount: str = "CAST(NULL AS integer)"
    is_first_step: bool = False
    ripe: timedelta | None = None
    rows: str
    beside: str | None = None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A table (alias ``st``) in which a job stores records, so that figures are read fast.

    Each record is stored with the place (ZIP, city and source) of its person.

    Attributes:
        source: The SQL of the table ``st`` and its joins.
        columns: The SQL that selects the columns of a base (listed at the top of this module) from
            ``st``.
        current: The SQL condition for the rows to read: they are up to date and in the period.
        rest: SQL that selects the other records from their original tables: records that are not
            stored yet, or that were changed after they were stored.
        until: The SQL of the instant before which all records are stored. ``current`` and ``rest``
            use it as the parameter ``:settled``. None if they do not need it.
        breakdowns: The table is read only for these breakdowns, and only without a filter by
            campaign, phone line, list or step. An element None means figures without a breakdown.
            If ``breakdowns`` itself is None, the table is always read.
    """

    source: str
    columns: str
    current: str
    rest: str
    until: str | None = None
    breakdowns: Collection[Dimension | None] | None = None

    @property
    def records(self) -> str:
        """The SQL of all records, with the columns of a base."""
        return self._select(self.columns, "true")

    @property
    def unplaced(self) -> str:
        """The SQL of the records whose ZIP, city and source are not stored, as a base."""
        return self._select(self.columns, "NOT st.is_placed")

    def placed(self, by: str) -> str:
        """Return the SQL of the records whose ZIP, city and source are stored.

        Besides the columns of a base, it has the column ``place``: the key of the breakdown ``by``,
        which is ``zip``, ``city`` or ``source``.
        """
        return f"""
        SELECT {self.columns}, st.{by} AS place FROM {self.source}
        WHERE st.is_placed AND {self.current}
        """

    def _select(self, columns: str, among: str) -> str:
        return f"""
        SELECT {columns} FROM {self.source} WHERE {among} AND {self.current}
        UNION ALL {self.rest}
        """


@dataclass(frozen=True, kw_only=True)
class Base:
    """The records that a measure counts (the base of the measure), and how to read them fast.

    Attributes:
        sql: The SQL query for the records, with the columns that are listed at the top of this
            module. ``in_period`` replaces ``$period(…)$`` in the query by the conditions on the
            period.
        has_campaign: Whether the records belong to a campaign, variant and step.
        has_person: Whether the records belong to a person.
        kept: How to compute figures from sums that triggers keep; None if no sums are kept.
        stored: A table with copies of the records, from which figures are read faster; None if
            there is none.
    """

    sql: str
    has_campaign: bool = True
    has_person: bool = True
    kept: KeptSums | None = None
    stored: Stored | None = None


_FIRST_STEP = "(m.step = 0 OR CAST(:all_steps AS boolean))"


_PERIOD = re.compile(r"\$period\((.*?)\)\$")
_IN_PERIOD = "$period(coalesce(m.sent_at, m.due_at))$"


def in_period(sql: str, *, since: str | None, until: str | None) -> str:
    """Return the SQL of a base with the conditions that limit its records to a period.

    The conditions replace each ``$period(…)$``, which names the column to limit. If a bound is
    None, there is no condition for it. A condition that is always true would not do: with it, the
    planner of PostgreSQL would expect too few records.

    Args:
        sql: The SQL of a base.
        since: The SQL of the beginning of the period; None if there is none.
        until: The SQL of the end of the period, exclusive; None if there is none.
    """
    bounds = [(sign, one) for sign, one in ((">=", since), ("<", until)) if one is not None]
    return _PERIOD.sub(
        lambda found: " ".join(f"AND {found[1]} {sign} {one}" for sign, one in bounds), sql
    )


def messages(
    *,
    counted: str,
    among: str,
    first_step: bool,
    ripe: timedelta,
    amount: str = "CAST(NULL AS numeric)",
) -> Base:
    """Return the base (the query) that selects campaign messages to recipients.

    Args:
        counted: The SQL condition of the messages in the numerator.
        among: The SQL condition of the messages in the denominator.
        first_step: True: if the caller names no step, count only the first message of a campaign,
            so that each person counts once.
        ripe: How long a message may still be added to the numerator after it was sent.
        amount: The SQL expression for the column ``amount``; by default NULL.
    """
    steps = f"AND {_FIRST_STEP}" if first_step else ""
    hours = ripe // timedelta(hours=1)
    return Base(
        sql=f"""
        SELECT m.id, 'message' AS kind, coalesce(m.sent_at, m.due_at) AS at,
               ({counted}) AS counted, {amount} AS amount,
               coalesce(m.sent_at, m.due_at) + interval '{hours} hours' AS ripe_at,
               m.campaign_id, m.variant, m.step, m.contact_id, CAST(NULL AS text) AS source,
               CAST(NULL AS uuid) AS outcome_id, CAST(NULL AS uuid) AS list_id
        FROM campaign_membership m
        WHERE {among} {steps} {_IN_PERIOD}
        """
    )


def kept_messages(
    *,
    counted: str,
    among: str,
    first_step: bool,
    ripe: timedelta,
    kept_records: str,
    kept_counted: str,
) -> Base:
    """Return a base like ``messages``, but with figures from the kept sums (``insight_tally``).

    Args:
        counted: The SQL condition of the messages in the numerator.
        among: The SQL condition of the messages in the denominator.
        first_step: True: if the caller names no step, count only the first message of a campaign,
            so that each person counts once.
        ripe: How long a message may still be added to the numerator after it was sent.
        kept_records: The SQL expression for the number of messages that a row of ``insight_tally``
            counts.
        kept_counted: The SQL expression for the number of these messages in the numerator.
    """
    base = messages(counted=counted, among=among, first_step=first_step, ripe=ripe)
    kept = KeptSums(
        records=kept_records,
        counted=kept_counted,
        is_first_step=first_step,
        ripe=ripe,
        rows=base.sql,
    )
    return replace(base, kept=kept)


def replies(*, among: str, ripe: timedelta) -> Base:
    """Return the base (the query) that selects the first messages of campaigns that got a reply.

    The column ``amount`` is the time from the message to its reply, in microseconds.

    Args:
        among: The SQL condition for the messages to select.
        ripe: How long after a message its reply may still come.
    """
    base = messages(
        counted="true", among=among, first_step=True, ripe=ripe, amount=f"{REPLY_MICROSECONDS}"
    )
    hours = ripe // timedelta(hours=1)
    changed = "m.id = ANY(ARRAY(SELECT c.membership_id FROM insight_reply_change c))"
    rest = (f"{MESSAGE_HOUR} >= :settled", f"{changed} AND {MESSAGE_HOUR} < :settled")
    stored = Stored(
        source="insight_reply st",
        columns=f"""st.id, 'message' AS kind, st.at, true AS counted, st.waited AS amount,
               st.at + interval '{hours} hours' AS ripe_at, CAST(NULL AS uuid) AS campaign_id,
               CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step, st.contact_id,
               CAST(NULL AS text) AS source, CAST(NULL AS uuid) AS outcome_id,
               CAST(NULL AS uuid) AS list_id""",
        current="""(st.id IN (SELECT c.membership_id FROM insight_reply_change c)) IS NOT TRUE
               $period(st.at)$""",
        rest=" UNION ALL ".join(f"{base.sql} AND {one}" for one in rest),
        until=REPLIES_UNTIL,
        breakdowns=(None, *OF_TIME, *PLACES),
    )
    return replace(base, stored=stored)


ANSWER_COLUMNS = """'answer' AS kind, {at} AS at, true AS counted, {amount} AS amount,
               {forever} AS ripe_at, CAST(NULL AS uuid) AS campaign_id,
               CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step, {contact_id},
               CAST(NULL AS text) AS source, CAST(NULL AS uuid) AS outcome_id,
               CAST(NULL AS uuid) AS list_id"""
_WAITED = "CAST(extract(epoch FROM a.occurred_at - w.at) * 1000000 AS bigint)"
# The person's first unanswered message before the answer `a` of a user.
_ASKED = """
        CROSS JOIN LATERAL (
            SELECT min(i.occurred_at) AS at FROM activity i
            WHERE i.conversation_id = a.conversation_id AND i.kind = 'message'
              AND i.direction = 'incoming' AND i.occurred_at <= a.occurred_at
              AND i.occurred_at > coalesce((
                  SELECT max(p.occurred_at) FROM activity p
                  WHERE p.conversation_id = a.conversation_id AND p.kind = 'message'
                    AND p.direction = 'outgoing' AND p.occurred_at < a.occurred_at),
                  '-infinity')) w
        WHERE a.kind = 'message' AND a.direction = 'outgoing' AND a.origin IN ('manual', 'provider')
          AND a.status IN ('sent', 'delivered') AND w.at IS NOT NULL"""
CONVERSATIONS = """(SELECT DISTINCT c.conversation_id FROM insight_answer_change c
                   WHERE c.at < :settled) s
        CROSS JOIN LATERAL (
            SELECT a.* FROM activity a WHERE a.conversation_id = s.conversation_id OFFSET 0) a"""
"""SQL: the messages ``a`` of conversations whose stored answers may be out of date.

``OFFSET 0`` makes PostgreSQL look up the conversations one by one, even if the statistics of the
tables suggest another plan.
"""


def select_answers(columns: str, *, source: str = "activity a", among: str = "") -> str:
    """Return the SQL that selects the answers of users to messages of people.

    Args:
        columns: The columns to select. They can use two aliases: ``a`` is the message that is the
            answer, and ``w.at`` is the instant of the person's first unanswered message.
        source: The SQL of the messages among which the answers are searched, with the alias ``a``.
        among: Additional SQL conditions.
    """
    return f"SELECT {columns} FROM {source} {_ASKED} {among}"


def _answers(*, source: str = "activity a", among: str = "") -> str:
    columns = ANSWER_COLUMNS.format(
        at="a.occurred_at", amount=_WAITED, forever=FOREVER, contact_id="a.contact_id"
    )
    among = f"{among} $period(a.occurred_at)$"
    return select_answers(f"a.id, {columns}", source=source, among=among)


ANSWERS = Base(
    sql=_answers(),
    has_campaign=False,
    stored=Stored(
        source="insight_answer st",
        columns="st.id, "
        + ANSWER_COLUMNS.format(
            at="st.at", amount="st.waited", forever=FOREVER, contact_id="st.contact_id"
        ),
        # The planner makes no join of `IS NOT TRUE`, but a hash.
        current="""(st.conversation_id IN (
            SELECT c.conversation_id FROM insight_answer_change c WHERE c.at < :settled
        )) IS NOT TRUE $period(st.at)$""",
        rest=f"""{_answers(among="AND a.occurred_at >= :settled")}
        UNION ALL {_answers(source=CONVERSATIONS, among="AND a.occurred_at < :settled")}""",
        until=ANSWERS_UNTIL,
    ),
)

CENTS_PER_SEGMENT = int(SEGMENT_PRICE * 100)

_ATTEMPTS = f"""
        SELECT a.id, 'message' AS kind, a.accepted_at AS at, true AS counted,
               CAST(coalesce(a.segments, 1) * {CENTS_PER_SEGMENT} AS numeric) AS amount,
               {FOREVER} AS ripe_at, a.campaign_id, m.variant, m.step, m.contact_id,
               CAST(NULL AS text) AS source, CAST(NULL AS uuid) AS outcome_id,
               CAST(NULL AS uuid) AS list_id
        FROM send_attempt a LEFT JOIN campaign_membership m ON m.id = a.membership_id
        WHERE a.accepted_at IS NOT NULL $period(a.accepted_at)$
    """
_ENTRIES = """
        SELECT c.id, 'cost' AS kind, c.incurred_at AS at, true AS counted,
               CAST(c.amount_cents AS numeric) AS amount, c.incurred_at AS ripe_at,
               c.campaign_id, CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step,
               CAST(NULL AS uuid) AS contact_id, CAST(NULL AS text) AS source,
               CAST(NULL AS uuid) AS outcome_id, c.list_id
        FROM cost_entry c
        WHERE true $period(c.incurred_at)$
    """
# Each message that the provider accepted, at its price, and each cost that was entered.
COSTS = Base(
    sql=f"{_ATTEMPTS} UNION ALL {_ENTRIES}",
    kept=KeptSums(
        records="t.accepted",
        counted="t.accepted",
        amount=f"t.segments * {CENTS_PER_SEGMENT}",
        rows=_ATTEMPTS,
        beside=_ENTRIES,
    ),
)
