"""Store the results of attempts to send messages.

A result changes two rows: the attempt, and the message in the timeline. A result comes from one of
these sources:

- the provider's response to the request
- a later look-up at the provider
- a delivery report of the provider
- a user's decision
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.platform.database import typed_rows
from crm_api.platform.setting_fields import MAX_SKEW_SECONDS

# The statuses sent, failed and delivered have the ranks 1, 2 and 3. The rank of a message never
# decreases. If two reports have the same rank, the report that is earlier by the provider's clock
# is stored. So the order of arrival does not matter (Sending, rule 13).
_RANK = "array_position(ARRAY['sent', 'failed', 'delivered'], {status})"

_STORED_WINS = f"""(a.provider_message_id = x.message_id AND (
    {_RANK.format(status="a.status")} > {_RANK.format(status="x.status")}
    OR (a.status = x.status AND a.status <> 'sent' AND x.reported_at >= a.reported_at)))"""

# SQL expression of the new status of the attempt. A repeated report does not change the status, and
# then no row is written.
_STATUS = f"""CASE WHEN {_STORED_WINS} THEN a.status
                WHEN x.has_no_id AND a.status IN ('parked', 'not_found') THEN 'parked'
                WHEN a.has_no_id AND x.status = 'not_found' THEN 'parked'
                ELSE x.status END"""

_CODE = f"CASE WHEN {_STORED_WINS} THEN a.error_code ELSE x.code END"

_REPORTED = f"CASE WHEN {_STORED_WINS} THEN a.reported_at ELSE x.reported_at END"

# SQL expression of the time of acceptance. A message belongs to the day of its acceptance, by the
# provider's clock (Sending, rule 9). The acceptance must be between the gate (the last check before
# the call of the provider) and this statement, plus or minus the allowed difference of the clocks.
# An instant outside this time is replaced by the nearer bound, so that the message does not belong
# to a wrong day. If there are two instants for one message, the earlier is stored, so that the
# order of reports does not matter.
_BOUNDED = f"""CASE WHEN x.accepted_at IS NOT NULL THEN least(
                greatest(x.accepted_at, a.called_at - interval '{MAX_SKEW_SECONDS} s'),
                greatest(a.called_at, CAST(:now AS timestamptz))
                    + interval '{MAX_SKEW_SECONDS} s') END"""

_ACCEPTED = f"""CASE WHEN a.provider_message_id = x.message_id
                THEN least({_BOUNDED}, a.accepted_at) ELSE {_BOUNDED} END"""

_IS_NEWS = f"""(a.token IS NOT NULL OR (a.status, a.error_code, a.reported_at, a.accepted_at,
                a.provider_message_id, a.is_matched, a.has_no_id, a.error_detail)
            IS DISTINCT FROM ({_STATUS}, {_CODE}, {_REPORTED}, {_ACCEPTED},
                x.message_id, x.is_matched, a.has_no_id OR x.has_no_id, x.detail))"""

# SQL expression that derives the status of a message from the status of its attempt. After an
# attempt that certainly sent nothing, the message is queued for the next attempt. The status
# `not_found` is only inferred. After it, a campaign message is queued again, but any other message
# fails.
_SHOWN = """CASE {attempt}.status
                WHEN 'claimed' THEN 'sending' WHEN 'calling' THEN 'sending'
                WHEN 'parked' THEN 'unknown' WHEN 'refused' THEN 'failed'
                WHEN 'released' THEN 'queued'
                WHEN 'not_found' THEN CASE {attempt}.kind WHEN 'campaign' THEN 'queued'
                                      ELSE 'failed' END
                WHEN 'failed' THEN CASE t.status WHEN 'undelivered' THEN t.status
                                   ELSE 'failed' END
                ELSE {attempt}.status END"""

_RANK_SHOWN = """CASE {attempt}.status WHEN 'unknown' THEN 2 WHEN 'parked' THEN 2
                WHEN 'sent' THEN 3 WHEN 'refused' THEN 4 WHEN 'failed' THEN 4
                WHEN 'delivered' THEN 5 ELSE 1 END"""

_SEND_AFTER = """CASE WHEN {attempt}.status = 'released' AND {attempt}.kind <> 'campaign'
                THEN CAST(:send_after AS timestamptz) END"""

# SQL condition that several attempts share the row of one message, and that another attempt may
# have been accepted or may still be sent. Then the row of the message must show the best attempt.
# The statement `RECORD` cannot see its own changes to the attempts, so a later statement, `SHOW`,
# writes such rows.
_IS_SHARED = """EXISTS (
            SELECT 1 FROM send_attempt o
            WHERE o.phone = a.phone AND o.activity_id = a.activity_id AND o.id <> a.id
              AND o.status NOT IN ('released', 'not_found'))"""


@dataclass(frozen=True, kw_only=True)
class AttemptOutcome:
    """The new state of one attempt, to be written to the ledger.

    Attributes:
        status: The attempt's new status.
        seen: The status that the attempt must have in the database; if its status has changed, the
            outcome is not stored. None if the new status is certain (``ARCHITECTURE.md``, "Sending,
            rule 6").
        message_id: The provider's id of the message, if the new status is sent, failed or
            delivered.
        is_matched: True if the service found ``message_id`` by a comparison of the attempt with the
            provider's messages. False if a response gave the id.
        accepted_at: When the provider accepted the message, by the provider's clock.
        reported_at: When the message was delivered or failed, by the provider's clock.
        has_no_id: True if the provider accepted the message but gave no usable id. Then the outcome
            is stored even if the attempt is ``unknown``, ``parked`` or ``not_found``.
        shown: The final status that the provider reported; None if it reported none. If ``shown``
            is ``undelivered``, ``status`` is ``failed``.
    """

    attempt_id: UUID
    status: str
    seen: str | None = None
    message_id: str | None = None
    is_matched: bool = False
    accepted_at: datetime | None = None
    reported_at: datetime | None = None
    has_no_id: bool = False
    error_code: str | None = None
    error_detail: str | None = None
    shown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedAttempt:
    """An attempt that was changed in the database.

    Attributes:
        membership_id: The recipient; None for a message outside campaigns.
        is_to_show: True if the row of the message must still be updated (``_show`` does this).
            False if the SQL statement ``RECORD`` has updated it together with the attempt.
    """

    id: UUID
    membership_id: UUID | None
    status: str
    is_to_show: bool


# A response of the provider is a fact, so it is stored whatever state the row has. An inferred
# outcome is stored only if the row still has the state that its writer saw (Sending, rule 6). An
# acceptance without a message id is also a fact, so such an attempt can never become `not_found`.
# This statement locks conversations in the same order as the transactions that store received
# messages. With different orders, two transactions could deadlock. `OFFSET 0` forces one index
# look-up per attempt. Without it and without statistics, the planner would read all attempts.
RECORD = text(f"""
    WITH answer AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:seen AS text[]),
            CAST(:message_ids AS text[]), CAST(:matched AS boolean[]),
            CAST(:accepted AS timestamptz[]), CAST(:reported AS timestamptz[]),
            CAST(:no_ids AS boolean[]), CAST(:codes AS text[]), CAST(:details AS text[]),
            CAST(:shown AS text[])
        ) AS x (id, status, seen, message_id, is_matched, accepted_at, reported_at, has_no_id,
                code, detail, shown)
    ), changed AS (
        UPDATE send_attempt a
        SET status = {_STATUS}, error_code = {_CODE}, reported_at = {_REPORTED},
            accepted_at = {_ACCEPTED},
            provider_message_id = x.message_id, is_matched = x.is_matched, answered_at = :now,
            has_no_id = a.has_no_id OR x.has_no_id, error_detail = x.detail,
            token = NULL, lease_until = NULL, updated_at = :now
        FROM answer x
        WHERE a.id = x.id AND {_IS_NEWS} AND (x.seen IS NULL OR a.status = x.seen
            OR (x.has_no_id AND a.status IN ('unknown', 'parked', 'not_found')))
        RETURNING a.id, a.kind, a.membership_id, a.activity_id, a.phone, a.status, a.accepted_at,
                  a.provider_message_id, a.error_code, a.body, {_IS_SHARED} AS is_shared,
                  CASE WHEN a.status = x.status AND a.reported_at = x.reported_at
                       THEN x.shown END AS shown
    ), updated AS (
        UPDATE activity t
        SET openphone_id = c.provider_message_id, error_code = c.error_code,
            status = coalesce(c.shown, {_SHOWN.format(attempt="c")}),
            rank = {_RANK_SHOWN.format(attempt="c")},
            body = CASE WHEN c.provider_message_id IS NOT NULL AND t.openphone_id IS NULL
                        THEN c.body ELSE t.body END,
            occurred_at = coalesce(c.accepted_at, t.occurred_at),
            send_after = {_SEND_AFTER.format(attempt="c")},
            updated_at = :now
        FROM changed c
        WHERE t.id = c.activity_id AND NOT c.is_shared
          AND (t.openphone_id IS NULL OR t.openphone_id = c.provider_message_id)
        RETURNING t.id, t.conversation_id, c.accepted_at
    ), accepted AS (
        SELECT k.id, n.at
        FROM (
            SELECT conversation_id, max(accepted_at) AS at FROM updated
            WHERE accepted_at IS NOT NULL GROUP BY conversation_id
        ) n JOIN conversation k ON k.id = n.conversation_id
        WHERE (k.last_outgoing_at >= n.at) IS NOT TRUE
        ORDER BY k.line_id, k.phone FOR NO KEY UPDATE OF k
    ), noted AS (
        UPDATE conversation k SET last_outgoing_at = greatest(k.last_outgoing_at, n.at)
        FROM accepted n WHERE k.id = n.id
    ), newer AS (
        UPDATE send_attempt n
        SET status = 'released', token = NULL, lease_until = NULL, updated_at = :now
        FROM changed c CROSS JOIN LATERAL (
            SELECT o.id FROM send_attempt o
            WHERE o.membership_id = c.membership_id AND o.id <> c.id
              AND o.token IS NOT NULL AND o.called_at IS NULL
            UNION ALL
            SELECT o.id FROM send_attempt o
            WHERE c.membership_id IS NULL
              AND o.phone = c.phone AND o.is_open AND o.activity_id = c.activity_id
              AND o.membership_id IS NULL AND o.id <> c.id
              AND o.token IS NOT NULL AND o.called_at IS NULL
            OFFSET 0
        ) o
        WHERE n.id = o.id AND n.token IS NOT NULL AND n.called_at IS NULL
          AND c.status IN ('sent', 'failed', 'delivered', 'parked')
        RETURNING n.activity_id
    ), withdrawn AS (
        UPDATE activity t SET status = 'failed', error_code = 'withdrawn', updated_at = :now
        FROM newer n
        WHERE t.id = n.activity_id AND t.status = 'sending'
          AND n.activity_id NOT IN (SELECT c.activity_id FROM changed c)
    )
    SELECT c.id, c.membership_id, c.status,
           NOT EXISTS (SELECT 1 FROM updated t WHERE t.id = c.activity_id) AS is_to_show
    FROM changed c
