"""Record: what the provider answered becomes the state of attempts, recipients and lines."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.openphone.answers import AnswerKind, SendAnswer
from crm_api.domain.operations import service as operations
from crm_api.domain.sends import queries
from crm_api.domain.sends.claiming import Claimed
from crm_api.domain.sends.models import AttemptStatus
from crm_api.domain.sends.queries import Outcome

RETRY_SECONDS = (20.0, 60.0)
"""When a call that certainly did not happen is tried again: a random instant in this range."""

STATUS_OF_ANSWER = {
    AnswerKind.ACCEPTED: AttemptStatus.SENT,
    AnswerKind.REFUSED: AttemptStatus.REFUSED,
    AnswerKind.ACCOUNT_REFUSED: AttemptStatus.RELEASED,
    AnswerKind.LATER: AttemptStatus.RELEASED,
    AnswerKind.NOT_CONNECTED: AttemptStatus.RELEASED,
    AnswerKind.TOO_LATE: AttemptStatus.RELEASED,
    AnswerKind.UNCLEAR: AttemptStatus.UNKNOWN,
}

REPORT_RANKS = {AttemptStatus.SENT: 1, AttemptStatus.FAILED: 2, AttemptStatus.DELIVERED: 3}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A call that ended, one way or another."""

    claimed: Claimed
    answer: SendAnswer


async def record(uow: UnitOfWork, batch: Sequence[Answered], *, now: datetime) -> None:
    """Write the answers of a batch; an account's refusal also stops the line or campaign.

    An answer is written whatever the row's state, lease or age; an unclear end only on a row
    that is still calling (R6). Safe to repeat.
    """
    outcomes = [_outcome(item, now=now) for item in batch]
    await write(uow, outcomes, now=now, retry_at=_retry_at(batch, now=now))
    for item in _first_refusals(batch):
        await _stop(uow, item, now=now)


def _outcome(item: Answered, *, now: datetime) -> Outcome:
    answer = item.answer
    status = STATUS_OF_ANSWER[answer.kind]
    is_accepted = answer.kind is AnswerKind.ACCEPTED
    return Outcome(
        attempt_id=item.claimed.attempt_id,
        status=status,
        seen=AttemptStatus.CALLING if answer.kind is AnswerKind.UNCLEAR else None,
        message_id=answer.provider_message_id if is_accepted else None,
        accepted_at=(answer.provider_created_at or now) if is_accepted else None,
        has_no_id=answer.no_id,
        error_code=None if is_accepted else _code(answer),
        error_detail=None if is_accepted else answer.detail,
    )


def _code(answer: SendAnswer) -> str:
    if answer.code:
        return answer.code
    if answer.http_status:
        return f"http_{answer.http_status}"
    return answer.kind.value


def _retry_at(batch: Sequence[Answered], *, now: datetime) -> datetime:
    """One instant for the batch: spread over batches, at the provider's word where it gave one."""
    asked = max((item.answer.retry_after_seconds or 0.0 for item in batch), default=0.0)
    spread = random.uniform(*RETRY_SECONDS)  # noqa: S311 - jitter, no secret
    return now + timedelta(seconds=max(asked, spread))


def _first_refusals(batch: Sequence[Answered]) -> list[Answered]:
    """One refusal for each line or campaign that the provider refused."""
    found: dict[tuple[str, UUID | None], Answered] = {}
    for item in batch:
        if item.answer.kind is AnswerKind.ACCOUNT_REFUSED:
            is_campaign = item.answer.scope == "campaign" and item.claimed.campaign_id is not None
            subject = item.claimed.campaign_id if is_campaign else item.claimed.line_id
            found.setdefault(("campaign" if is_campaign else "line", subject), item)
    return list(found.values())


