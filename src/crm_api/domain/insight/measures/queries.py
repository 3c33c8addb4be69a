"""The record queries of all measures: messages, replies, answers, costs, outcomes and credits.

A record query is SQL whose rows are the records that a measure counts (``record_query``).
"""

from dataclasses import replace
from datetime import timedelta

from crm_api.domain.campaigns.models import MESSAGE_HOUR, REPLY_MICROSECONDS
from crm_api.domain.campaigns.preview.message_sums import SEGMENT_PRICE
from crm_api.domain.insight.measures.dimensions import OF_TIME, PLACES
from crm_api.domain.insight.measures.models import ANSWERS_UNTIL, REPLIES_UNTIL
from crm_api.domain.insight.measures.record_query import RecordCopies, RecordQuery, StoredSums

MICROSECONDS = 1_000_000
"""The number of microseconds in a second. Measures of time use whole microseconds, because integers
are sorted fast."""
INFINITY = "CAST('infinity' AS timestamptz)"
_FIRST_STEP = "(m.step = 0 OR CAST(:all_steps AS boolean))"
_IN_PERIOD = "$period(coalesce(m.sent_at, m.due_at))$"


def messages(
    *,
    counted: str,
    where: str,
    first_step: bool,
    ripe_after: timedelta,
    amount: str = "CAST(NULL AS numeric)",
) -> RecordQuery:
    """Return the record query that selects messages of campaigns for a measure.

    Args:
        counted: The SQL condition for the messages of the numerator.
        where: The SQL condition for all selected messages.
        first_step: True to leave out follow-ups, unless the request has a filter or breakdown by
            step.
        ripe_after: The age at which a message is ripe.
        amount: The SQL expression for the column ``amount``.
    """
    steps = f"AND {_FIRST_STEP}" if first_step else ""
    hours = ripe_after // timedelta(hours=1)
    return RecordQuery(
        sql=f"""
        SELECT m.id, 'message' AS kind, coalesce(m.sent_at, m.due_at) AS at,
               ({counted}) AS counted, {amount} AS amount,
               coalesce(m.sent_at, m.due_at) + interval '{hours} hours' AS ripe_at,
               m.campaign_id, m.variant, m.step, m.contact_id, CAST(NULL AS text) AS source,
               CAST(NULL AS uuid) AS outcome_id, CAST(NULL AS uuid) AS list_id
        FROM campaign_membership m
        WHERE {where} {steps} {_IN_PERIOD}
        """
    )


def messages_with_sums(
    *,
    counted: str,
    where: str,
    first_step: bool,
    ripe_after: timedelta,
    sum_of_records: str,
    sum_of_counted: str,
) -> RecordQuery:
    """Return the result of ``messages``, with stored sums that can be read faster.

    The arguments that are not described here are the same as in ``messages``.

    Args:
        sum_of_records: The SQL expression for the denominator, such as ``t.sent``. In the SQL,
            ``t`` is a row of stored sums.
        sum_of_counted: The SQL expression for the numerator, such as ``t.delivered``.
    """
    query = messages(counted=counted, where=where, first_step=first_step, ripe_after=ripe_after)
    sums = StoredSums(
        records=sum_of_records,
        counted=sum_of_counted,
        is_first_step=first_step,
        ripe_after=ripe_after,
        summed_records=query.sql,
    )
    return replace(query, stored_sums=sums)


def replies(*, where: str, ripe_after: timedelta) -> RecordQuery:
    """Return the query that reads the time from each campaign message to the reply.

    The time is in the column ``amount``, in microseconds. Follow-ups are left out, unless the
    request has a filter or breakdown by step.

    Args:
        where: An SQL condition that selects only messages with a reply.
        ripe_after: How long after a message a reply to it still counts.
    """
    query = messages(
        counted="true",
        where=where,
        first_step=True,
        ripe_after=ripe_after,
        amount=f"{REPLY_MICROSECONDS}",
    )
    hours = ripe_after // timedelta(hours=1)
    changed = "m.id = ANY(ARRAY(SELECT c.membership_id FROM insight_reply_change c))"
    not_copied = (
        f"{MESSAGE_HOUR} >= :stored_until",
        f"{changed} AND {MESSAGE_HOUR} < :stored_until",
    )
    copies = RecordCopies(
        source="insight_reply st",
        columns=f"""st.id, 'message' AS kind, st.at, true AS counted, st.waited AS amount,
               st.at + interval '{hours} hours' AS ripe_at, CAST(NULL AS uuid) AS campaign_id,
               CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step, st.contact_id,
               CAST(NULL AS text) AS source, CAST(NULL AS uuid) AS outcome_id,
               CAST(NULL AS uuid) AS list_id""",
        is_current="""(st.id IN (SELECT c.membership_id FROM insight_reply_change c)) IS NOT TRUE
               $period(st.at)$""",
        not_copied=" UNION ALL ".join(f"{query.sql} AND {one}" for one in not_copied),
        until=REPLIES_UNTIL,
        breakdowns=(None, *OF_TIME, *PLACES),
    )
    return replace(query, copies=copies)