""")


async def write_to_ledger(
    session: AsyncSession,
    outcomes: Sequence[AttemptOutcome],
    *,
    send_after: datetime,
    now: datetime,
) -> list[ChangedAttempt]:
    """Store the results of attempts and the new states of their messages.

    Args:
        send_after: The new due time of messages that were not sent (status ``released``). It is
            used only for messages outside campaigns.

    Returns:
        The attempts that changed.
    """
    outcomes = sorted(outcomes, key=lambda outcome: outcome.attempt_id)
    values = {
        "ids": [outcome.attempt_id for outcome in outcomes],
        "statuses": [outcome.status for outcome in outcomes],
        "seen": [outcome.seen for outcome in outcomes],
        "message_ids": [outcome.message_id for outcome in outcomes],
        "matched": [outcome.is_matched for outcome in outcomes],
        "accepted": [outcome.accepted_at for outcome in outcomes],
        "reported": [outcome.reported_at for outcome in outcomes],
        "no_ids": [outcome.has_no_id for outcome in outcomes],
        "codes": [outcome.error_code for outcome in outcomes],
        "details": [outcome.error_detail for outcome in outcomes],
        "shown": [outcome.shown for outcome in outcomes],
        "send_after": send_after,
        "now": now,
    }
    changed = typed_rows(ChangedAttempt, await session.execute(RECORD, values))
    await _show(session, changed, values=values)
    return changed


# Locks messages that several attempts share. The attempts are read in a later statement, which sees
# what other transactions stored before this lock.
LOCK_SHARED = text("""
    SELECT t.id FROM send_attempt a JOIN activity t ON t.id = a.activity_id
    WHERE a.id = ANY(CAST(:ids AS uuid[])) ORDER BY t.id FOR NO KEY UPDATE OF t
