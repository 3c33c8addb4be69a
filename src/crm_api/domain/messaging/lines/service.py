"""Add, read, change and unblock lines, and copy lines from the provider."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.messaging.lines import queries
from crm_api.domain.messaging.lines.errors import (
    LineExistsError,
    LineNotFoundError,
    LinesUnreadableError,
    ZoneUnknownToDatabaseError,
)
from crm_api.domain.messaging.lines.schemas import CountedLine, LineCreate, LineUpdate
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends import provider_pauses, usage
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.sends.usage import limit_on
from crm_api.domain.provider.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
    UnreadableEventError,
)
from crm_api.domain.provider.openphone.facts import OwnNumber
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName

CAMPAIGNS_MAY_GO = Job(name=JobName.PROCESS_CAMPAIGN_QUEUE)
MESSAGES_MAY_GO = Job(name=JobName.SEND_MESSAGES)


class LineSource(Protocol):
    """A client that can list the phone numbers of the provider's workspace."""

    async def list_phone_numbers(self) -> Sequence[OwnNumber]:
        """Return all phone numbers of the workspace."""


async def create_line(
    uow: UnitOfWork, body: LineCreate, *, resend_unclear: bool, times: SendTimes, now: datetime
) -> CountedLine:
    """Add a line and return it with today's counts.

    Args:
        resend_unclear: The line's value if the body has none.

    Raises:
        LineExistsError: A line with this provider id exists; the error's ``line_id`` is its id.
        ZoneUnknownToDatabaseError: The database does not know the time zone.
    """
    await _check_zone(uow, body.timezone)
    values = body.model_dump()
    if values["name"] is None:
        values["name"] = body.number
    if values["resend_unclear"] is None:
        values["resend_unclear"] = resend_unclear
    line = await queries.insert_line(uow.session, values=values, now=now)
    if line is None:
        known = await queries.find_by_provider_id(uow.session, phone_number_id=body.phone_number_id)
        raise LineExistsError(str(known.id) if known else None)
    return await _counted(uow, line, times=times, now=now)


async def get_line(
    uow: UnitOfWork, *, line_id: UUID, times: SendTimes, now: datetime
) -> CountedLine:
    """Return a line with today's limit and count.

    Raises:
        LineNotFoundError: No line has this id.
    """
    line = await queries.find_line(uow.session, line_id=line_id)
    if line is None:
        raise LineNotFoundError("No line has this id. GET /v1/lines lists the lines.")
    return await _counted(uow, line, times=times, now=now)


async def list_lines(
    uow: UnitOfWork, *, cursor: str | None, limit: int, times: SendTimes, now: datetime
) -> Page[CountedLine]:
    """List lines with today's limits and counts, newest line first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("lines")
    after = cursors.read(cursor)
    rows = await queries.list_lines(uow.session, after=after, limit=limit + 1)
    page = cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))
    return Page(await _count(uow, page.data, times=times, now=now), page.next_cursor)


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

    A new limit or ramp plan is written to the audit log. A ramp plan in the request starts with the
    next campaign message. The job that processes the campaign queue is requested, because a
    higher limit may allow more messages at once.

    Raises:
        LineNotFoundError: No line has this id.
        ZoneUnknownToDatabaseError: The database does not know the time zone.
    """
    values = changes.model_dump(exclude_unset=True)
    if not values:
        return await get_line(uow, line_id=line_id, times=times, now=now)
    if "timezone" in values:
        await _check_zone(uow, values["timezone"])
    before = await queries.lock_line(uow.session, line_id=line_id)
    if before is None:
        raise LineNotFoundError("No line has this id. GET /v1/lines lists the lines.")
    changed = _changed_limits(before, values)
    if "ramp_plan" in values:
        values["ramp_started_on"] = None
    line = await queries.update_line(
        uow.session, line_id=line_id, values=values | {"updated_at": now}
    )
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