async def _stop(uow: UnitOfWork, item: Answered, *, now: datetime) -> None:
    claimed, answer = item.claimed, item.answer
    reason = answer.reason or _code(answer)
    if answer.scope == "campaign" and claimed.campaign_id is not None:
        what, subject = "campaign", claimed.campaign_id
        await queries.block_campaign(
            uow.session, campaign_id=claimed.campaign_id, reason=reason, now=now
        )
    else:
        what, subject = "line", claimed.line_id
        await queries.block_line(uow.session, line_id=claimed.line_id, reason=reason, now=now)
    await operations.raise_alert(
        uow,
        kind=f"{what}_blocked",
        subject=str(subject),
        detail=f"OpenPhone refuses to send for this {what}: {reason}. Nothing more leaves over it "
        "until that is put right and it is unblocked.",
        context={"http_status": answer.http_status, "code": answer.code},
        now=now,
    )


async def write(
    uow: UnitOfWork,
    outcomes: Sequence[Outcome],
    *,
    now: datetime,
    retry_at: datetime | None = None,
) -> Sequence[Row[Any]]:
    """Write outcomes and derive their recipients; the attempts that changed.

    What a webhook told about a message before its own answer was recorded is merged in.
    """
    merged = await _merge_strays(uow, outcomes)
    changed = await queries.record(uow.session, merged, send_after=retry_at or now, now=now)
    released = [row for row in changed if row.status == AttemptStatus.RELEASED]
    rest = [row for row in changed if row.status != AttemptStatus.RELEASED]
    await queries.derive(uow.session, membership_ids=_members(rest), now=now)
    await queries.derive(uow.session, membership_ids=_members(released), now=now, due_at=retry_at)
    return changed


def _members(rows: Sequence[Row[Any]]) -> list[UUID]:
    return [row.membership_id for row in rows if row.membership_id is not None]


async def _merge_strays(uow: UnitOfWork, outcomes: Sequence[Outcome]) -> list[Outcome]:
    named = [item for item in outcomes if item.message_id is not None]
    if not named:
        return list(outcomes)
    strays = await queries.take_strays(
        uow.session,
        message_ids=[str(item.message_id) for item in named],
        attempt_ids=[item.attempt_id for item in named],
    )
    if not strays:
        return list(outcomes)
    return [_with_report(item, strays.get(item.message_id or "")) for item in outcomes]


def _with_report(outcome: Outcome, stray: Row[Any] | None) -> Outcome:
    """Take what was stored about the message where it ranks higher, or came earlier (R13)."""
    if stray is None or stray.status not in {"delivered", "failed", "undelivered"}:
        return outcome
    is_delivered = stray.status == "delivered"
    told = replace(
        outcome,
        status=AttemptStatus.DELIVERED if is_delivered else AttemptStatus.FAILED,
        reported_at=stray.updated_at,
        error_code=None if is_delivered else (stray.error_code or stray.status),
        shown=stray.status,
    )
    if told.status == outcome.status and outcome.reported_at is not None:
        return told if stray.updated_at < outcome.reported_at else outcome
    return max(outcome, told, key=lambda item: REPORT_RANKS[AttemptStatus(item.status)])


async def correct(uow: UnitOfWork, batch: Sequence[Answered], *, now: datetime) -> None:
    """Record answers whose messages were taken for those of other attempts: an answer wins (R6).

    What loses its message is unclear again, with an entry in the audit log; it stays parked if
    its number has an open attempt meanwhile.
    """
    named = [item for item in batch if item.answer.provider_message_id is not None]
    rows = await queries.unbind(
        uow.session,
        message_ids=[str(item.answer.provider_message_id) for item in named],
        attempt_ids=[item.claimed.attempt_id for item in named],
        now=now,
    )
    await record(uow, batch, now=now)
    await queries.reopen(uow.session, ids=[row.id for row in rows], now=now)
    await queries.derive(uow.session, membership_ids=_members(rows), now=now)
    for row in rows:
        await operations.audit(
            uow, actor="worker", action="correct_match", subject=str(row.id), detail={}, now=now
        )
