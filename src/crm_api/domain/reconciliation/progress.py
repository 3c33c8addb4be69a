"""What the one who works on a run writes: how far it is, and how it ended."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import uuid4

from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.reconciliation import drift as drifts
from crm_api.domain.reconciliation import queries
from crm_api.domain.reconciliation.errors import RunLostError
from crm_api.domain.reconciliation.models import ReconciliationRun, RunStatus
from crm_api.domain.reconciliation.service import RECONCILE

LEASE = timedelta(seconds=60)
"""How long a run stays a worker's after it last wrote; then another goes on with it."""
MOST_FAILURES = 6
BACK_OFF = timedelta(minutes=1)
"""Doubled after each failure: six of them take half an hour."""
DRIFT, FAILED = AlertKind.RECONCILIATION_DRIFT, AlertKind.RECONCILIATION_FAILED
"""Kinds of alerts."""
PROVIDER = "openphone"
"""What the alerts are about."""


async def claim(uow: UnitOfWork, *, now: datetime) -> ReconciliationRun | None:
    """Take the run that is next, for a minute; None when none is to be had."""
    return await queries.claim(uow.session, token=uuid4(), lease_until=now + LEASE, now=now)


async def keep(uow: UnitOfWork, run: ReconciliationRun, *, now: datetime, **values: object) -> None:
    """Write down how far a run is, and stay the one who works on it.

    Raises:
        RunLostError: Somebody else has it.
    """
    await _save(uow, run, {**values, "lease_until": now + LEASE})


async def let_go(uow: UnitOfWork, run: ReconciliationRun) -> None:
    """Let anybody go on with a run at once; asks for ``reconcile_openphone``.

    Raises:
        RunLostError: Somebody else has it.
    """
    await _save(uow, run, {"lease_until": None, "lease_token": None})
    uow.after_commit(RECONCILE)


async def complete(uow: UnitOfWork, run: ReconciliationRun, *, now: datetime) -> None:
    """End a run that has seen everything; drift is an alert, and a clean run ends it.

    Raises:
        RunLostError: Somebody else has it.
    """
    await _end(uow, run, RunStatus.COMPLETED, now=now, last_error=None, failures=0)
    await operations.resolve_alert(uow, kind=FAILED, subject=PROVIDER, now=now)
    found = drifts.counts(run.drift)
    if not any(found.values()):
        await operations.resolve_alert(uow, kind=DRIFT, subject=PROVIDER, now=now)
        return
    await operations.raise_alert(
        uow,
        kind=DRIFT,
        subject=PROVIDER,
        detail=f"{drifts.sentence(run.drift)} What was missing here has been filled in; if it "
        "comes back, `crm-api webhooks test` shows whether events reach this service.",
        context={"run_id": str(run.id), **found},
        now=now,
    )


async def fail(uow: UnitOfWork, run: ReconciliationRun, *, error: str, now: datetime) -> None:
    """End a run that cannot go on, with an alert; what it wrote stays.

    Raises:
        RunLostError: Somebody else has it.
    """
    await _end(uow, run, RunStatus.FAILED, now=now, last_error=error)
    await operations.raise_alert(
        uow,
        kind=FAILED,
        subject=PROVIDER,
        detail=f"The comparison with OpenPhone failed: {error} The next night tries again, and "
        "POST /v1/reconciliation-runs does at once.",
        context={"run_id": str(run.id), "failures": run.failures},
        now=now,
    )


async def hold(uow: UnitOfWork, run: ReconciliationRun, *, why: str, now: datetime) -> timedelta:
    """Go on later without a failure, because nobody may call the provider now.

    Returns:
        How long to wait.

    Raises:
        RunLostError: Somebody else has it.
    """
    values = {"last_error": why, "lease_token": None, "lease_until": now + BACK_OFF}
    await _save(uow, run, values)
    return BACK_OFF


async def postpone(
    uow: UnitOfWork, run: ReconciliationRun, *, error: str, now: datetime
) -> timedelta | None:
    """Go on later, because the provider could not be read; after some such failures it fails.

    Returns:
        How long to wait; None when it has failed.

    Raises:
        RunLostError: Somebody else has it.
    """
    run.failures += 1
    if run.failures >= MOST_FAILURES:
        await fail(uow, run, error=error, now=now)
        return None
    wait: timedelta = BACK_OFF * 2 ** (run.failures - 1)
    values = {
        "failures": run.failures,
        "last_error": error,
        "lease_token": None,
        "lease_until": now + wait,
    }
    await _save(uow, run, values)
    return wait


async def _end(
    uow: UnitOfWork, run: ReconciliationRun, status: RunStatus, *, now: datetime, **more: object
) -> None:
    ended = {"status": status.value, "finished_at": now, "lease_until": None}
    await _save(uow, run, {**ended, **more})


async def _save(uow: UnitOfWork, run: ReconciliationRun, values: Mapping[str, object]) -> None:
    token = run.lease_token
    if token is None or not await queries.save(
        uow.session, run_id=run.id, token=token, values=dict(values)
    ):
        raise RunLostError("Another worker goes on with this run.")