_ANSWER_COLUMNS = """'answer' AS kind, {at} AS at, true AS counted, {amount} AS amount,
               {infinity} AS ripe_at, CAST(NULL AS uuid) AS campaign_id,
               CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step, {contact_id},
               CAST(NULL AS text) AS source, CAST(NULL AS uuid) AS outcome_id,
               CAST(NULL AS uuid) AS list_id"""
_WAITED = "CAST(extract(epoch FROM a.occurred_at - w.at) * 1000000 AS bigint)"
# In this SQL, `a` is the answer of a user, and `w.at` is the instant of the person's first
# unanswered message before this answer.
_FIRST_UNANSWERED = """
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
# This SQL selects the messages `a` of conversations whose copied answers may be out of date.
# `OFFSET 0` makes PostgreSQL look up the conversations one by one, independently of the statistics
# of the tables.
_CHANGED_CONVERSATIONS = """(SELECT DISTINCT c.conversation_id FROM insight_answer_change c
                   WHERE c.at < :stored_until) s
        CROSS JOIN LATERAL (
            SELECT a.* FROM activity a WHERE a.conversation_id = s.conversation_id OFFSET 0) a"""


def select_answers(columns: str, *, source: str = "activity a", where: str = "") -> str:
    """Return the SQL that selects answers: messages of users to people who waited for an answer.

    Args:
        columns: The SQL of the columns. In the SQL, ``a`` is the answer, and ``w.at`` is the time
            of the person's first unanswered message before the answer.
        source: The table or subquery with the alias ``a``.
        where: Additional SQL conditions; each begins with ``AND``.
    """
    return f"SELECT {columns} FROM {source} {_FIRST_UNANSWERED} {where}"


def _answers(*, source: str = "activity a", where: str = "") -> str:
    columns = _ANSWER_COLUMNS.format(
        at="a.occurred_at", amount=_WAITED, infinity=INFINITY, contact_id="a.contact_id"
    )
    where = f"{where} $period(a.occurred_at)$"
    return select_answers(f"a.id, {columns}", source=source, where=where)


ANSWERS = RecordQuery(
    sql=_answers(),
    has_campaign=False,
    copies=RecordCopies(
        source="insight_answer st",
        columns="st.id, "
        + _ANSWER_COLUMNS.format(
            at="st.at", amount="st.waited", infinity=INFINITY, contact_id="st.contact_id"
        ),
        # With `IS NOT TRUE`, PostgreSQL reads the changed conversations once, and checks each
        # answer with a hash table. Without it, PostgreSQL would use a join, which is slower.
        is_current="""(st.conversation_id IN (
            SELECT c.conversation_id FROM insight_answer_change c WHERE c.at < :stored_until
        )) IS NOT TRUE $period(st.at)$""",
        not_copied=f"""{_answers(where="AND a.occurred_at >= :stored_until")}
        UNION ALL {
            _answers(source=_CHANGED_CONVERSATIONS, where="AND a.occurred_at < :stored_until")
        }""",
        until=ANSWERS_UNTIL,
    ),
)
"""The record query that selects the answers of users, with the time that each person waited."""

CENTS_PER_SEGMENT = int(SEGMENT_PRICE * 100)

_ATTEMPTS = f"""
        SELECT a.id, 'message' AS kind, a.accepted_at AS at, true AS counted,
               CAST(coalesce(a.segments, 1) * {CENTS_PER_SEGMENT} AS numeric) AS amount,
               {INFINITY} AS ripe_at, a.campaign_id, m.variant, m.step, m.contact_id,
               CAST(NULL AS text) AS source, CAST(NULL AS uuid) AS outcome_id,
               CAST(NULL AS uuid) AS list_id
        FROM send_attempt a LEFT JOIN campaign_membership m ON m.id = a.membership_id
        WHERE a.accepted_at IS NOT NULL $period(a.accepted_at)$
    """
_ENTERED_COSTS = """
        SELECT c.id, 'cost' AS kind, c.incurred_at AS at, true AS counted,
               CAST(c.amount_cents AS numeric) AS amount, c.incurred_at AS ripe_at,
               c.campaign_id, CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step,
               CAST(NULL AS uuid) AS contact_id, CAST(NULL AS text) AS source,
               CAST(NULL AS uuid) AS outcome_id, c.list_id
        FROM cost_entry c
        WHERE true $period(c.incurred_at)$
    """
COSTS = RecordQuery(
    sql=f"{_ATTEMPTS} UNION ALL {_ENTERED_COSTS}",
    stored_sums=StoredSums(
        records="t.accepted",
        counted="t.accepted",
        amount=f"t.segments * {CENTS_PER_SEGMENT}",
        summed_records=_ATTEMPTS,
        other_records=_ENTERED_COSTS,
    ),
)
"""The record query that selects each message that the provider accepted, at its price, and each
cost that was entered."""

SHARE = "round(k.numerator::numeric / k.denominator, 6)"
"""SQL: the share of an outcome that the credit ``k`` stores, such as 0.333333."""
# Reversed outcomes, and the reversals themselves, are left out.
_NOT_REVERSED = """o.reverses_id IS NULL
          AND NOT EXISTS (
              SELECT FROM outcome r WHERE r.reverses_id = o.id AND r.reverses_id IS NOT NULL)
          $period(o.occurred_at)$"""
# `OFFSET 0` makes PostgreSQL look up the outcomes one by one, independently of the statistics.
_CHANGED_OUTCOMES = """(SELECT DISTINCT c.outcome_id FROM insight_outcome_change c) h
        CROSS JOIN LATERAL (SELECT o.* FROM outcome o WHERE o.id = h.outcome_id OFFSET 0) o"""
_OUTCOME_IS_CURRENT = """(st.id IN (SELECT c.outcome_id FROM insight_outcome_change c)) IS NOT TRUE
               $period(st.at)$"""


def outcomes(kind: str) -> RecordQuery:
    """Return the query for all outcomes of one kind that were not reversed."""

    def select(source: str) -> str:
        return f"""
        SELECT o.id, 'outcome' AS kind, o.occurred_at AS at, true AS counted,
               CAST(o.amount_cents AS numeric) AS amount, o.occurred_at AS ripe_at,
               CAST(NULL AS uuid) AS campaign_id, CAST(NULL AS smallint) AS variant,
               CAST(NULL AS smallint) AS step, s.contact_id, o.source, o.id AS outcome_id,
               CAST(NULL AS uuid) AS list_id
        FROM {source} LEFT JOIN outcome_subject s ON s.outcome_id = o.id
        WHERE o.kind = '{kind}' AND {_NOT_REVERSED}
        """

    copies = RecordCopies(
        source="insight_outcome st",
        columns=f"st.id, {_copied_columns('outcome', 'st.amount_cents')}",
        is_current=f"st.kind = '{kind}' AND {_OUTCOME_IS_CURRENT}",
        not_copied=select(_CHANGED_OUTCOMES),
        breakdowns=PLACES,
    )
    return RecordQuery(sql=select("outcome o"), has_campaign=False, copies=copies)


def credits_of(kind: str, *, amount: str, where: str = "true") -> RecordQuery:
    """Return the record query that selects the credits of outcomes of one kind.

    Args:
        kind: The kind of the outcomes, such as ``invoice_paid``.
        amount: The SQL expression for the column ``amount``: the credited cents, or the credited
            share of the outcome.
    """

    def select(source: str) -> str:
        return f"""
        SELECT k.id, 'credit' AS kind, o.occurred_at AS at, true AS counted,
               CAST({amount} AS numeric) AS amount, o.occurred_at AS ripe_at, k.campaign_id,
               v.position AS variant, k.step, s.contact_id, o.source, o.id AS outcome_id,
               CAST(NULL AS uuid) AS list_id
        FROM {source}
        JOIN outcome_credit k ON k.outcome_id = o.id AND k.rules_version = :rules_version
        LEFT JOIN outcome_subject s ON s.outcome_id = o.id
        LEFT JOIN campaign_variant v ON v.campaign_id = k.campaign_id AND v.name = k.variant
        WHERE o.kind = '{kind}' AND {where} AND {_NOT_REVERSED}
        """

    copies = RecordCopies(
        source="""insight_outcome st
        JOIN outcome_credit k ON k.outcome_id = st.id AND k.rules_version = :rules_version""",
        columns=f"k.id, {_copied_columns('credit', amount)}",
        is_current=f"st.kind = '{kind}' AND {where} AND {_OUTCOME_IS_CURRENT}",
        not_copied=select(_CHANGED_OUTCOMES),
        breakdowns=PLACES,
    )
    return RecordQuery(sql=select("outcome o"), copies=copies)


def _copied_columns(kind: str, amount: str) -> str:
    """Return the SQL of a record query's columns, except ``id``, for the table ``insight_outcome``.

    Args:
        kind: What each row is: an ``outcome`` or a ``credit``.
    """
    return f"""'{kind}' AS kind, st.at, true AS counted, CAST({amount} AS numeric) AS amount,
               st.at AS ripe_at, CAST(NULL AS uuid) AS campaign_id,
               CAST(NULL AS smallint) AS variant, CAST(NULL AS smallint) AS step, st.contact_id,
               st.source, st.id AS outcome_id, CAST(NULL AS uuid) AS list_id"""
