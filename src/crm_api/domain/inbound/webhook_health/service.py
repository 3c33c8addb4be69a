"""Create webhook health checks, store their results, and raise alerts about new failures.

A worker carries the checks out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.webhook_health.models import (
    CheckStatus,
    WebhookHealthCheck,
    WebhookHealthSide,
    WebhookRedelivery,
)
from crm_api.domain.inbound.webhook_health.schemas import WebhookHealthRead, WebhookHealthSideRead
from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.platform.database import UnitOfWork, get_or_raise, typed_rows
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

ALERT = AlertKind.WEBHOOK_HEALTH
"""Kind of the alert about a failed webhook check. The subject of the alert is the kind of check."""
SCHEDULE = "schedule"
EVERY = timedelta(hours=1)
EVERY_WHILE_FAILING = timedelta(minutes=5)
"""Time between checks after a failure. It is short, so that a repair is noticed soon."""
SLACK = timedelta(seconds=30)
"""A check may be requested this long before it is due, because the schedule does not run at exact
seconds."""
KEPT_FOR = timedelta(days=90)
SWITCHED_OFF = "switched_off"
"""Value of ``leg`` (the step that failed) for a failed check whose kind was switched off
afterwards."""
MESSAGE_OFF_BECAUSE = (
    "CRM_HEALTH_CHECK_FROM and CRM_HEALTH_CHECK_TO are not two lines of this account"
)


class WebhookHealthCheckNotFoundError(NotFoundError):
    """No webhook health check has this id."""

    code = "webhook_health_check_not_found"
    title = "Webhook health check not found"
    detail = "No webhook health check has this id. GET /v1/webhook-health-checks lists the checks."


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Result of a webhook health check.

    Attributes:
        leg: The step that failed, in one word; None if the check passed.
        failure: Why the check failed and what to do, as a sentence; None if the check
            passed.
        evidence: The facts on which the result is based.
    """

    leg: str | None = None
    failure: str | None = None
    sent_at: datetime | None = None
    received_at: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SideState:
    """The last result of one kind of webhook health check, and whether a check is waiting.

    Attributes:
        side: The kind of check.
        waiting_since: When the waiting check was created; None if no check of this kind is waiting.
    """

    side: WebhookHealthSide
    id: UUID | None
    status: CheckStatus | None
    leg: str | None
    failure: str | None
    created_at: datetime | None
    concluded_at: datetime | None
    waiting_since: datetime | None

    @property
    def due_at(self) -> datetime | None:
        """When the next check of this kind is due; None if no such check has ended yet."""
        if self.status == CheckStatus.FAILED and self.concluded_at is not None:
            # A check may take minutes, so the wait for the next check begins at the result.
            return self.concluded_at + EVERY_WHILE_FAILING
        return None if self.created_at is None else self.created_at + EVERY


READ_SIDES = text(f"""
    SELECT k.side, l.id, l.status, l.leg, l.failure, l.created_at, l.concluded_at,
           w.created_at AS waiting_since
      FROM (VALUES {", ".join(f"('{side}')" for side in WebhookHealthSide)}) AS k (side)
      LEFT JOIN LATERAL (
          SELECT c.id, c.status, c.leg, c.failure, c.created_at, c.concluded_at
            FROM webhook_health_check c
           WHERE c.side = k.side AND c.status <> 'waiting'
           ORDER BY c.created_at DESC LIMIT 1) l ON true
      LEFT JOIN webhook_health_check w ON w.side = k.side AND w.status = 'waiting'
""")


async def read_sides(uow: UnitOfWork) -> list[SideState]:
    """Read the state of each kind of webhook health check, such as ``silence``.

    The state contains the last result, and whether a check of this kind is waiting for its result.
    """
    return typed_rows(SideState, await uow.session.execute(READ_SIDES))


# Without this lock, two workers could see that the same check is due. After the first worker has
# created and concluded the check, the second worker would create it again.
LOCK_SCHEDULE = text("SELECT pg_advisory_xact_lock(hashtextextended('webhook health', 0))")


async def lock_schedule(uow: UnitOfWork) -> None:
    """Lock the schedule until the transaction ends, so that only one worker creates checks."""
    await uow.session.execute(LOCK_SCHEDULE)


async def due_sides(
    uow: UnitOfWork, *, message_is_on: bool, now: datetime
) -> list[WebhookHealthSide]:
    """Return the kinds of checks that are due now.

    A check is due an hour after the last check of the same kind. If the last check failed, the next
    check is due after 5 minutes. If the settings switch off the check with a test message, this
    check is never due, and the alert about its last failure is resolved.
    """
    due: list[WebhookHealthSide] = []
    for state in await read_sides(uow):
        if state.side == WebhookHealthSide.TEST_TEXT and not message_is_on:
            if state.status == CheckStatus.FAILED and state.leg != SWITCHED_OFF:
                check = await uow.session.get_one(WebhookHealthCheck, state.id)
                check.leg = SWITCHED_OFF
                await alerts.resolve_alert(uow, kind=ALERT, subject=state.side, now=now)
        elif state.waiting_since is None and (state.due_at or now) <= now + SLACK:
            due.append(WebhookHealthSide(state.side))
    return due


async def next_check_at(uow: UnitOfWork, *, message_is_on: bool, now: datetime) -> datetime:
    """Return when the next check of any kind is due; the time is past if the check is late.

    Args:
        message_is_on: False if the settings switch off the check that sends a test message. This
            kind of check is then left out.
    """
    states = [
        s for s in await read_sides(uow) if message_is_on or s.side != WebhookHealthSide.TEST_TEXT
    ]
    return min((state.due_at or now for state in states), default=now)


