"""Record the provider's responses: write them to attempts, messages, recipients and lines.

After a temporary problem, a message is due again after a delay. If the provider asked for a pause,
the message is not due before the end of the pause.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.messaging.models.number_failures import KIND_OF_CODE
from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import (
    blocking,
    derive,
    held_message_ids,
    ledger,
    number_failures,
)
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.held_message_ids import StrayMessage, UnboundAttempt
from crm_api.domain.messaging.sends.ledger import AttemptOutcome, ChangedAttempt
from crm_api.domain.messaging.sends.parked_alerts import alert_parked
from crm_api.domain.messaging.waiting import derive_waiting, derive_waiting_of_attempts
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWork

# The wait before the next attempt is computed as for recipients of campaigns (`derive.DERIVE`): a
# random delay ("full jitter") whose upper bound grows with every postponed attempt.
BACK_OFF_QUEUED = text(f"""
    UPDATE activity t
    SET send_after = greatest(CAST(:asked AS timestamptz),
            CAST(:now AS timestamptz) + random() * {derive.WAITS.sql("w.waits")}),
        updated_at = :now
    FROM (
        SELECT a.activity_id, count(*) AS waits
        FROM send_attempt x JOIN send_attempt a ON a.phone = x.phone
        WHERE x.id = ANY(CAST(:attempt_ids AS uuid[])) AND a.activity_id = x.activity_id
          AND a.status = 'released' AND a.called_at IS NOT NULL
          AND a.error_code IS DISTINCT FROM 'account_refused'
        GROUP BY a.activity_id
    ) w
    WHERE t.id = w.activity_id AND t.status = 'queued'
""")


async def back_off_messages(
    uow: UnitOfWork, attempt_ids: Sequence[UUID], *, asked: datetime, now: datetime
) -> None:
    """Postpone the queued messages of these attempts, each by its own random delay.

    Args:
        asked: The instant until which the provider asked to wait (``Retry-After``). No message is
            sent before it.
    """
    if not attempt_ids:
        return
    values = {"attempt_ids": list(attempt_ids), "asked": asked, "now": now}
    await uow.session.execute(BACK_OFF_QUEUED, values)


REFUSED_FOR_ALL = ResponseKind.ACCOUNT_REFUSED.value
"""The error code of an attempt that ended because the provider refused the account. Such an attempt
does not increase the recipient's next random delay."""

STATUS_OF_ANSWER = {
    ResponseKind.ACCEPTED: AttemptStatus.SENT,
    ResponseKind.REFUSED: AttemptStatus.REFUSED,
    ResponseKind.ACCOUNT_REFUSED: AttemptStatus.RELEASED,
    ResponseKind.LATER: AttemptStatus.RELEASED,
    ResponseKind.NOT_CONNECTED: AttemptStatus.RELEASED,
    ResponseKind.TOO_LATE: AttemptStatus.RELEASED,
    ResponseKind.UNCLEAR: AttemptStatus.UNKNOWN,
}

SETTLED = {
    AttemptStatus.REFUSED,
    AttemptStatus.FAILED,
    AttemptStatus.NOT_FOUND,
    AttemptStatus.DELIVERED,
}
"""If an attempt gets one of these statuses, its message may become an answer, or may no longer be
an answer. Then the service derives again whether the person waits for an answer."""

REPORT_RANKS = {AttemptStatus.SENT: 1, AttemptStatus.FAILED: 2, AttemptStatus.DELIVERED: 3}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A claimed attempt and the provider's response to its request."""

    claimed: ClaimedAttempt
    answer: SendResponse


async def record_responses(uow: UnitOfWork, batch: Sequence[Answered], *, now: datetime) -> None:
    """Store the results of a batch of attempts.

    A line or campaign that the provider refuses is blocked. If the provider accepts a message of a
    line on trial, the trial ends. A certain result is always stored. An unclear result is stored
    only if the attempt still has the status ``calling``. It is harmless to store the same batch
    twice.
    """
    outcomes = [_outcome_of(item, now=now) for item in batch]
    proved, refusals = _proved_lines(batch), _first_refusals(batch)
    await blocking.lock_lines(uow, proved | {item.claimed.line_id for item in refusals})
    await write_outcomes(uow, outcomes, now=now, retry_at=_pause_end(batch, now=now), back_off=True)
    await blocking.close_breakers(uow, proved, now=now)
    for item in refusals:
        reason = item.answer.reason or _code(item.answer)
        await blocking.block_refused(uow, item.claimed, item.answer, reason=reason, now=now)


def _outcome_of(item: Answered, *, now: datetime) -> AttemptOutcome:
    answer = item.answer
    status = STATUS_OF_ANSWER[answer.kind]
    is_accepted = answer.kind is ResponseKind.ACCEPTED
    return AttemptOutcome(
        attempt_id=item.claimed.attempt_id,
        status=status,
        seen=AttemptStatus.CALLING if answer.kind is ResponseKind.UNCLEAR else None,
        message_id=answer.provider_message_id if is_accepted else None,
        accepted_at=(answer.provider_created_at or now) if is_accepted else None,
        has_no_id=answer.no_id,
        error_code=None if is_accepted else _code_of_attempt(answer),
        error_detail=None if is_accepted else answer.detail,
    )


