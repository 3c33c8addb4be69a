"""Reserve a validation run for a worker, and store its results, its progress and its end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text, update

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.backoff import Backoff
from crm_api.domain.people.models.phone_validation import LineType, PhoneValidation, RunStatus
from crm_api.domain.people.phone_validation.errors import ValidationLostError
from crm_api.domain.people.phone_validation.service import VALIDATE
from crm_api.domain.people.phone_validation.validator import LineTypeAnswer
from crm_api.platform.database import UnitOfWork, affected

LEASE = timedelta(seconds=120)
"""How long a worker's claim on a validation run lasts after the last write of the worker.

A batch of look-ups takes less time than this.
"""
MOST_FAILURES = 6
WAITS = Backoff(first=timedelta(minutes=1), longest=timedelta(minutes=16))
"""The wait after each failure; the five waits before the sixth failure add up to half an hour."""
FRESH_FOR = timedelta(days=180)
"""After this time, a known line type is looked up again. Line types rarely change."""
UNKNOWN_FRESH_FOR = timedelta(days=30)
"""After this time, an unknown line type is looked up again."""
REFUSED, FAILED = AlertKind.PHONE_LOOKUP_REFUSED, AlertKind.PHONE_VALIDATION_FAILED
"""The kinds of alerts that this module raises and resolves."""
SERVICE = "phone_lookup"
"""The subject of the alerts that this module raises."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The line type of a phone number, such as ``mobile``.

    ``source`` is the name of the validator that found the line type: ``lookup_service`` for the
    paid service, or ``offline`` for the check of the number's first digits.
    """

    phone: str
    answer: LineTypeAnswer
    source: str


# The oldest unfinished run is locked even if a worker has claimed it. A second worker waits for
# this lock, and then sees the claim. So the workers process one run at a time, and no look-up is
# paid twice. An expired claim is recorded as a failure. Otherwise, a run that crashes its workers
# would be repeated for ever.
_CLAIM = text("""
    WITH first AS (
        SELECT id FROM phone_validation WHERE status IN ('pending', 'running')
        ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE
    )
    UPDATE phone_validation r
    SET status = 'running', started_at = coalesce(r.started_at, :now),
        failures = r.failures + (r.lease_token IS NOT NULL)::integer, lease_token = :token,
        lease_until = :lease_until
    FROM first WHERE r.id = first.id AND (r.lease_until IS NULL OR r.lease_until <= :now)
    RETURNING r.id
""")


async def claim_validation(uow: UnitOfWork, *, now: datetime) -> PhoneValidation | None:
    """Claim (reserve) the oldest unfinished validation run for this worker.

    Return None in these cases:

    - There is no unfinished run.
    - Another worker has claimed the oldest unfinished run, or this run is postponed.
    """
    values = {"token": uuid4(), "lease_until": now + LEASE, "now": now}
    run_id = await uow.session.scalar(_CLAIM, values)
    if run_id is None:
        return None
    return await uow.session.get(PhoneValidation, run_id, populate_existing=True)


# Rows are written in the order of the numbers, so that two statements cannot deadlock.
_STORE = text("""
    INSERT INTO phone_lookup AS k (phone, line_type, carrier, source, checked_at, expires_at)
    SELECT a.phone, a.line_type, a.carrier, a.source, :now, a.expires_at
    FROM unnest(CAST(:phones AS text[]), CAST(:line_types AS text[]), CAST(:carriers AS text[]),
                CAST(:sources AS text[]), CAST(:expiries AS timestamptz[]))
        AS a (phone, line_type, carrier, source, expires_at)
    ORDER BY a.phone
    ON CONFLICT (phone) DO UPDATE
    SET line_type = excluded.line_type, carrier = excluded.carrier, source = excluded.source,
        checked_at = excluded.checked_at, expires_at = excluded.expires_at
