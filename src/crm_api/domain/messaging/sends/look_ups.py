"""Settle unknown attempts: look up at the provider whether their messages were accepted.

An attempt counts as not accepted only after two complete look-ups that did not find its message.
Both must begin after the grace period (Sending, rule 7).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.models.sends import AttemptStatus
from crm_api.domain.messaging.sends import record, report
from crm_api.domain.messaging.sends.ledger import AttemptOutcome
from crm_api.domain.messaging.sends.matching import UnknownAttempt, find_candidates
from crm_api.domain.messaging.sends.parked_alerts import (
    NOT_LISTED,
)
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.facts import MessageFacts, bound_message
from crm_api.platform.database import UnitOfWork, typed_row

CANARY_SHARE = 4
"""The provider's list must contain an accepted message after a quarter of the grace period (the
grace period divided by this number). If the list lacks such a message (the canary), the list is not
up to date, and a look-up that finds nothing does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMessage:
    """A message with a known id that the provider's list must contain by now."""

    provider_message_id: str
    phone: str
    accepted_at: datetime


# Finds the newest message with a known id that is old enough to be in the provider's list.
CANARY = text("""
    SELECT a.provider_message_id, a.phone, a.accepted_at FROM send_attempt a
    WHERE a.line_id = :line_id AND a.accepted_at IS NOT NULL
      AND a.accepted_at < CAST(:now AS timestamptz) - make_interval(secs => :age)
      AND a.accepted_at > CAST(:now AS timestamptz) - interval '1 day'
      AND a.provider_message_id IS NOT NULL AND NOT a.is_matched
    ORDER BY a.accepted_at DESC LIMIT 1
""")


async def find_canary(
    uow: UnitOfWork, *, line_id: UUID, times: SendTimes, now: datetime
) -> ListedMessage | None:
    """Return a message with a known id that the provider's list must contain by now.

    The caller uses this message to test whether the list is up to date. None if there is no such
    message.
    """
    age = times.grace_seconds / CANARY_SHARE
    values = {"line_id": line_id, "age": age, "now": now}
    return typed_row(ListedMessage, (await uow.session.execute(CANARY, values)).one_or_none())


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """The result of one complete look-up of an unknown attempt.

    Attributes:
        begun_at: When the look-up began. Messages that the provider lists later may be missing.
        messages: Every outgoing message to the number in the attempt's time window.
        list_lags: True if the provider's list lacks a message that it must contain. Then a look-up
            that finds nothing does not count.
    """

    begun_at: datetime
    messages: Sequence[MessageFacts] = field(default_factory=tuple)
    list_lags: bool = False


async def conclude_look_up(
    uow: UnitOfWork, unknown: UnknownAttempt, look_up: LookUp, *, times: SendTimes, now: datetime
) -> AttemptStatus:
    """Settle an unknown attempt if the look-up allows it; return the new status of the attempt.

    The attempt stays ``unknown`` if it needs another look-up.
    """
    listed = [bound_message(facts, received_at=now) for facts in look_up.messages]
    found = await find_candidates(uow, unknown, listed, times=times)
    candidates, same = found.ours, found.same
    is_old = look_up.begun_at - unknown.called_at > times.grace
    if len(same) == 1:
        outcome = report.outcome_of(
            same[0], attempt_id=unknown.id, is_matched=True, seen=AttemptStatus.UNKNOWN
        )
        await record.write_outcomes(uow, [outcome], now=now)
        return AttemptStatus(outcome.status)
    if candidates:
        if is_old:
            return await _park(uow, unknown, why=found.why, now=now)
        return await _wait(uow, unknown, nil_at=None, now=now)
    if not is_old or look_up.list_lags:
        return await _wait(uow, unknown, nil_at=unknown.nil_at, now=now)
    return await _conclude_absent(uow, unknown, look_up, times=times, now=now)


async def _conclude_absent(
    uow: UnitOfWork,
    unknown: UnknownAttempt,
    look_up: LookUp,
    *,
    times: SendTimes,
    now: datetime,
) -> AttemptStatus:
    """Count a look-up that found nothing. The second such look-up settles the attempt.

    The second look-up counts only if it began at least ``look_gap`` after the first.
    """
    if unknown.nil_at is None:
        return await _wait(uow, unknown, nil_at=look_up.begun_at, now=now)
    if look_up.begun_at - unknown.nil_at < times.look_gap:
        return await _wait(uow, unknown, nil_at=unknown.nil_at, now=now)
    if unknown.has_no_id or not unknown.resend_unclear:
        return await _park(uow, unknown, why=NOT_LISTED, now=now)
    outcome = AttemptOutcome(
        attempt_id=unknown.id,
        status=AttemptStatus.NOT_FOUND,
        seen=AttemptStatus.UNKNOWN,
        error_code="not_found",
    )
    await record.write_outcomes(uow, [outcome], now=now)
    return AttemptStatus.NOT_FOUND


POSTPONE_LOOK = text("""
    UPDATE send_attempt a SET updated_at = :now WHERE a.id = :id AND a.status = 'unknown'
""")


async def postpone_look_up(uow: UnitOfWork, unknown: UnknownAttempt, *, now: datetime) -> None:
    """Move an attempt to the end of the look-up queue, because its look-up was not completed."""
    await uow.session.execute(POSTPONE_LOOK, {"id": unknown.id, "now": now})


NOTE_LOOK = text("""
    UPDATE send_attempt a SET nil_at = x.nil_at, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:nil_ats AS timestamptz[])) AS x (id, nil_at)
    WHERE a.id = x.id AND a.status = 'unknown'
""")


async def _wait(
    uow: UnitOfWork, unknown: UnknownAttempt, *, nil_at: datetime | None, now: datetime
) -> AttemptStatus:
    values = {"ids": [unknown.id], "nil_ats": [nil_at], "now": now}
    await uow.session.execute(NOTE_LOOK, values)
    return AttemptStatus.UNKNOWN


async def _park(
    uow: UnitOfWork, unknown: UnknownAttempt, *, why: str, now: datetime
) -> AttemptStatus:
    """Park an unknown attempt, so that a user decides; ``write_outcomes`` raises the alert.

    Args:
        why: The error code, a key of ``parked_alerts.WHY_PARKED``.
    """
    outcome = AttemptOutcome(
        attempt_id=unknown.id,
        status=AttemptStatus.PARKED,
        seen=AttemptStatus.UNKNOWN,
        error_code=why,
        has_no_id=unknown.has_no_id,
    )
    await record.write_outcomes(uow, [outcome], now=now)
    return AttemptStatus.PARKED