def _code_of_attempt(answer: SendResponse) -> str:
    return REFUSED_FOR_ALL if answer.kind is ResponseKind.ACCOUNT_REFUSED else _code(answer)


def _code(answer: SendResponse) -> str:
    if answer.code:
        return answer.code
    if answer.http_status:
        return f"http_{answer.http_status}"
    return answer.kind.value


def _pause_end(batch: Sequence[Answered], *, now: datetime) -> datetime:
    """Return the end of the longest requested pause; ``now`` if no response asks for a pause."""
    waits = (item.answer.retry_after_seconds or 0.0 for item in batch)
    return now + timedelta(seconds=max(waits, default=0.0))


def _proved_lines(batch: Sequence[Answered]) -> set[UUID]:
    """Return the lines on trial whose test message the provider accepted.

    A line on trial was blocked before, and sends only one message at a time, as a test.

    Responses to requests that began before the trial do not count.
    """
    return {
        item.claimed.line_id
        for item in batch
        if item.claimed.is_probe and item.answer.kind is ResponseKind.ACCEPTED
    }


def _first_refusals(batch: Sequence[Answered]) -> list[Answered]:
    """Return the first refusal for each line or campaign for which the provider refuses to send."""
    found: dict[tuple[str, UUID | None], Answered] = {}
    for item in batch:
        if item.answer.kind is ResponseKind.ACCOUNT_REFUSED:
            is_campaign = item.answer.scope == "campaign" and item.claimed.campaign_id is not None
            subject = item.claimed.campaign_id if is_campaign else item.claimed.line_id
            found.setdefault(("campaign" if is_campaign else "line", subject), item)
    return list(found.values())


async def write_outcomes(
    uow: UnitOfWork,
    outcomes: Sequence[AttemptOutcome],
    *,
    now: datetime,
    retry_at: datetime | None = None,
    back_off: bool = False,
) -> list[ChangedAttempt]:
    """Store the results of attempts, and update the status of their recipients.

    A delivery report that arrived before the result is merged into the result. If an attempt
    becomes parked, an alert is raised.

    Args:
        retry_at: The new due time of messages that were certainly not sent. If it is None, a
            message outside campaigns is due now, and the due time of a campaign recipient does not
            change.
        back_off: If True, messages that were certainly not sent become due after a random delay,
            but not before ``retry_at``. The largest delay grows with every attempt. An attempt with
            the error code ``REFUSED_FOR_ALL`` causes no random delay.

    Returns:
        The attempts that changed.
    """
    merged, misread = await _merge_strays(uow, outcomes)
    changed = await ledger.write_to_ledger(uow.session, merged, send_after=retry_at or now, now=now)
    # Some messages of this service were wrongly stored as messages from the provider's app, so they
    # were treated as answers. They are not treated as answers any more, so the service derives
    # again who waits.
    await derive_waiting(uow.session, misread, now=now)
    alone = [one.id for one in changed if one.membership_id is None and one.status in SETTLED]
    await derive_waiting_of_attempts(uow.session, alone, now=now)
    parked = [attempt.id for attempt in changed if attempt.status == AttemptStatus.PARKED]
    await alert_parked(uow, parked, now=now)
    failed_numbers = [item.attempt_id for item in merged if item.error_code in KIND_OF_CODE]
    await number_failures.note_failed_attempts(uow, failed_numbers, now=now)
    refused_for_all = {item.attempt_id for item in outcomes if item.error_code == REFUSED_FOR_ALL}
    postponed: list[ChangedAttempt] = []
    others: list[ChangedAttempt] = []
    for attempt in changed:
        is_postponed = (
            attempt.status == AttemptStatus.RELEASED and attempt.id not in refused_for_all
        )
        (postponed if is_postponed else others).append(attempt)
    await derive.derive_recipients(uow.session, membership_ids=_recipients_of(others), now=now)
    await derive.derive_recipients(
        uow.session,
        membership_ids=_recipients_of(postponed),
        now=now,
        due_at=retry_at,
        back_off=back_off,
    )
    if back_off:
        waiting = [attempt.id for attempt in postponed if attempt.membership_id is None]
        await back_off_messages(uow, waiting, asked=retry_at or now, now=now)
    return changed


def _recipients_of(attempts: Sequence[ChangedAttempt | UnboundAttempt]) -> list[UUID]:
    return [one.membership_id for one in attempts if one.membership_id is not None]


async def _merge_strays(
    uow: UnitOfWork, outcomes: Sequence[AttemptOutcome]
) -> tuple[list[AttemptOutcome], set[UUID]]:
    """Correct results of attempts, if a delivery report arrived before the provider's response.

    Such an early report was stored as a message from the provider's app. This message is deleted.

    Returns:
        A pair: the results, and the ids of the conversations of the deleted messages.
    """
    named = [item for item in outcomes if item.message_id is not None]
    if not named:
        return list(outcomes), set()
    strays = await held_message_ids.take_strays(
        uow.session, message_ids=[str(item.message_id) for item in named]
    )
    misread = {one.conversation_id for one in strays.values() if one.conversation_id is not None}
    merged = [_with_report(item, strays.get(item.message_id or "")) for item in outcomes]
    return (merged, misread) if strays else (list(outcomes), set())


