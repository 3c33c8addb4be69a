"""Add, read, change and unblock lines."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.messaging.lines.errors import (
    LineExistsError,
    LineNotFoundError,
    ZoneUnknownToDatabaseError,
)
from crm_api.domain.messaging.lines.schemas import CountedLine, LineCreate, LineUpdate
from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.domain.messaging.sends import provider_pauses, usage
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.sends.usage import limit_on
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

CAMPAIGNS_MAY_GO = Job(name=JobName.PROCESS_CAMPAIGN_QUEUE)
MESSAGES_MAY_GO = Job(name=JobName.SEND_MESSAGES)


async def create_line(
    uow: UnitOfWork, body: LineCreate, *, resend_unclear: bool, times: SendTimes, now: datetime
) -> CountedLine:
    """Add a line and return it with today's counts.

    Args:
        resend_unclear: The default for the line's setting ``resend_unclear``, if ``body`` does not
            set it.

    Raises:
        LineExistsError: A line with this provider id exists. The error's ``line_id`` is the id of
            that line.
        ZoneUnknownToDatabaseError: The database does not know the time zone.
    """
    await _check_zone(uow, body.timezone)
    values = body.model_dump()
    if values["name"] is None:
        values["name"] = body.number
    if values["resend_unclear"] is None:
        values["resend_unclear"] = resend_unclear
    line = await _insert_line(uow, values, now=now)
    if line is None:
        known = await find_line_by_provider_id(uow, phone_number_id=body.phone_number_id)
        raise LineExistsError(str(known.id) if known else None)
    return await _counted(uow, line, times=times, now=now)


async def get_line(
    uow: UnitOfWork, *, line_id: UUID, times: SendTimes, now: datetime
) -> CountedLine:
    """Return a line with today's limit and count.

    Raises:
        LineNotFoundError: No line has this id.
    """
    line = await get_or_raise(uow.session, Line, line_id, LineNotFoundError)
    return await _counted(uow, line, times=times, now=now)


async def list_lines(
    uow: UnitOfWork, *, cursor: str | None, limit: int, times: SendTimes, now: datetime
) -> Page[CountedLine]:
    """List lines with today's limits and counts, newest line first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    page = await read_newest(
        uow.session,
        select(Line),
        Line.created_at,
        Line.id,
        cursors=Cursors("lines"),
        cursor=cursor,
        limit=limit,
    )
    return Page(await count_today(uow, page.data, times=times, now=now), page.next_cursor)


async def update_line(
    uow: UnitOfWork,
    changes: LineUpdate,
    *,
    line_id: UUID,
    actor: str,
    times: SendTimes,
    now: datetime,
) -> CountedLine:
    """Change a line's name, limits, time zone or ``resend_unclear``.

    Changed limits and ramp plans go to the audit log. A new ramp plan begins with the next campaign
    message. The job that processes the campaign queue is requested.

    Raises:
        LineNotFoundError: No line has this id.
        ZoneUnknownToDatabaseError: The database does not know the time zone.
    """
    values = changes.model_dump(exclude_unset=True)
    if not values:
        return await get_line(uow, line_id=line_id, times=times, now=now)
    if "timezone" in values:
        await _check_zone(uow, values["timezone"])
    before = await _lock_line(uow, line_id)
    if before is None:
        raise LineNotFoundError
    changed = _changed_limits(before, values)
    if "ramp_plan" in values:
        values["ramp_started_on"] = None
    change = update(Line).where(Line.id == line_id).values(updated_at=now, **values)
    updated = await uow.session.execute(
        change.returning(Line), execution_options={"populate_existing": True}
    )
    line = updated.scalar_one()
    if changed:
        await note_decision(
            uow,
            actor=actor,
            action="change_line_limit",
            subject=str(line_id),
            detail=changed,
            now=now,
        )
    uow.after_commit(CAMPAIGNS_MAY_GO)
    return await _counted(uow, line, times=times, now=now)


async def _lock_line(uow: UnitOfWork, line_id: UUID) -> Line | None:
    """Lock a line's row until the transaction ends.

    Until then, workers cannot claim (reserve for sending) messages of the line.

    Returns:
        The line; None if it does not exist.
    """
    found = select(Line).where(Line.id == line_id).with_for_update(key_share=True)
    return await uow.session.scalar(found.execution_options(populate_existing=True))


def _changed_limits(line: Line, values: dict[str, Any]) -> dict[str, Any]:
    """Return the old and new value of each changed limit, for the audit log.

    A ramp plan (lower limits on the first days) begins again whenever a request sets it. So a plan
    that has started counts as changed, even if the request sets the same plan.
    """
    changed: dict[str, Any] = {}
    if values.get("daily_limit", line.daily_limit) != line.daily_limit:
        changed["daily_limit"] = {"from": line.daily_limit, "to": values["daily_limit"]}
    if "ramp_plan" in values:
        is_begun = line.ramp_started_on is not None
        if is_begun or values["ramp_plan"] != line.ramp_plan:
            changed["ramp_plan"] = {"from": line.ramp_plan, "to": values["ramp_plan"]}
    return changed


