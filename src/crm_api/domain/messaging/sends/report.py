"""Apply the provider's reports about outgoing messages, from webhooks and lists.

A report is about a message of ours (an attempt) or about a *foreign* message, which an employee
sent in the provider's app.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import number_failures, record
from crm_api.domain.messaging.sends.ledger import AttemptOutcome
from crm_api.domain.messaging.sends.matching import is_of_another_user, is_same_text
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.waiting import derive_waiting
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

# Inserts the row of a message that belongs to no attempt. If two transactions insert the same
# message at the same time, only the transaction that inserts the key first stores the row.
INSERT_FOREIGN = text("""
    WITH named AS (
        INSERT INTO activity_key (openphone_id, activity_id) VALUES (:message_id, :id)
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING openphone_id, activity_id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, user_id, body, media, status, rank, error_code, occurred_at, created_at,
        updated_at)
    SELECT activity_id, 'message', 'outgoing', 'provider', CAST(:line_id AS uuid),
        CAST(:conversation_id AS uuid), CAST(:contact_id AS uuid), CAST(:phone AS text),
        openphone_id, CAST(:user_id AS text), CAST(:body AS text), CAST(:media AS jsonb),
        CAST(:status AS text), CAST(:rank AS smallint), CAST(:error_code AS text),
        CAST(:occurred_at AS timestamptz), CAST(:now AS timestamptz),
        CAST(:reported_at AS timestamptz)
    FROM named
    RETURNING id
""")

# A foreign message is a message that this service did not send. A report about a stored foreign
# message can only raise the rank of the message. If two reports have the same rank, the earlier
# report is stored. RAISE_FOREIGN is a separate statement after the insert, so that it sees a row
# that was stored while the insert waited. RAISE_FOREIGN returns no row if this service sent the
# message.
_WINS = """(CAST(:rank AS smallint) > a.rank OR (
    CAST(:rank AS smallint) = a.rank AND CAST(:reported_at AS timestamptz) < a.updated_at))"""


STORE_FOREIGN = INSERT_FOREIGN.bindparams(bindparam("media", type_=JSONB))

FAILURE_COUNTS_FOR = timedelta(days=4)
"""Failures that are older than this are ignored, because they say little about the number today."""
RANKS = {"queued": 1, "sending": 1, "sent": 3, "undelivered": 4, "failed": 4, "delivered": 5}
"""Ranks of the provider's status names (Sending, rule 13). A delivery is certain, so it ranks above
a failure. Unknown names have the rank of ``sent``."""


def status_of(facts: MessageFacts) -> AttemptStatus:
    """Convert the status in a report to ``delivered``, ``failed`` or ``sent``.

    ``undelivered`` becomes ``failed``. Every other status, also an unknown one, becomes ``sent``.
    """
    if facts.status == "delivered":
        return AttemptStatus.DELIVERED
    if facts.status in {"failed", "undelivered"}:
        return AttemptStatus.FAILED
    return AttemptStatus.SENT


def outcome_of(
    facts: MessageFacts, *, attempt_id: UUID, is_matched: bool, seen: str | None
) -> AttemptOutcome:
    """Convert the provider's report about a message to the new state of an attempt.

    Args:
        is_matched: True if the service found the attempt by a comparison with the message. False if
            the provider's response to the attempt gave the message's id.
        seen: The status that the attempt must have when the new state is stored. None if the report
            is certainly about this attempt.
    """
    status = status_of(facts)
    is_final = status is not AttemptStatus.SENT
    return AttemptOutcome(
        attempt_id=attempt_id,
        status=status,
        seen=seen,
        message_id=facts.provider_message_id,
        is_matched=is_matched,
        accepted_at=facts.created_at,
        reported_at=(facts.updated_at or facts.created_at) if is_final else None,
        error_code=(facts.error_code or facts.status) if status is AttemptStatus.FAILED else None,
        shown=facts.status if is_final else None,
    )


@dataclass(frozen=True, kw_only=True)
class OutgoingReport:
    """A report about an outgoing message, with the line that sent the message."""

    facts: MessageFacts
    line_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReportedAttempt:
    provider_message_id: str
    id: UUID
    activity_id: UUID
    is_matched: bool


async def apply_reports_to_ours(
    uow: UnitOfWork, reports: Sequence[OutgoingReport], *, now: datetime
) -> list[OutgoingReport]:
    """Apply the provider's reports about messages of our attempts; return all other reports.

    A message belongs to an attempt if the attempt has the provider id of the message.
    """
    held = await _attempts_of(uow, reports)
    ours = [one for one in reports if one.facts.provider_message_id in held]
    await _move(uow, ours, held=held, now=now)
    return [one for one in reports if one.facts.provider_message_id not in held]


async def _move(
    uow: UnitOfWork,
    reports: Sequence[OutgoingReport],
    *,
    held: dict[str, _ReportedAttempt],
    now: datetime,
) -> None:
    left = list(reports)
    while left:
        # One statement can write an attempt only once. So the next statement writes a second report
        # about the same attempt.
        first = {one.facts.provider_message_id: one for one in reversed(left)}
        outcomes = [
            outcome_of(
                one.facts, attempt_id=held[name].id, is_matched=held[name].is_matched, seen=None
            )
            for name, one in first.items()
        ]
        await record.write_outcomes(uow, outcomes, now=now)
        left = [one for one in left if first[one.facts.provider_message_id] is not one]


async def apply_report(
    uow: UnitOfWork,
    *,
    facts: MessageFacts,
    line_id: UUID,
    times: SendTimes,
    now: datetime,
    contact_id: UUID | None = None,
) -> UUID:
    """Apply the provider's report about an outgoing message; return the message's ``activity`` id.

    A status never goes back. The function does the first of these steps that is possible:

    - The report changes the attempt that has the provider's id of the message.
    - The report settles the unclear attempt with the same number, time and text, if there is only
      one. An attempt that a user settled without proof counts as unclear.
    - The message is stored as sent in the provider's app, until it proves to be ours.
    """
    report = OutgoingReport(facts=facts, line_id=line_id)
    while True:
        held = await _attempts_of(uow, [report])
        if held:
            await _move(uow, [report], held=held, now=now)
            return held[facts.provider_message_id].activity_id
        match = await _find_match(uow, facts, line_id=line_id, times=times)
        if match is not None:
            outcome = outcome_of(facts, attempt_id=match.id, is_matched=True, seen=match.status)
            await record.write_outcomes(uow, [outcome], now=now)
            return match.activity_id
        stored = await _store(uow, facts, line_id=line_id, contact_id=contact_id, now=now)
        if stored is not None:
            return stored
        # In the meantime, another transaction has recorded the provider's response, so the message
        # belongs to an attempt now. The loop starts again and finds this attempt.


ATTEMPTS_OF_MESSAGES = text("""
    SELECT a.provider_message_id, a.id, a.activity_id, a.is_matched
    FROM send_attempt a WHERE a.provider_message_id = ANY(CAST(:message_ids AS text[]))
