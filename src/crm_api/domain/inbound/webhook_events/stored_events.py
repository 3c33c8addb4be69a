"""List received events and their errors, and replay events: one, a selection, or all.

A replay of an event that was already applied changes nothing: the message or call of the event is
stored already, and its status is never replaced by an earlier status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Float, cast, func, literal, select, text, update

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.webhook_events import event_lines
from crm_api.domain.inbound.webhook_events.event_outcomes import EventOutcome
from crm_api.domain.inbound.webhook_events.models import WebhookEvent, WebhookEventStatus
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.kit.schemas import Instant, ReadModel
from crm_api.platform.database import UnitOfWork, affected, get_or_raise
from crm_api.platform.jobs import Job, JobName

DEAD_EVENT = AlertKind.WEBHOOK_EVENT_DEAD
"""Kind of the alert about dead events (events that are not tried again). The subject of the alert
is the error code."""
PER_SECOND = 300
"""Number of replayed events that become due per second; new events are applied in between."""


class WebhookEventNotFoundError(NotFoundError):
    """No received event has this id."""

    code = "webhook_event_not_found"
    title = "Webhook event not found"
    detail = "No received event has this id. GET /v1/webhook-events lists the stored events."


class ErrorClassRead(ReadModel):
    """A group of events that are not applied yet and have the same error code.

    Attributes:
        error_code: The error code of these events.
        events: The number of events in the group.
        dead: The number of events that are no longer retried automatically.
        types: The types of the events in the group.
        first_seen_at: When the oldest event was received.
        last_seen_at: When the newest event was received.
        last_error: The error of the newest event, as a sentence.
    """

    model_config = example(
        error_code="line_unknown",
        events=3,
        types=["message.received"],
        last_error="The line PNq7x1Zk3v is unknown. Read the lines from the provider with POST "
        "/v1/lines/sync, then replay this event.",
    )

    error_code: str
    events: int
    dead: int
    types: list[str]
    first_seen_at: Instant
    last_seen_at: Instant
    last_error: str | None


@dataclass(frozen=True, kw_only=True)
class EventSelection:
    """Conditions for events. An event is selected if it meets all conditions that are given."""

    status: WebhookEventStatus | None = None
    type: str | None = None
    error_code: str | None = None
    received_after: datetime | None = None
    ids: Sequence[UUID] | None = None


REPLAY_EVENT = text("""
    UPDATE webhook_event
       SET status = 'pending', attempts = 0, next_attempt_at = :now, last_error = NULL,
           processed_at = NULL
     WHERE id = :id
    RETURNING id
""")


async def replay_event(uow: UnitOfWork, *, event_id: UUID, now: datetime) -> None:
    """Schedule one event again, whatever its status, and wake the worker.

    The event gets all its retries again: the count of its attempts becomes 0.

    Raises:
        WebhookEventNotFoundError: No received event has this id.
    """
    found = await uow.session.execute(REPLAY_EVENT, {"id": event_id, "now": now})
    if found.first() is None:
        raise WebhookEventNotFoundError
    uow.after_commit(Job(name=JobName.PROCESS_WEBHOOK_BACKLOG))


async def count_events(uow: UnitOfWork, selection: EventSelection) -> int:
    """Count the received events that meet the conditions of the selection."""
    query = select(func.count()).select_from(WebhookEvent).where(*_conditions(selection))
    count: int = (await uow.session.execute(query)).scalar_one()
    return count


def _conditions(selection: EventSelection) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if selection.status is not None:
        found.append(WebhookEvent.status == selection.status.value)
    if selection.type is not None:
        found.append(WebhookEvent.type == selection.type)
    if selection.error_code is not None:
        found.append(WebhookEvent.error_code == selection.error_code)
    if selection.received_after is not None:
        found.append(WebhookEvent.received_at > selection.received_after)
    if selection.ids is not None:
        found.append(WebhookEvent.id.in_(selection.ids))
    return found


LOCK_REPLAY = text("SELECT pg_advisory_xact_lock(hashtextextended('replay of events', 0))")


async def replay_events(
    uow: UnitOfWork, selection: EventSelection, *, actor: str, now: datetime
) -> int:
    """Schedule all selected events again, in order of receipt; return the number of events.

    The function also writes an audit entry and wakes the worker.
    """
    count = await _make_due(uow, selection, now=now)
    await note_decision(
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


async def _make_due(uow: UnitOfWork, selection: EventSelection, *, now: datetime) -> int:
    """Schedule the selected events again with all their retries; return the number of events.

    The count of attempts of each event is set to 0. In each second, ``PER_SECOND`` of the events
    become due. Only one replay runs at a time, because two replays that update the same rows could
    deadlock.
    """
    await uow.session.execute(LOCK_REPLAY)
    place = func.row_number().over(order_by=(WebhookEvent.received_at, WebhookEvent.id)) - 1
    chosen = select(WebhookEvent.id, place.label("place")).where(*_conditions(selection)).subquery()
    later = func.make_interval(0, 0, 0, 0, 0, 0, cast(chosen.c.place, Float) / PER_SECOND)
    statement = (
        update(WebhookEvent)
        .where(WebhookEvent.id == chosen.c.id)
        .values(
            status=WebhookEventStatus.PENDING.value,
            attempts=0,
            next_attempt_at=literal(now) + later,
            last_error=None,
            processed_at=None,
        )
        .execution_options(synchronize_session=False)
    )
    return affected(await uow.session.execute(statement))


def _written(selection: EventSelection) -> dict[str, object]:
    after = selection.received_after
    chosen: dict[str, object | None] = {
        "status": selection.status and selection.status.value,
        "type": selection.type,
        "error_code": selection.error_code,
        "received_after": after and after.isoformat(),
        "ids": None if selection.ids is None else [str(one) for one in selection.ids],
    }
    return {name: value for name, value in chosen.items() if value is not None}


READ_ERRORS = text("""
    SELECT of_class.error_code, of_class.events, of_class.dead, of_class.types,
           of_class.first_seen_at, of_class.last_seen_at, latest.last_error
      FROM (SELECT error_code, count(*) AS events,
                   count(*) FILTER (WHERE status = 'dead') AS dead,
                   array_agg(DISTINCT type ORDER BY type) AS types,
                   min(received_at) AS first_seen_at, max(received_at) AS last_seen_at
              FROM webhook_event WHERE error_code IS NOT NULL GROUP BY error_code) of_class
     CROSS JOIN LATERAL (
           SELECT event.last_error FROM webhook_event event
            WHERE event.error_code IS NOT NULL AND event.error_code = of_class.error_code
            ORDER BY event.received_at DESC, event.id DESC LIMIT 1) latest
     ORDER BY of_class.last_seen_at DESC