async def unblock_line(
    uow: UnitOfWork, *, line_id: UUID, actor: str, times: SendTimes, now: datetime
) -> CountedLine:
    """End the block of a line, or its trial after a block, so that it sends normally again.

    If the line was blocked or on trial, the audit log gets an entry, the alert about the line is
    resolved, and the jobs that send messages are requested. If the provider has asked for a pause,
    the pause ends for all lines, even if this line was not blocked.

    Raises:
        LineNotFoundError: No line has this id.
    """
    if await _end_block(uow, line_id, now=now):
        await note_decision(
            uow, actor=actor, action="unblock_line", subject=str(line_id), detail={}, now=now
        )
        await alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject=str(line_id), now=now)
        uow.after_commit(CAMPAIGNS_MAY_GO)
        uow.after_commit(MESSAGES_MAY_GO)
    line = await get_line(uow, line_id=line_id, times=times, now=now)
    await provider_pauses.end_provider_pause(uow, actor=actor, now=now)
    return line


async def _end_block(uow: UnitOfWork, line_id: UUID, *, now: datetime) -> bool:
    """End the block of a line, or its trial after a block, so that it sends normally again.

    A line on trial sends only one message at a time.

    Returns:
        False if the line is neither blocked nor on trial, or does not exist.
    """
    statement = (
        update(Line)
        .where(Line.id == line_id, or_(Line.status == LineStatus.BLOCKED, Line.is_probing))
        .values(
            status=LineStatus.ACTIVE,
            blocked_reason=None,
            blocked_at=None,
            is_probing=False,
            probe_at=None,
            probes=0,
            updated_at=now,
        )
    )
    return await uow.session.scalar(statement.returning(Line.id)) is not None


async def find_line_by_provider_id(uow: UnitOfWork, *, phone_number_id: str) -> Line | None:
    """Return the line with this provider id (``PN…``); None if it does not exist."""
    return await uow.session.scalar(select(Line).where(Line.phone_number_id == phone_number_id))


async def find_line_by_number(uow: UnitOfWork, *, numbers: Sequence[str]) -> Line | None:
    """Return the oldest line with one of these phone numbers; None if there is no such line."""
    query = select(Line).where(Line.number.in_(numbers)).order_by(Line.created_at, Line.id)
    return await uow.session.scalar(query.limit(1))


async def find_numbers_of_lines(uow: UnitOfWork, *, numbers: Sequence[str]) -> set[str]:
    """Return the phone numbers in ``numbers`` that belong to our lines."""
    return set(await uow.session.scalars(select(Line.number).where(Line.number.in_(numbers))))


async def ensure_line(
    uow: UnitOfWork,
    *,
    phone_number_id: str,
    number: str | None,
    now: datetime,
    resend_unclear: bool = True,
) -> Line | None:
    """Return the line with this provider id; add it first if it is missing.

    Returns:
        The line. None if the line is missing and cannot be added because ``number`` is None.
    """
    known = await find_line_by_provider_id(uow, phone_number_id=phone_number_id)
    if known is not None or number is None:
        return known
    values = {
        "phone_number_id": phone_number_id,
        "number": number,
        "name": number,
        "resend_unclear": resend_unclear,
    }
    made = await _insert_line(uow, values, now=now)
    if made is not None:
        return made
    return await find_line_by_provider_id(uow, phone_number_id=phone_number_id)


async def _insert_line(uow: UnitOfWork, values: dict[str, Any], *, now: datetime) -> Line | None:
    """Add a line and return it; None if a line with this provider id already exists."""
    statement = (
        insert(Line)
        .values(id=new_id(), created_at=now, updated_at=now, **values)
        .on_conflict_do_nothing(index_elements=["phone_number_id"])
    )
    return await uow.session.scalar(statement.returning(Line))


KNOWS_ZONE = text("SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = :name)")


async def _check_zone(uow: UnitOfWork, name: str) -> None:
    # Python knows the time zone: the name was checked when the request was read. PostgreSQL must
    # know it too, because an SQL statement counts the messages that the line has sent today, in
    # this time zone. PostgreSQL has its own list of time zones, which may lack the name.
    if not await uow.session.scalar(KNOWS_ZONE, {"name": name}):
        raise ZoneUnknownToDatabaseError


async def _counted(uow: UnitOfWork, line: Line, *, times: SendTimes, now: datetime) -> CountedLine:
    return (await count_today(uow, [line], times=times, now=now))[0]


async def count_today(
    uow: UnitOfWork, lines: Sequence[Line], *, times: SendTimes, now: datetime
) -> list[CountedLine]:
    """Return each line with its limit for today and how many messages count towards this limit.

    The result has the order of ``lines``.
    """
    used = await usage.count_sent_today(
        uow.session, line_ids=[line.id for line in lines], times=times, now=now
    )
    return [CountedLine(line, _limit_today(line, now), used.get(line.id, 0)) for line in lines]


def _limit_today(line: Line, now: datetime) -> int:
    today = now.astimezone(ZoneInfo(line.timezone)).date()
    return limit_on(line.ramp_plan, line.ramp_started_on, line.daily_limit, today)