""")


async def _attempts_of(
    uow: UnitOfWork, reports: Sequence[OutgoingReport]
) -> dict[str, _ReportedAttempt]:
    values = {"message_ids": [one.facts.provider_message_id for one in reports]}
    found = await uow.session.execute(ATTEMPTS_OF_MESSAGES, values)
    return {one.provider_message_id: one for one in typed_rows(_ReportedAttempt, found)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnsettledAttempt:
    id: UUID
    body: str
    status: str
    membership_id: UUID | None
    activity_id: UUID
    own_user_id: str | None


# Finds the unclear attempts with the line and the phone number of a message. The message must have
# been created between the gate of the attempt (the last check before the call of the provider) and
# the end of the attempt's grace period (Sending, rule 8). The clocks may differ by `skew`. An
# attempt whose request still runs is not selected, because the response to this request may still
# arrive.
#
# A user may have settled the attempt without proof. Then the report is the proof, also if the user
# decided otherwise. But while another request to the number runs, the report may be about that
# request. So the attempt that the user settled is not selected.
UNSETTLED = text("""
    SELECT a.id, a.body, a.status, a.membership_id, a.activity_id,
           (SELECT l.own_user_id FROM line l WHERE l.id = a.line_id) AS own_user_id
    FROM send_attempt a
    WHERE a.phone = :phone AND a.line_id = :line_id
      AND (a.status IN ('unknown', 'parked', 'not_found')
           OR (a.provider_message_id IS NULL
               AND (a.status = 'sent' OR a.error_code = 'settled_by_person')
               AND NOT EXISTS (
                   SELECT 1 FROM send_attempt o
                   WHERE o.phone = a.phone AND o.is_open AND o.status = 'calling'
                     AND o.called_at <= CAST(:made_at AS timestamptz)
                         + make_interval(secs => :skew))))
      AND a.called_at >= CAST(:made_at AS timestamptz) - make_interval(secs => :grace)
      AND a.called_at <= CAST(:made_at AS timestamptz) + make_interval(secs => :skew)
    FOR NO KEY UPDATE
