"""Record: what the provider answered becomes the state of attempts, recipients and lines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.openphone.answers import AnswerKind, SendAnswer
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.sends import blocking, deriving, ledger, texts
from crm_api.domain.sends.claiming import Claimed
from crm_api.domain.sends.ledger import Outcome
from crm_api.domain.sends.models import AttemptStatus

REFUSED_FOR_ALL = AnswerKind.ACCOUNT_REFUSED.value
"""The code of an attempt that the account's refusal ended: no step of its recipient's back-off."""

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
    """Write the answers of a batch; the breaker of a line or campaign follows them.

    An account's refusal stops it, and an accepted probe opens it again. An answer is written
    whatever the row's state, lease or age; an unclear end only on a row that is still calling
    (R6). Safe to repeat.
    """
    outcomes = [_outcome(item, now=now) for item in batch]
    proved, refusals = _proved_lines(batch), _first_refusals(batch)
    await blocking.hold(uow, proved | {item.claimed.line_id for item in refusals})
    await write(uow, outcomes, now=now, retry_at=_asked(batch, now=now), back_off=True)
    await blocking.prove(uow, proved, now=now)
    for item in refusals:
        reason = item.answer.reason or _code(item.answer)
        await blocking.stop(uow, item.claimed, item.answer, reason=reason, now=now)


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
        error_code=None if is_accepted else _code_of_attempt(answer),
        error_detail=None if is_accepted else answer.detail,
    )


def _code_of_attempt(answer: SendAnswer) -> str:
    return REFUSED_FOR_ALL if answer.kind is AnswerKind.ACCOUNT_REFUSED else _code(answer)


def _code(answer: SendAnswer) -> str:
    if answer.code:
        return answer.code
    if answer.http_status:
        return f"http_{answer.http_status}"
    return answer.kind.value


def _asked(batch: Sequence[Answered], *, now: datetime) -> datetime:
    """Return the instant before which the provider does not want to be asked again."""
    waits = (item.answer.retry_after_seconds or 0.0 for item in batch)
    return now + timedelta(seconds=max(waits, default=0.0))


def _proved_lines(batch: Sequence[Answered]) -> set[UUID]:
    """Lines on trial whose probe was accepted; late answers from before it prove nothing."""
    return {
        item.claimed.line_id
        for item in batch
        if item.claimed.is_probe and item.answer.kind is AnswerKind.ACCEPTED
    }


def _first_refusals(batch: Sequence[Answered]) -> list[Answered]:
    """One refusal for each line or campaign that the provider refused."""
    found: dict[tuple[str, UUID | None], Answered] = {}
    for item in batch:
        if item.answer.kind is AnswerKind.ACCOUNT_REFUSED:
            is_campaign = item.answer.scope == "campaign" and item.claimed.campaign_id is not None
            subject = item.claimed.campaign_id if is_campaign else item.claimed.line_id
            found.setdefault(("campaign" if is_campaign else "line", subject), item)
    return list(found.values())


async def write(
    uow: UnitOfWork,
    outcomes: Sequence[Outcome],
    *,
    now: datetime,
    retry_at: datetime | None = None,
    back_off: bool = False,
) -> Sequence[Row[Any]]:
    """Write outcomes and derive their recipients; the attempts that changed.

    What a webhook told about a message before its own answer was recorded is merged in.

    Args:
        retry_at: When those whose call certainly sent nothing are due again.
        back_off: Each of them at a random instant of its own from then on, later each time. Those
            that the account's refusal ended keep their place: they are due once it goes again.
    """
    merged = await _merge_strays(uow, outcomes)
    changed = await ledger.record(uow.session, merged, send_after=retry_at or now, now=now)
    refused_for_all = {item.attempt_id for item in outcomes if item.error_code == REFUSED_FOR_ALL}
    put_off: list[Row[Any]] = []
    others: list[Row[Any]] = []
    for row in changed:
        is_put_off = row.status == AttemptStatus.RELEASED and row.id not in refused_for_all
        (put_off if is_put_off else others).append(row)
    await deriving.derive(uow.session, membership_ids=_members(others), now=now)
    await deriving.derive(
        uow.session, membership_ids=_members(put_off), now=now, due_at=retry_at, back_off=back_off
    )
    if back_off:
        alone = [row.id for row in put_off if row.membership_id is None]
        await texts.back_off(uow, alone, asked=retry_at or now, now=now)
    return changed


def _members(rows: Sequence[Row[Any]]) -> list[UUID]:
    return [row.membership_id for row in rows if row.membership_id is not None]


async def _merge_strays(uow: UnitOfWork, outcomes: Sequence[Outcome]) -> list[Outcome]:
    named = [item for item in outcomes if item.message_id is not None]
    if not named:
        return list(outcomes)
    strays = await ledger.take_strays(
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
    rows = await ledger.unbind(
        uow.session,
        message_ids=[str(item.answer.provider_message_id) for item in named],
        attempt_ids=[item.claimed.attempt_id for item in named],
        now=now,
    )
    await record(uow, batch, now=now)
    await ledger.reopen(uow.session, ids=[row.id for row in rows], now=now)
    await deriving.derive(uow.session, membership_ids=_members(rows), now=now)
    for row in rows:
        await operations.audit(
            uow, actor="worker", action="correct_match", subject=str(row.id), detail={}, now=now
        )


async def record_without_ids(uow: UnitOfWork, batch: Sequence[Answered], *, now: datetime) -> None:
    """Record acceptances whose ids other answers own: as accepted without one, and an alert.

    The provider gave one id twice. What it says of the message cannot be told apart, so a person
    decides; nobody is texted again for it.
    """
    for item in batch:
        await operations.raise_alert(
            uow,
            kind=AlertKind.MESSAGE_ID_GIVEN_TWICE,
            subject=str(item.answer.provider_message_id),
            detail="OpenPhone answered two sends with the same message id. The second one is kept "
            "as accepted without an id; settle it once you have seen in OpenPhone if it arrived.",
            context={"attempt_id": str(item.claimed.attempt_id)},
            now=now,
        )
    await record(uow, [_without_id(item) for item in batch], now=now)


def _without_id(item: Answered) -> Answered:
    answer = replace(
        item.answer,
        kind=AnswerKind.UNCLEAR,
        provider_message_id=None,
        no_id=True,
        code="id_given_twice",
        detail="The provider gave this text the id of another one.",
    )
    return replace(item, answer=answer)