def _changed_limits(line: Line, values: dict[str, Any]) -> dict[str, Any]:
    """Return the old and new value of each changed limit, for the audit log.

    Setting the same ramp plan again counts as a change if the plan had started.
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
    """End the block or the trial of a line, so that it sends again.

    The line's alert is resolved, the decision is written to the audit log, and the jobs that send
    are requested. A pause that the provider asked for also ends, for all lines. If the line is
    neither blocked nor on trial, only that pause ends.

    Raises:
        LineNotFoundError: No line has this id.
    """
    if await queries.end_block(uow.session, line_id=line_id, now=now):
        await note_decision(
            uow, actor=actor, action="unblock_line", subject=str(line_id), detail={}, now=now
        )
        await alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject=str(line_id), now=now)
        uow.after_commit(CAMPAIGNS_MAY_GO)
        uow.after_commit(MESSAGES_MAY_GO)
    line = await get_line(uow, line_id=line_id, times=times, now=now)
    await provider_pauses.end_provider_pause(uow, actor=actor, now=now)
    return line


async def read_provider_numbers(source: LineSource) -> list[OwnNumber]:
    """Request all phone numbers of the workspace from the provider.

    Call this outside of a transaction, because it waits for the network.

    Raises:
        LinesUnreadableError: The provider is unreachable, busy or refuses the request, or its
            answer is unreadable.
    """
    try:
        return list(await source.list_phone_numbers())
    except OpenPhoneRefusedError as error:
        raise LinesUnreadableError(
            f"OpenPhone refused to list its phone numbers (HTTP {error.status}). Check the API "
            "key of OpenPhone in CRM_OPENPHONE_API_KEY."
        ) from error
    except (OpenPhoneBusyError, OpenPhoneListError) as error:
        raise LinesUnreadableError(
            "OpenPhone is busy or unreachable, so its phone numbers could not be read. Try again "
            "in a minute."
        ) from error
    except UnreadableEventError as error:
        raise LinesUnreadableError(
            "OpenPhone returned a phone number that this service cannot read. No line was added "
            "or changed. Add the lines one by one with POST /v1/lines."
        ) from error


async def store_lines(
    uow: UnitOfWork,
    numbers: Sequence[OwnNumber],
    *,
    resend_unclear: bool,
    times: SendTimes,
    now: datetime,
) -> list[CountedLine]:
    """Add the provider's phone numbers as lines; for an existing line, update only its number.

    Returns:
        The lines of these numbers, newest first. A stored line that the provider no longer lists
        is not deleted, but it is not returned.
    """
    rows = {
        one.phone_number_id: {
            "phone_number_id": one.phone_number_id,
            "number": one.number,
            "name": one.name or one.number,
            "resend_unclear": resend_unclear,
        }
        for one in numbers
    }
    if not rows:
        return []
    ids = await queries.upsert_lines(uow.session, rows=[rows[key] for key in sorted(rows)], now=now)
    return await _count(
        uow, await queries.find_lines(uow.session, line_ids=ids), times=times, now=now
    )


async def find_line_by_provider_id(uow: UnitOfWork, *, phone_number_id: str) -> Line | None:
    """Return the line with this provider id (``PN…``); None if it does not exist."""
    return await queries.find_by_provider_id(uow.session, phone_number_id=phone_number_id)


async def find_line_by_number(uow: UnitOfWork, *, numbers: Sequence[str]) -> Line | None:
    """Return the oldest line that has one of these phone numbers; None if no line has."""
    return await queries.find_by_number(uow.session, numbers=numbers)


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
        None if the line is missing and cannot be added because ``number`` is None.
    """
    known = await queries.find_by_provider_id(uow.session, phone_number_id=phone_number_id)
    if known is not None or number is None:
        return known
    values = {
        "phone_number_id": phone_number_id,
        "number": number,
        "name": number,
        "resend_unclear": resend_unclear,
    }
    made = await queries.insert_line(uow.session, values=values, now=now)
    if made is not None:
        return made
    return await queries.find_by_provider_id(uow.session, phone_number_id=phone_number_id)


async def _check_zone(uow: UnitOfWork, name: str) -> None:
    # Python has accepted the name already. PostgreSQL, which counts the messages of the line's day,
    # has time zone files of its own and may lack the name.
    if not await queries.knows_zone(uow.session, name=name):
        raise ZoneUnknownToDatabaseError


async def _counted(uow: UnitOfWork, line: Line, *, times: SendTimes, now: datetime) -> CountedLine:
    return (await _count(uow, [line], times=times, now=now))[0]


async def _count(
    uow: UnitOfWork, lines: Sequence[Line], *, times: SendTimes, now: datetime
) -> list[CountedLine]:
    used = await usage.count_sent_today(
        uow.session, line_ids=[line.id for line in lines], times=times, now=now
    )
    return [CountedLine(line, _limit_today(line, now), used.get(line.id, 0)) for line in lines]


def _limit_today(line: Line, now: datetime) -> int:
    today = now.astimezone(ZoneInfo(line.timezone)).date()
    return limit_on(line.ramp_plan, line.ramp_started_on, line.daily_limit, today)
