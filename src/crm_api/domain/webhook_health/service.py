"""Orders looks at webhook health, writes down what they found, and alerts when that changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.webhook_health import queries
from crm_api.domain.webhook_health.errors import WebhookHealthCheckNotFoundError
from crm_api.domain.webhook_health.models import CheckStatus, Side, WebhookHealthCheck
from crm_api.domain.webhook_health.schemas import SideRead, WebhookHealthRead
from crm_api.jobs import Job, JobName

ALERT = AlertKind.WEBHOOK_HEALTH
"""The alert's kind; its subject is the side."""
SCHEDULE = "schedule"
EVERY = timedelta(hours=1)
EVERY_WHILE_FAILING = timedelta(minutes=5)
"""So that it is green again soon after it works again."""
SLACK = timedelta(seconds=30)
"""The schedule looks each minute, and not always at the same second."""
KEPT_FOR = timedelta(days=90)
SWITCHED_OFF = "switched_off"
"""The leg of a failure that nobody looks after any more."""
OFF_BECAUSE = (
    "CRM_HEALTH_CHECK_FROM and CRM_HEALTH_CHECK_TO do not name two own lines between which a test "
    "text may go"
)
LOOK = Job(name=JobName.CHECK_WEBHOOK_HEALTH)


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What a look found.

    Attributes:
        leg: Where it failed, in a word; None: it passed.
        failure: The same in a sentence, with what to do.
    """

    leg: str | None = None
    failure: str | None = None
    sent_at: datetime | None = None
    received_at: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> CheckStatus:
        """Passed or failed."""
        return CheckStatus.PASSED if self.leg is None else CheckStatus.FAILED

    @property
    def latency_ms(self) -> int | None:
        """From the sending to the receiver."""
        if self.sent_at is None or self.received_at is None:
            return None
        return max(0, round((self.received_at - self.sent_at).total_seconds() * 1000))


async def due_sides(uow: UnitOfWork, *, text_is_on: bool, now: datetime) -> list[Side]:
    """Tell from which sides it is time to look again; hourly, sooner while one fails.

    A side that was switched off while it failed is let rest.
    """
    due: list[Side] = []
    for row in await queries.standing(uow.session):
        side = Side(row.side)
        if side is Side.TEST_TEXT and not text_is_on:
            await _let_rest(uow, row, now=now)
            continue
        if row.waiting_since is None and _is_due(row, now=now):
            due.append(side)
    return due


def _is_due(row: Row[Any], *, now: datetime) -> bool:
    if row.id is None:
        return True
    if row.status == CheckStatus.FAILED:
        # A look may wait for its end; the next one is not to follow on its heels.
        return bool(now - row.concluded_at >= EVERY_WHILE_FAILING - SLACK)
    return bool(now - row.created_at >= EVERY - SLACK)


async def _let_rest(uow: UnitOfWork, row: Row[Any], *, now: datetime) -> None:
    if row.status == CheckStatus.FAILED and row.leg != SWITCHED_OFF:
        await queries.set_leg(uow.session, check_id=row.id, leg=SWITCHED_OFF)
        await operations.resolve_alert(uow, kind=ALERT, subject=row.side, now=now)


async def order(uow: UnitOfWork, *, side: Side, asked_by: str, now: datetime) -> UUID | None:
    """Order a look, and nudge whoever looks; None when one from this side waits already."""
    check_id = await queries.order(uow.session, side=side, asked_by=asked_by, now=now)
    uow.after_commit(LOOK)
    return check_id


async def conclude(
    uow: UnitOfWork, *, check_id: UUID, side: Side, found: Conclusion, now: datetime
) -> None:
    """Write down what a look found; an alert comes up when that is another failure than before.

    It is over when the side is well again.
    """
    before = next(row for row in await queries.standing(uow.session) if row.side == side)
    await queries.conclude(
        uow.session,
        check_id=check_id,
        status=found.status,
        leg=found.leg,
        failure=found.failure,
        sent_at=found.sent_at,
        received_at=found.received_at,
        latency_ms=found.latency_ms,
        evidence=dict(found.evidence),
        now=now,
    )
    if found.leg is None:
        await operations.resolve_alert(uow, kind=ALERT, subject=side.value, now=now)
    elif before.status != CheckStatus.FAILED or before.leg != found.leg:
        await operations.raise_alert(
            uow,
            kind=ALERT,
            subject=side.value,
            detail=f"{found.failure or found.leg} See GET /v1/webhook-health-checks.",
            context={"check_id": str(check_id), "leg": found.leg},
            now=now,
        )


async def forget_old(uow: UnitOfWork, *, now: datetime) -> None:
    """Remove the checks of months ago."""
    await queries.forget(uow.session, before=now - KEPT_FOR)


async def get(uow: UnitOfWork, check_id: UUID) -> WebhookHealthCheck:
    """Read one check.

    Raises:
        WebhookHealthCheckNotFoundError: There is none with this id.
    """
    check = await queries.get(uow.session, check_id)
    if check is None:
        raise WebhookHealthCheckNotFoundError("There is no webhook health check with this id.")
    return check


async def ordered(uow: UnitOfWork, check_id: UUID | None, *, side: Side) -> WebhookHealthCheck:
    """Read the look that was ordered, or the one that waited already.

    Raises:
        WebhookHealthCheckNotFoundError: That one was concluded in this very instant; order again.
    """
    if check_id is not None:
        return await get(uow, check_id)
    waiting = await find_waiting(uow, side)
    if waiting is None:
        raise WebhookHealthCheckNotFoundError("The look that waited is over; order another one.")
    return waiting


async def find_waiting(uow: UnitOfWork, side: Side) -> WebhookHealthCheck | None:
    """Read the look that waits from a side; None when there is none."""
    return await queries.get_waiting(uow.session, side)


async def lock_waiting(uow: UnitOfWork, side: Side) -> UUID | None:
    """Lock the look that waits from a side; None when there is none, or another has it."""
    row = await queries.lock_waiting(uow.session, side)
    return None if row is None else row.id


async def list_checks(
    uow: UnitOfWork, *, cursor: str | None, limit: int
) -> Page[WebhookHealthCheck]:
    """List checks, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("webhook_health_checks")
    after = cursors.read(cursor)
    rows = await queries.list_checks(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def health(uow: UnitOfWork, *, text_is_on: bool) -> WebhookHealthRead:
    """Sum up how each side stands."""
    return _summed_up(await queries.standing(uow.session), text_is_on=text_is_on)


def _summed_up(rows: Sequence[Row[Any]], *, text_is_on: bool) -> WebhookHealthRead:
    sides = []
    for row in rows:
        is_on = text_is_on or row.side != Side.TEST_TEXT
        sides.append(
            SideRead(
                side=Side(row.side),
                is_on=is_on,
                status=CheckStatus(row.status) if is_on and row.status else None,
                failure=row.failure if is_on else None,
                concluded_at=row.concluded_at,
                off_because=None if is_on else OFF_BECAUSE,
            )
        )
    is_failing = any(side.status is CheckStatus.FAILED for side in sides)
    return WebhookHealthRead(status="degraded" if is_failing else "ok", sides=sides)