ORDER_CHECK = text("""
    INSERT INTO webhook_health_check (id, side, asked_by, created_at)
    VALUES (:id, :side, :asked_by, :now)
    ON CONFLICT (side) WHERE status = 'waiting' DO NOTHING
""")


async def order_check(
    uow: UnitOfWork, *, side: WebhookHealthSide, asked_by: str, now: datetime
) -> WebhookHealthCheck:
    """Request a check of this kind and wake the worker; return the check.

    At most one check of a kind waits for its result. If there is one already, it is returned.

    Raises:
        WebhookHealthCheckNotFoundError: The check that waited has just ended. No new check was
            created. Call the function again.
    """
    values = {"id": new_id(), "side": side.value, "asked_by": asked_by, "now": now}
    await uow.session.execute(ORDER_CHECK, values)
    uow.after_commit(Job(name=JobName.CHECK_WEBHOOK_HEALTH))
    check = await find_waiting_check(uow, side)
    if check is None:
        raise WebhookHealthCheckNotFoundError(
            "A check of this kind was running when the request arrived, so no new check was "
            "started. That check has ended now. Send the request again."
        )
    return check


async def find_waiting_check(
    uow: UnitOfWork, side: WebhookHealthSide, *, locks: bool = False
) -> WebhookHealthCheck | None:
    """Return the check of this kind that has no result yet; None if there is no such check.

    Args:
        side: The kind of check.
        locks: True to lock the row of the check. If another worker has already locked the row, the
            result is None.
    """
    query = select(WebhookHealthCheck).where(
        WebhookHealthCheck.side == side.value, WebhookHealthCheck.status == CheckStatus.WAITING
    )
    if locks:
        query = query.with_for_update(skip_locked=True)
    found: WebhookHealthCheck | None = await uow.session.scalar(
        query.execution_options(populate_existing=True)
    )
    return found


async def conclude_check(
    uow: UnitOfWork, check: WebhookHealthCheck, result: CheckResult, *, now: datetime
) -> None:
    """Store the result of a check; raise an alert if it failed, resolve the alert if it passed.

    If the previous check of this kind failed at the same step, no new alert is raised.
    """
    (before,) = (state for state in await read_sides(uow) if state.side == check.side)
    check.status = CheckStatus.PASSED if result.leg is None else CheckStatus.FAILED
    check.leg, check.failure, check.evidence = result.leg, result.failure, dict(result.evidence)
    check.sent_at, check.received_at, check.concluded_at = result.sent_at, result.received_at, now
    if result.sent_at is not None and result.received_at is not None:
        took = (result.received_at - result.sent_at).total_seconds()
        check.latency_ms = max(0, round(took * 1000))
    if result.leg is None:
        await alerts.resolve_alert(uow, kind=ALERT, subject=check.side, now=now)
    elif before.status != CheckStatus.FAILED or before.leg != result.leg:
        await alerts.raise_alert(
            uow,
            kind=ALERT,
            subject=check.side,
            detail=f"{result.failure or result.leg} See GET /v1/webhook-health-checks.",
            context={"check_id": str(check.id), "leg": result.leg},
            now=now,
        )


async def forget_old_checks(uow: UnitOfWork, *, now: datetime) -> None:
    """Delete the checks and the redelivery requests that are older than ``KEPT_FOR``."""
    before = now - KEPT_FOR
    check, redelivery = WebhookHealthCheck, WebhookRedelivery
    await uow.session.execute(
        delete(check).where(check.created_at < before, check.status != CheckStatus.WAITING)
    )
    await uow.session.execute(delete(redelivery).where(redelivery.asked_at < before))


async def get_check(uow: UnitOfWork, check_id: UUID) -> WebhookHealthCheck:
    """Return one webhook health check.

    Raises:
        WebhookHealthCheckNotFoundError: No check has this id.
    """
    return await get_or_raise(
        uow.session, WebhookHealthCheck, check_id, WebhookHealthCheckNotFoundError
    )


async def list_checks(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[WebhookHealthCheck]:
    """Return one page of the webhook health checks, newest first.

    Raises:
        InvalidCursorError: The cursor is not from this list.
    """
    return await read_newest(
        uow.session,
        select(WebhookHealthCheck),
        WebhookHealthCheck.created_at,
        WebhookHealthCheck.id,
        cursors=Cursors("webhook_health_checks"),
        cursor=cursor,
        limit=limit,
    )


async def read_health(uow: UnitOfWork, *, message_is_on: bool) -> WebhookHealthRead:
    """Return the last result of each kind of check, and the overall state of the webhooks.

    Args:
        message_is_on: False if the settings switch off the check that sends a test message. Then
            the last result of this kind of check is left out.
    """
    sides = [
        WebhookHealthSideRead(
            side=WebhookHealthSide(state.side),
            is_on=(is_on := message_is_on or state.side != WebhookHealthSide.TEST_TEXT),
            status=state.status if is_on else None,
            failure=state.failure if is_on else None,
            concluded_at=state.concluded_at,
            off_because=None if is_on else MESSAGE_OFF_BECAUSE,
        )
        for state in await read_sides(uow)
    ]
    is_failing = any(side.status == CheckStatus.FAILED for side in sides)
    return WebhookHealthRead(status="degraded" if is_failing else "ok", sides=sides)