""")

# If the provider accepted two attempts of one message, the person got the message twice. So the
# second attempt gets a message row of its own.
SPLIT = text("""
    WITH apart AS (
        UPDATE send_attempt a SET activity_id = uuid_v7()
        FROM send_attempt w
        WHERE w.id = a.id AND a.id = ANY(CAST(:ids AS uuid[]))
          AND a.provider_message_id IS NOT NULL AND EXISTS (
              SELECT 1 FROM send_attempt o JOIN activity t ON t.id = o.activity_id
              WHERE o.phone = a.phone AND o.activity_id = a.activity_id AND o.id <> a.id
                AND o.provider_message_id IS NOT NULL
                AND (t.openphone_id = o.provider_message_id
                     OR (t.openphone_id IS NULL AND o.id < a.id)))
        RETURNING a.activity_id, a.body, w.activity_id AS was
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        campaign_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT p.activity_id, t.kind, t.direction, t.origin, t.line_id, t.conversation_id,
           t.contact_id, t.phone, t.campaign_id, p.body, 'sending', 1, :now, :now, :now
    FROM apart p JOIN activity t ON t.id = p.was
""")

# Copies the state of the best attempt to each message. The attempts are ordered as in the statement
# `derive.DERIVE`.
SHOW = text(f"""
    WITH best AS (
        SELECT DISTINCT ON (x.activity_id) o.id, o.activity_id, o.kind, o.status, o.error_code,
               o.body, o.accepted_at, o.provider_message_id, w.word
        FROM send_attempt x
        CROSS JOIN LATERAL (
            SELECT o.* FROM send_attempt o
            WHERE o.phone = x.phone AND o.activity_id = x.activity_id
            OFFSET 0
        ) o
        LEFT JOIN unnest(CAST(:ids AS uuid[]), CAST(:shown AS text[])) AS w (id, word)
          ON w.id = o.id
        WHERE x.id = ANY(CAST(:ids AS uuid[]))
        ORDER BY x.activity_id, array_position(ARRAY['delivered', 'failed', 'sent', 'claimed',
            'calling', 'unknown', 'parked', 'refused', 'not_found', 'released'], o.status),
            o.created_at DESC, o.id DESC
    ), updated AS (
        UPDATE activity t
        SET openphone_id = b.provider_message_id, error_code = b.error_code,
            status = coalesce(CASE WHEN b.status IN ('failed', 'delivered') THEN b.word END,
                              {_SHOWN.format(attempt="b")}),
            rank = {_RANK_SHOWN.format(attempt="b")}, body = b.body,
            occurred_at = coalesce(b.accepted_at, t.occurred_at),
            send_after = {_SEND_AFTER.format(attempt="b")}, updated_at = :now
        FROM best b WHERE t.id = b.activity_id
        RETURNING t.conversation_id, b.accepted_at
    )
    UPDATE conversation k SET last_outgoing_at = greatest(k.last_outgoing_at, n.at)
    FROM (SELECT conversation_id, max(accepted_at) AS at FROM updated GROUP BY conversation_id) n
    WHERE k.id = n.conversation_id AND n.at IS NOT NULL
""")


async def _show(
    session: AsyncSession, changed: Sequence[ChangedAttempt], *, values: dict[str, Any]
) -> None:
    """Give each message that has several attempts the status of one of these attempts.

    The SQL statement ``SHOW`` chooses the attempt by its status. For example, it prefers a
    delivered attempt to a failed one.
    """
    ids = [attempt.id for attempt in changed if attempt.is_to_show]
    if not ids:
        return
    words = dict(zip(values["ids"], values["shown"], strict=True))
    shared = {
        "ids": ids,
        "shown": [words[one] for one in ids],
        "send_after": values["send_after"],
        "now": values["now"],
    }
    await session.execute(LOCK_SHARED, {"ids": ids})
    await session.execute(SPLIT, {"ids": ids, "now": values["now"]})
    await session.execute(SHOW, shared)


REOPEN = text("""
    UPDATE send_attempt a SET status = 'unknown', updated_at = :now
    FROM (
        SELECT DISTINCT ON (p.phone) p.id FROM send_attempt p
        WHERE p.id = ANY(CAST(:ids AS uuid[])) AND p.status = 'parked'
          AND NOT EXISTS (SELECT 1 FROM send_attempt o WHERE o.phone = p.phone AND o.is_open)
        ORDER BY p.phone, p.called_at
    ) first
    WHERE a.id = first.id
""")


async def reopen_parked(session: AsyncSession, *, ids: list[UUID], now: datetime) -> None:
    """Set parked attempts to ``unknown``, so that the service asks the provider about them again.

    An attempt stays parked if another attempt to its phone number is open. If several of the
    attempts have the same number, only the earliest becomes ``unknown``.
    """
    await session.execute(REOPEN, {"ids": ids, "now": now})