def _with_report(outcome: AttemptOutcome, stray: StrayMessage | None) -> AttemptOutcome:
    """Return the outcome of an attempt, or the same outcome corrected by a stored status report.

    A final report corrects the outcome in two cases (``ARCHITECTURE.md``, "Sending, rule 13"):

    - The status of the report has a higher rank (``REPORT_RANKS``) than that of the outcome.
    - Both statuses are equal, both times are known, and the report is earlier.

    Args:
        stray: The report that was stored before the result was known.
    """
    if stray is None or stray.status not in {"delivered", "failed", "undelivered"}:
        return outcome
    is_delivered = stray.status == "delivered"
    reported = replace(
        outcome,
        status=AttemptStatus.DELIVERED if is_delivered else AttemptStatus.FAILED,
        reported_at=stray.updated_at,
        error_code=None if is_delivered else (stray.error_code or stray.status),
        shown=stray.status,
    )
    if reported.status == outcome.status and outcome.reported_at is not None:
        return reported if stray.updated_at < outcome.reported_at else outcome
    return max(outcome, reported, key=lambda item: REPORT_RANKS[AttemptStatus(item.status)])


async def record_and_correct_matches(
    uow: UnitOfWork, batch: Sequence[Answered], *, now: datetime
) -> None:
    """Record responses to send requests, and correct matches that these responses disprove.

    A match is a message at the provider that the service assigned to an unclear attempt by a
    comparison. If a response gives the id of this message to another attempt, the match was wrong:
    The wrongly matched attempt loses the id and becomes ``unknown``. But if its number has another
    open attempt, it becomes ``parked``, and an alert is raised. Each correction is written to the
    audit log.
    """
    named = [item for item in batch if item.answer.provider_message_id is not None]
    unbound = await held_message_ids.unbind_matched_messages(
        uow.session,
        message_ids=[str(item.answer.provider_message_id) for item in named],
        attempt_ids=[item.claimed.attempt_id for item in named],
        now=now,
    )
    await record_responses(uow, batch, now=now)
    await ledger.reopen_parked(uow.session, ids=[attempt.id for attempt in unbound], now=now)
    await alert_parked(uow, [attempt.id for attempt in unbound], now=now)
    await derive.derive_recipients(uow.session, membership_ids=_recipients_of(unbound), now=now)
    for attempt in unbound:
        await note_decision(
            uow,
            actor="worker",
            action="correct_match",
            subject=str(attempt.id),
            detail={},
            now=now,
        )


async def record_without_ids(uow: UnitOfWork, batch: Sequence[Answered], *, now: datetime) -> None:
    """Record responses whose message id already belongs to another message; raise alerts.

    Each attempt is recorded as unclear, without the message id. Its message is not sent again. A
    user must find out whether the message was sent.
    """
    for item in batch:
        await alerts.raise_alert(
            uow,
            kind=AlertKind.MESSAGE_ID_GIVEN_TWICE,
            subject=str(item.answer.provider_message_id),
            detail="OpenPhone gave two messages the same id, so the status of the second message "
            "stays unclear. It is not sent again. Look in OpenPhone whether it was sent, then "
            "report the result with POST /v1/messages/{id}/settle.",
            context={"attempt_id": str(item.claimed.attempt_id)},
            now=now,
        )
    await record_responses(uow, [_without_id(item) for item in batch], now=now)


def _without_id(item: Answered) -> Answered:
    answer = replace(
        item.answer,
        kind=ResponseKind.UNCLEAR,
        provider_message_id=None,
        no_id=True,
        code="id_given_twice",
        detail="The provider gave this message the id of another message.",
    )
    return replace(item, answer=answer)


async def record_without_text(uow: UnitOfWork, batch: Sequence[Answered], *, now: datetime) -> None:
    """Record responses of the provider that contain text which the database cannot store.

    The text is left out, and the error code of each attempt becomes ``not_storable``. The result of
    an attempt stays the same. But an accepted message is recorded as unclear, with ``has_no_id``,
    because its message id is left out too.
    """
    await record_responses(uow, [_without_text(item) for item in batch], now=now)


def _without_text(item: Answered) -> Answered:
    answer = item.answer
    is_accepted = answer.kind is ResponseKind.ACCEPTED
    bare = SendResponse(
        kind=ResponseKind.UNCLEAR if is_accepted else answer.kind,
        http_status=answer.http_status,
        code="not_storable",
        detail="The database cannot store the text of the provider's response.",
        no_id=is_accepted or answer.no_id,
        scope=answer.scope,
        reason=answer.reason,
        retry_after_seconds=answer.retry_after_seconds,
        retry_after_asked=answer.retry_after_asked,
    )
    return replace(item, answer=bare)
