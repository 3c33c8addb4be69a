"""Replay: lets received events be applied again, one, a selection, or all.

Nothing is done twice by it: every effect hangs on a row that is new, or only moves forward. What
was applied and is replayed changes no row.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.webhooks import queries
from crm_api.domain.webhooks.errors import WebhookEventNotFoundError
from crm_api.domain.webhooks.queries import ErrorClass, Outcome, Selection
from crm_api.jobs import Job, JobName

DEAD_EVENT = AlertKind.WEBHOOK_EVENT_DEAD
"""The alert's kind; its subject is the error class."""
PER_SECOND = 300
"""So many of a selection fall due in a second: what comes in meanwhile need not wait for all."""


async def replay(uow: UnitOfWork, *, event_id: UUID, now: datetime) -> None:
    """Let an event be applied again, whatever became of it, and nudge the worker.

    Raises:
        WebhookEventNotFoundError: There is no such event.
    """
    if not await queries.replay(uow.session, event_id=event_id, now=now):
        raise WebhookEventNotFoundError("There is no received event with this id.")
    uow.after_commit(Job(name=JobName.PROCESS_WEBHOOK_BACKLOG))


async def count_selected(uow: UnitOfWork, selection: Selection) -> int:
    """Count what a replay would take."""
    return await queries.count_selected(uow.session, selection)


async def replay_selected(
    uow: UnitOfWork, selection: Selection, *, actor: str, now: datetime
) -> int:
    """Let all selected events be applied again, in the order in which they came; how many.

    It goes into the audit log, and the worker is nudged.
    """
    count = await queries.replay_selected(uow.session, selection, per_second=PER_SECOND, now=now)
    await operations.audit(
        uow,
        actor=actor,
        action="replay_webhook_events",
        subject="webhook_event",
        detail={**_written(selection), "events": count},
        now=now,
    )
    if count:
        uow.after_commit(Job(name=JobName.PROCESS_WEBHOOK_BACKLOG))
    return count


def _written(selection: Selection) -> dict[str, object]:
    after = selection.received_after
    told: dict[str, object | None] = {
        "status": selection.status and selection.status.value,
        "type": selection.type,
        "error_code": selection.error_code,
        "received_after": after and after.isoformat(),
        "ids": None if selection.ids is None else [str(one) for one in selection.ids],
    }
    return {name: value for name, value in told.items() if value is not None}


async def list_errors(uow: UnitOfWork) -> Sequence[ErrorClass]:
    """List what events failed of and are not applied yet, by error class, the latest first."""
    return await queries.list_errors(uow.session)


async def resolve_recovered(uow: UnitOfWork, *, now: datetime) -> None:
    """End the alerts of error classes of which every event has been applied since."""
    standing = await operations.open_subjects(uow, kind=DEAD_EVENT)
    if not standing:
        return
    for code in await queries.recovered(uow.session, codes=standing):
        await operations.resolve_alert(uow, kind=DEAD_EVENT, subject=code, now=now)


async def raise_dead(
    uow: UnitOfWork,
    *,
    event_id: UUID,
    event_type: str,
    outcome: Outcome,
    now: datetime,
) -> None:
    """Raise the alert of an event that was tried to the end."""
    code = str(outcome.error_code)
    await operations.raise_alert(
        uow,
        kind=DEAD_EVENT,
        subject=code,
        detail=f"Events that the provider told of could not be applied; the last one "
        f"({event_type}) was tried {outcome.attempts} times: {outcome.last_error} Nothing is lost: "
        f"see GET /v1/webhook-events?status=dead&error_code={code}, mend the cause, then POST "
        f'/v1/webhook-events/replay {{"error_code": "{code}"}}.',
        context={"event_id": str(event_id), "type": event_type},
        now=now,
    )
