"""What the one who works on a run writes: answers, how far it is, and how it ended."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.phone_validation import queries
from crm_api.domain.phone_validation.errors import ValidationLostError
from crm_api.domain.phone_validation.models import LineType, PhoneValidation, RunStatus
from crm_api.domain.phone_validation.service import VALIDATE
from crm_api.domain.phone_validation.validator import Answer

LEASE = timedelta(seconds=120)
"""How long a run stays a worker's after it last wrote; longer than any few calls take."""
MOST_FAILURES = 6
BACK_OFF = timedelta(minutes=1)
"""Doubled after each failure: six of them take half an hour."""
KEPT = timedelta(days=180)
"""How long an answer counts before it is asked for again; numbers are carried over, but seldom."""
UNKNOWN_KEPT = timedelta(days=30)
REFUSED, FAILED = AlertKind.PHONE_LOOKUP_REFUSED, AlertKind.PHONE_VALIDATION_FAILED
"""Kinds of alerts."""
SERVICE = "phone_lookup"
"""What the alerts are about."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a validator said of a number."""

    phone: str
    answer: Answer
    source: str


async def claim(uow: UnitOfWork, *, now: datetime) -> PhoneValidation | None:
    """Take the run that is next, for the length of a lease; None when none is to be had."""
    return await queries.claim(uow.session, token=uuid4(), lease_until=now + LEASE, now=now)


async def store(uow: UnitOfWork, found: Iterable[Found], *, now: datetime) -> None:
    """Keep what was learned, whoever has the run by now: it is paid for."""
    rows = [
        {
            "phone": one.phone,
            "line_type": one.answer.line_type.value,
            "carrier": one.answer.carrier,
            "source": one.source,
            "expires_at": now + _kept(one.answer),
        }
        for one in found
    ]
    if rows:
        await queries.store(uow.session, rows=rows, now=now)


def _kept(answer: Answer) -> timedelta:
    return UNKNOWN_KEPT if answer.line_type is LineType.UNKNOWN else KEPT


async def note_lookups(uow: UnitOfWork, run: PhoneValidation, count: int, *, now: datetime) -> None:
    """Count answers of the service, and stay the one who works on the run.

    Raises:
        ValidationLostError: Somebody else has it, or it was cancelled.
    """
    run.looked_up += count
    await _save(uow, run, {"looked_up": run.looked_up, "lease_until": now + LEASE})


async def advance(
    uow: UnitOfWork,
    run: PhoneValidation,
    *,
    line_types: Counter[str],
    position: UUID,
    now: datetime,
) -> None:
    """Write down that a page is done; what failed before it is forgotten.

    Raises:
        ValidationLostError: Somebody else has it, or it was cancelled.
    """
    run.checked += line_types.total()
    run.line_types = dict(Counter(run.line_types) + line_types)
    run.position = position
    run.failures = 0
    values: dict[str, Any] = {
        "checked": run.checked,
        "line_types": run.line_types,
        "position": position,
        "failures": 0,
        "last_error": None,
        "lease_until": now + LEASE,
    }
    await _save(uow, run, values)


async def let_go(uow: UnitOfWork, run: PhoneValidation) -> None:
    """Let anybody go on with a run at once; asks for ``validate_phones``.

    Raises:
        ValidationLostError: Somebody else has it, or it was cancelled.
    """
    await _save(uow, run, {"lease_until": None, "lease_token": None})
    uow.after_commit(VALIDATE)


async def hold(uow: UnitOfWork, run: PhoneValidation, *, why: str, until: datetime) -> None:
    """Let the run go on then, without a failure.

    Raises:
        ValidationLostError: Somebody else has it, or it was cancelled.
    """
    await _save(uow, run, {"last_error": why, "lease_token": None, "lease_until": until})


async def postpone(uow: UnitOfWork, run: PhoneValidation, *, error: str, now: datetime) -> None:
    """Go on later, because the service could not be asked; after some such failures it fails.

    Raises:
        ValidationLostError: Somebody else has it, or it was cancelled.
    """
    run.failures += 1
    if run.failures >= MOST_FAILURES:
        await fail(uow, run, kind=FAILED, error=error, now=now)
        return
    values = {
        "failures": run.failures,
        "last_error": error,
        "lease_token": None,
        "lease_until": now + BACK_OFF * 2 ** (run.failures - 1),
    }
    await _save(uow, run, values)


async def complete(uow: UnitOfWork, run: PhoneValidation, *, now: datetime) -> None:
    """End a run that has come past everybody; where the service answered, its alerts are over.

    Raises:
        ValidationLostError: Somebody else has it, or it was cancelled.
    """
    await _end(uow, run, RunStatus.COMPLETED, error=None, now=now)
    await operations.resolve_alert(uow, kind=FAILED, subject=SERVICE, now=now)
    if run.looked_up:
        await operations.resolve_alert(uow, kind=REFUSED, subject=SERVICE, now=now)


async def fail(
    uow: UnitOfWork, run: PhoneValidation, *, kind: AlertKind, error: str, now: datetime
) -> None:
    """End a run that cannot go on, with an alert; what it learned stays.

    Raises:
        ValidationLostError: Somebody else has it, or it was cancelled.
    """
    await _end(uow, run, RunStatus.FAILED, error=error, now=now)
    await operations.raise_alert(
        uow,
        kind=kind,
        subject=SERVICE,
        detail=f"The validation of phone numbers stopped: {error} Put that right, then begin anew "
        "by POST /v1/phone-validations; what is known by then is not looked up again.",
        context={"run_id": str(run.id), "checked": run.checked, "total": run.total},
        now=now,
    )


async def _end(
    uow: UnitOfWork, run: PhoneValidation, status: RunStatus, *, error: str | None, now: datetime
) -> None:
    values = {
        "status": status.value,
        "finished_at": now,
        "last_error": error,
        "lease_token": None,
        "lease_until": None,
    }
    await _save(uow, run, values)


async def _save(uow: UnitOfWork, run: PhoneValidation, values: Mapping[str, object]) -> None:
    token = run.lease_token
    if token is None or not await queries.save(
        uow.session, run_id=run.id, token=token, values=values
    ):
        raise ValidationLostError("Another worker goes on with this run, or it was cancelled.")