""")


async def list_errors(uow: UnitOfWork) -> Sequence[ErrorClassRead]:
    """Return one group for each error code of the events that are not applied.

    The group that contains the most recently received event comes first.
    """
    rows = await uow.session.execute(READ_ERRORS)
    return [ErrorClassRead.model_validate(row) for row in rows]


RECOVERED = text("""
    SELECT code FROM unnest(CAST(:codes AS text[])) AS class (code)
     WHERE NOT EXISTS (SELECT 1 FROM webhook_event
                        WHERE error_code IS NOT NULL AND error_code = code)
""")


async def resolve_recovered_alerts(uow: UnitOfWork, *, now: datetime) -> None:
    """Resolve the alerts whose cause has ended.

    - The alert about an error code ends when no event has the code any more.
    - The alert about an unknown phone line ends when the line is stored.
    - The alert about events that name no line ends when no such event is left.
    """
    await event_lines.resolve_alerts_of_known_lines(uow, now=now)
    open_codes = await alerts.list_open_subjects(uow, kind=DEAD_EVENT)
    if not open_codes:
        return
    for code in await uow.session.scalars(RECOVERED, {"codes": list(open_codes)}):
        await alerts.resolve_alert(uow, kind=DEAD_EVENT, subject=code, now=now)


async def raise_dead_event_alert(
    uow: UnitOfWork,
    *,
    event_id: UUID,
    event_type: str,
    outcome: EventOutcome,
    now: datetime,
) -> None:
    """Raise the alert for an event whose retries are used up."""
    code = str(outcome.error_code)
    await alerts.raise_alert(
        uow,
        kind=DEAD_EVENT,
        subject=code,
        detail=f"Events from the provider could not be applied. The last one "
        f"({event_type}) was tried {outcome.attempts} times: {outcome.last_error} The events are "
        f"still stored. See GET /v1/webhook-events?status=dead&error_code={code}, fix the cause, "
        f'then POST /v1/webhook-events/replay {{"error_code": "{code}"}}.',
        context={"event_id": str(event_id), "type": event_type},
        now=now,
    )


async def list_events(
    uow: UnitOfWork, selection: EventSelection, *, cursor: str | None, limit: int
) -> Page[WebhookEvent]:
    """Return one page of the received events that meet the conditions, newest first.

    Raises:
        InvalidCursorError: The cursor is not from this list.
    """
    return await read_newest(
        uow.session,
        select(WebhookEvent).where(*_conditions(selection)),
        WebhookEvent.received_at,
        WebhookEvent.id,
        cursors=Cursors("webhook_events", wanted=selection),
        cursor=cursor,
        limit=limit,
    )


async def get_event(uow: UnitOfWork, event_id: UUID) -> WebhookEvent:
    """Return one received event.

    Raises:
        WebhookEventNotFoundError: No received event has this id.
    """
    return await get_or_raise(uow.session, WebhookEvent, event_id, WebhookEventNotFoundError)