""")


async def _find_match(
    uow: UnitOfWork, facts: MessageFacts, *, line_id: UUID, times: SendTimes
) -> _UnsettledAttempt | None:
    """Return the attempt with an unclear result that matches a message by number, time and text.

    The result is None if no attempt matches, or if several attempts match.
    """
    if len(facts.to_numbers) != 1:
        return None
    unsettled = await uow.session.execute(
        UNSETTLED,
        {
            "phone": facts.to_numbers[0],
            "line_id": line_id,
            "made_at": facts.created_at,
            "grace": times.grace_seconds,
            "skew": times.skew.total_seconds(),
        },
    )
    same = [
        attempt
        for attempt in typed_rows(_UnsettledAttempt, unsettled)
        if is_same_text(attempt.body, facts.text)
        and not is_of_another_user(facts.user_id, own_user_id=attempt.own_user_id)
    ]
    return same[0] if len(same) == 1 else None


RAISE_FOREIGN = text(f"""
    UPDATE activity a
    SET status = CASE WHEN {_WINS} THEN CAST(:status AS text) ELSE a.status END,
        error_code = CASE WHEN {_WINS} THEN CAST(:error_code AS text) ELSE a.error_code END,
        updated_at = CASE WHEN {_WINS} THEN CAST(:reported_at AS timestamptz) ELSE a.updated_at END,
        rank = greatest(a.rank, CAST(:rank AS smallint))
    FROM activity_key k
    WHERE k.openphone_id = :message_id AND a.id = k.activity_id AND a.origin = 'provider'
    RETURNING a.id
""")


UPSERT_CONVERSATION = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, openphone_id, last_activity_at,
        last_outgoing_at, answered_at, created_at)
    VALUES (:id, :line_id, :phone, :contact_id, :openphone_id, :at, :outgoing_at,
            CAST(:answered_at AS timestamptz), :now)
    ON CONFLICT (line_id, phone) DO UPDATE
    SET last_activity_at = greatest(conversation.last_activity_at, excluded.last_activity_at),
        last_outgoing_at = greatest(conversation.last_outgoing_at, excluded.last_outgoing_at),
        answered_at = greatest(conversation.answered_at, excluded.answered_at),
        contact_id = coalesce(conversation.contact_id, excluded.contact_id),
        openphone_id = coalesce(excluded.openphone_id, conversation.openphone_id)
    RETURNING id, waiting_since IS NOT NULL AS is_waiting
""")


async def _store(
    uow: UnitOfWork,
    facts: MessageFacts,
    *,
    line_id: UUID,
    contact_id: UUID | None,
    now: datetime,
) -> UUID | None:
    phone = facts.to_numbers[0] if facts.to_numbers else None
    conversation_id, is_waiting = None, False
    is_failure = status_of(facts) is AttemptStatus.FAILED
    if phone is not None:
        result = await uow.session.execute(
            UPSERT_CONVERSATION,
            {
                "id": new_id(),
                "line_id": line_id,
                "phone": phone,
                "contact_id": contact_id,
                "openphone_id": facts.conversation_id,
                "at": facts.created_at,
                "outgoing_at": facts.created_at,
                "answered_at": None if is_failure else facts.created_at,
                "now": now,
            },
        )
        conversation_id, is_waiting = result.one()
    report = {
        "message_id": facts.provider_message_id,
        "status": facts.status,
        "rank": RANKS.get(facts.status, RANKS["sent"]),
        "error_code": facts.error_code,
        "reported_at": facts.updated_at or now,
    }
    message = {
        "id": new_id(),
        "line_id": line_id,
        "conversation_id": conversation_id,
        "contact_id": contact_id,
        "phone": phone,
        "user_id": facts.user_id,
        "body": facts.text,
        "media": [{"url": item.url, "type": item.type} for item in facts.media],
        "occurred_at": facts.created_at,
        "now": now,
    }
    activity_id: UUID | None = await uow.session.scalar(STORE_FOREIGN, report | message)
    if activity_id is None:
        activity_id = await uow.session.scalar(RAISE_FOREIGN, report)
    if activity_id is not None:
        # A failed message is not an answer, even if it was treated as an answer before.
        if conversation_id is not None and (is_waiting or is_failure):
            await derive_waiting(uow.session, [conversation_id], now=now)
        await _note_failure(uow, facts, line_id=line_id, activity_id=activity_id, now=now)
    return activity_id


async def _note_failure(
    uow: UnitOfWork, facts: MessageFacts, *, line_id: UUID, activity_id: UUID, now: datetime
) -> None:
    """Store the failure of a foreign message, if it is recent and its cause is the phone number.

    A foreign message is a message that an employee sent in the provider's app.
    """
    failed_at = facts.updated_at or facts.created_at
    is_failure = status_of(facts) is AttemptStatus.FAILED and len(facts.to_numbers) == 1
    if facts.error_code is None or not is_failure or now - failed_at > FAILURE_COUNTS_FOR:
        return
    await number_failures.note_foreign_failure(
        uow,
        phone=facts.to_numbers[0],
        code=facts.error_code,
        line_id=line_id,
        activity_id=activity_id,
        failed_at=failed_at,
        now=now,
    )