""")


async def store_findings(uow: UnitOfWork, found: Sequence[Found], *, now: datetime) -> None:
    """Store line types, and replace earlier line types of the same phone numbers.

    A line type is the kind of a phone number, such as ``mobile``. The look-ups cost money.
    Therefore, their results are stored even if another worker has taken over the validation run.
    """
    if not found:
        return
    values = {
        "phones": [one.phone for one in found],
        "line_types": [one.answer.line_type.value for one in found],
        "carriers": [one.answer.carrier for one in found],
        "sources": [one.source for one in found],
        "expiries": [now + _fresh_for(one.answer) for one in found],
        "now": now,
    }
    await uow.session.execute(_STORE, values)


def _fresh_for(answer: LineTypeAnswer) -> timedelta:
    return UNKNOWN_FRESH_FOR if answer.line_type is LineType.UNKNOWN else FRESH_FOR


async def note_lookups(uow: UnitOfWork, run: PhoneValidation, count: int, *, now: datetime) -> None:
    """Store that the look-up service returned ``count`` more results in a validation run.

    This worker's reservation of the run is extended until ``LEASE`` after ``now``.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
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
    """Store that a page of contacts was checked in a validation run.

    The worker's reservation of the run is extended, and ``failures`` is set to 0.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
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


async def release(uow: UnitOfWork, run: PhoneValidation) -> None:
    """End this worker's reservation of a validation run, so that any worker can continue the run.

    This function also requests the job that continues the run.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
    """
    await _save(uow, run, {"lease_until": None, "lease_token": None})
    uow.after_commit(VALIDATE)


async def postpone(uow: UnitOfWork, run: PhoneValidation, *, why: str, until: datetime) -> None:
    """Stop the work on a validation run until ``until``. Then any worker can continue the run.

    The field ``failures`` does not change.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
    """
    await _save(uow, run, {"last_error": why, "lease_token": None, "lease_until": until})


async def postpone_after_failure(
    uow: UnitOfWork, run: PhoneValidation, *, error: str, now: datetime
) -> None:
    """Store a failure of the look-up service, and postpone the run; a worker continues it later.

    After ``MOST_FAILURES`` failures in a row, the run ends as failed.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
    """
    run.failures += 1
    if run.failures >= MOST_FAILURES:
        await fail(uow, run, kind=FAILED, error=error, now=now)
        return
    values = {
        "failures": run.failures,
        "last_error": error,
        "lease_token": None,
        "lease_until": now + WAITS.wait(run.failures),
    }
    await _save(uow, run, values)


async def complete(uow: UnitOfWork, run: PhoneValidation, *, now: datetime) -> None:
    """Complete a validation run, and resolve the alert about a failed run.

    If the look-up service returned a result in this run, also resolve the alert that the service
    refuses requests.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
    """
    await _end(uow, run, RunStatus.COMPLETED, error=None, now=now)
    await alerts.resolve_alert(uow, kind=FAILED, subject=SERVICE, now=now)
    if run.looked_up:
        await alerts.resolve_alert(uow, kind=REFUSED, subject=SERVICE, now=now)


async def fail(
    uow: UnitOfWork, run: PhoneValidation, *, kind: AlertKind, error: str, now: datetime
) -> None:
    """End a validation run as failed and raise an alert; the line types found so far stay stored.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
    """
    await _end(uow, run, RunStatus.FAILED, error=error, now=now)
    await alerts.raise_alert(
        uow,
        kind=kind,
        subject=SERVICE,
        detail=f"The validation of phone numbers stopped: {error} Correct the cause, then start a "
        "new run with POST /v1/phone-validations. Known line types are not looked up again.",
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
    """Write columns of a validation run that is reserved for this worker.

    Raises:
        ValidationLostError: Another worker has taken over the run, or the run was cancelled.
    """
    if run.lease_token is None:
        raise _taken_over()
    statement = (
        update(PhoneValidation)
        .where(
            PhoneValidation.id == run.id,
            PhoneValidation.lease_token == run.lease_token,
            PhoneValidation.status == RunStatus.RUNNING,
        )
        .values(values)
        .execution_options(synchronize_session=False)
    )
    if not affected(await uow.session.execute(statement)):
        raise _taken_over()


def _taken_over() -> ValidationLostError:
    return ValidationLostError()
