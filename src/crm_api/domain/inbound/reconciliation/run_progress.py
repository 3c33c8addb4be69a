"""Reserve a reconciliation run for one worker, and store the progress and the end of the run.

Only the worker that has reserved the run may store its progress and its end.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import text, update

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.reconciliation import drift as drifts
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun, RunStatus
from crm_api.domain.inbound.reconciliation.runs import RECONCILE_JOB
from crm_api.domain.kit.backoff import Backoff
from crm_api.domain.kit.errors import ConflictError
from crm_api.platform.database import UnitOfWork

LEASE = timedelta(seconds=60)
"""How long a run belongs to its worker after the worker's last write. After this time, another
worker may claim the run."""
MOST_FAILURES = 6
WAITS = Backoff(first=timedelta(minutes=1), longest=timedelta(minutes=16))
"""Waits after failures. The waits between the first and the sixth failure add up to half an hour.
"""
DRIFT, FAILED = AlertKind.RECONCILIATION_DRIFT, AlertKind.RECONCILIATION_FAILED
PROVIDER = "openphone"
"""Subject of the alerts about reconciliation."""


class RunLostError(ConflictError):
    """Another worker has taken over the run, so the caller must not write its pending changes."""

    code = "reconciliation_run_lost"
    title = "Reconciliation run was taken over by another worker"
    detail = "Another worker has taken over this run."


# Selects the oldest unfinished run, even if another worker has claimed it. The statement locks the
# row of the run, so a second worker waits here and then sees the lease. So two workers never work
# on two runs at the same time. An expired lease is counted as a failure of the run. So a run that
# crashes its workers ends after some failures.
CLAIM_RUN = text("""
    WITH first AS (
        SELECT id FROM reconciliation_run WHERE status IN ('pending', 'running')
        ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE
    )
    UPDATE reconciliation_run r
    SET status = 'running', started_at = coalesce(r.started_at, :now),
        failures = r.failures + (r.lease_token IS NOT NULL)::integer, lease_token = :token,
        lease_until = :lease_until
    FROM first WHERE r.id = first.id AND (r.lease_until IS NULL OR r.lease_until <= :now)
    RETURNING r.id
""")


async def claim_run(uow: UnitOfWork, *, now: datetime) -> ReconciliationRun | None:
    """Reserve the oldest unfinished reconciliation run for this worker, for the time ``LEASE``.

    Return None if every run has ended, or if another worker has reserved the oldest unfinished run.
    """
    values = {"token": uuid4(), "lease_until": now + LEASE, "now": now}
    run_id = await uow.session.scalar(CLAIM_RUN, values)
    if run_id is None:
        return None
    return await uow.session.get(ReconciliationRun, run_id, populate_existing=True)


async def store_progress(
    uow: UnitOfWork, run: ReconciliationRun, *, now: datetime, **values: object
) -> None:
    """Store the progress of a reconciliation run, and reserve the run for ``LEASE`` from now.

    Raises:
        RunLostError: Another worker has taken over the run.
    """
    await _save(uow, run, {**values, "lease_until": now + LEASE})


async def release_run(uow: UnitOfWork, run: ReconciliationRun) -> None:
    """Release a reconciliation run, so that any worker can reserve it now.

    Also request the job ``reconcile_openphone``, which continues the run.

    Raises:
        RunLostError: Another worker has taken over the run.
    """
    await _save(uow, run, {"lease_until": None, "lease_token": None})
    uow.after_commit(RECONCILE_JOB)


async def complete_run(uow: UnitOfWork, run: ReconciliationRun, *, now: datetime) -> None:
    """Mark a reconciliation run as completed, and resolve the alert about failed runs.

    If the run found differences, raise an alert. Otherwise, resolve the alert about differences.

    Raises:
        RunLostError: Another worker has taken over the run.
    """
    await _end(uow, run, RunStatus.COMPLETED, now=now, last_error=None, failures=0)
    await alerts.resolve_alert(uow, kind=FAILED, subject=PROVIDER, now=now)
    found = drifts.count_by_kind(run.drift)
    if not any(found.values()):
        await alerts.resolve_alert(uow, kind=DRIFT, subject=PROVIDER, now=now)
        return
    await alerts.raise_alert(
        uow,
        kind=DRIFT,
        subject=PROVIDER,
        detail=f"{drifts.drift_sentence(run.drift)} Missing data is stored now. If this happens "
        "again, `crm-api webhooks test` shows whether events reach this service.",
        context={"run_id": str(run.id), **found},
        now=now,
    )


async def fail_run(uow: UnitOfWork, run: ReconciliationRun, *, error: str, now: datetime) -> None:
    """Mark a reconciliation run as failed and raise an alert; keep the data that the run stored.

    Raises:
        RunLostError: Another worker has taken over the run.
    """
    await _end(uow, run, RunStatus.FAILED, now=now, last_error=error)
    await alerts.raise_alert(
        uow,
        kind=FAILED,
        subject=PROVIDER,
        detail=f"The comparison with OpenPhone failed: {error} It is repeated next night. To "
        "repeat it now, send POST /v1/reconciliation-runs.",
        context={"run_id": str(run.id), "failures": run.failures},
        now=now,
    )


async def hold_run(
    uow: UnitOfWork, run: ReconciliationRun, *, why: str, now: datetime
) -> timedelta:
    """Postpone a reconciliation run because no requests to the provider may be sent now.

    This does not count as a failure of the run.

    Returns:
        How long to wait.

    Raises:
        RunLostError: Another worker has taken over the run.
    """
    values = {"last_error": why, "lease_token": None, "lease_until": now + WAITS.first}
    await _save(uow, run, values)
    return WAITS.first


async def postpone_run(
    uow: UnitOfWork, run: ReconciliationRun, *, error: str, now: datetime
) -> timedelta | None:
    """Postpone a reconciliation run because the provider could not be read.

    If the provider could not be read ``MOST_FAILURES`` times in a row, mark the run as failed
    instead.

    Returns:
        How long to wait; None if the run has failed for good.

    Raises:
        RunLostError: Another worker has taken over the run.
    """
    run.failures += 1
    if run.failures >= MOST_FAILURES:
        await fail_run(uow, run, error=error, now=now)
        return None
    wait = WAITS.wait(run.failures)
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
    mine = (
        ReconciliationRun.id == run.id,
        ReconciliationRun.lease_token == run.lease_token,
        ReconciliationRun.status == RunStatus.RUNNING,
    )
    saved = update(ReconciliationRun).where(*mine).values(values).returning(ReconciliationRun.id)
    found = await uow.session.execute(saved, execution_options={"synchronize_session": False})
    if found.one_or_none() is None:
        raise RunLostError
