"""Own lines: added, read from the provider, limited, unblocked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from crm_api.db import UnitOfWork
from crm_api.domain.lines import queries
from crm_api.domain.lines.allowance import limit_on
from crm_api.domain.lines.errors import (
    LineExistsError,
    LineNotFoundError,
    LinesUnreadableError,
    ZoneUnknownToDatabaseError,
)
from crm_api.domain.lines.models import Line
from crm_api.domain.lines.schemas import CountedLine, LineCreate, LineUpdate
from crm_api.domain.openphone.errors import (
    OpenPhoneBusyError,
    OpenPhoneListError,
    OpenPhoneRefusedError,
    UnreadableEventError,
)
from crm_api.domain.openphone.facts import OwnNumber
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.times import SendTimes
from crm_api.jobs import Job, JobName

CAMPAIGNS_MAY_GO = Job(name=JobName.PROCESS_CAMPAIGN_QUEUE)
TEXTS_MAY_GO = Job(name=JobName.SEND_MESSAGES)


class LineSource(Protocol):
    """Whoever knows the workspace's own numbers."""

    async def list_phone_numbers(self) -> Sequence[OwnNumber]:
        """Fetch them all."""


async def create(
    uow: UnitOfWork, body: LineCreate, *, resend_unclear: bool, times: SendTimes, now: datetime
) -> CountedLine:
    """Add a line.

    Args:
        resend_unclear: Taken when the body does not say.

    Raises:
        LineExistsError: The provider id is known; ``line_id`` says by which line.
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
        raise LineExistsError(
            "A line with this phone_number_id exists.", line_id=str(known.id) if known else None
        )
    return await _counted(uow, line, times=times, now=now)


async def get(uow: UnitOfWork, *, line_id: UUID, times: SendTimes, now: datetime) -> CountedLine:
    """Fetch a line with what it may have had accepted today.

    Raises:
        LineNotFoundError: There is none with this id.
    """
    line = await queries.find(uow.session, line_id=line_id)
    if line is None:
        raise LineNotFoundError("No line has this id.")
    return await _counted(uow, line, times=times, now=now)


async def list_lines(
    uow: UnitOfWork, *, cursor: str | None, limit: int, times: SendTimes, now: datetime
) -> Page[CountedLine]:
    """List lines, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("lines")
    after = cursors.read(cursor)
    rows = await queries.list_lines(uow.session, after=after, limit=limit + 1)
    page = cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))
    return Page(await _count(uow, page.data, times=times, now=now), page.next_cursor)


async def update(
    uow: UnitOfWork,
    changes: LineUpdate,
    *,
    line_id: UUID,
    actor: str,
    times: SendTimes,
    now: datetime,
) -> CountedLine:
    """Change a line's name, limits, time zone or what happens to its unclear sends.

    A new limit or plan goes into the audit log; a plan that is set begins with the next text. The
    campaign queue is nudged, for a higher limit lets texts go at once.

    Raises:
        LineNotFoundError: There is none with this id.
        ZoneUnknownToDatabaseError: The database does not know the time zone.
    """
    values = changes.model_dump(exclude_unset=True)
    if not values:
        return await get(uow, line_id=line_id, times=times, now=now)
    if "timezone" in values:
        await _check_zone(uow, values["timezone"])
    before = await queries.lock(uow.session, line_id=line_id)
    if before is None:
        raise LineNotFoundError("No line has this id.")
    changed = _changed_limits(before, values)
    if "ramp_plan" in values:
        values["ramp_started_on"] = None
    line = await queries.update_line(
        uow.session, line_id=line_id, values=values | {"updated_at": now}
    )
    if changed:
        await operations.audit(
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
    """Name what a change does to what the line may send; a plan set again begins again."""
    changed: dict[str, Any] = {}
    if values.get("daily_limit", line.daily_limit) != line.daily_limit:
        changed["daily_limit"] = {"from": line.daily_limit, "to": values["daily_limit"]}
    if "ramp_plan" in values:
        is_begun = line.ramp_started_on is not None
        if is_begun or values["ramp_plan"] != line.ramp_plan:
            changed["ramp_plan"] = {"from": line.ramp_plan, "to": values["ramp_plan"]}
    return changed


async def unblock(
    uow: UnitOfWork, *, line_id: UUID, actor: str, times: SendTimes, now: datetime
) -> CountedLine:
    """Let a line send again that is blocked or on trial; any other stays as it is.

    Its alert is over, the decision goes into the audit log, and what waits for the line is nudged.

    Raises:
        LineNotFoundError: There is none with this id.
    """
    if await queries.unblock(uow.session, line_id=line_id, now=now):
        await operations.audit(
            uow, actor=actor, action="unblock_line", subject=str(line_id), detail={}, now=now
        )
        await operations.resolve_alert(
            uow, kind=AlertKind.LINE_BLOCKED, subject=str(line_id), now=now
        )
        uow.after_commit(CAMPAIGNS_MAY_GO)
        uow.after_commit(TEXTS_MAY_GO)
    return await get(uow, line_id=line_id, times=times, now=now)


async def read_from_provider(source: LineSource) -> list[OwnNumber]:
    """Ask the provider for the workspace's numbers; call this outside of a transaction.

    Raises:
        LinesUnreadableError: The provider is away, refused, or its answer makes no sense.
    """
    try:
        return list(await source.list_phone_numbers())
    except OpenPhoneRefusedError as error:
        raise LinesUnreadableError(
            f"OpenPhone refused to list its numbers ({error.status}); check the API key."
        ) from error
    except (OpenPhoneBusyError, OpenPhoneListError) as error:
        raise LinesUnreadableError(
            "OpenPhone could not be reached or is busy; try again in a minute."
        ) from error
    except UnreadableEventError as error:
        raise LinesUnreadableError(
            "OpenPhone answered with a number that cannot be read; nothing was changed."
        ) from error


async def store_lines(
    uow: UnitOfWork,
    numbers: Sequence[OwnNumber],
    *,
    resend_unclear: bool,
    times: SendTimes,
    now: datetime,
) -> list[CountedLine]:
    """Add the provider's numbers that are not known; of those known only the number is corrected.

    Returns:
        The lines of these numbers, newest first; a line that the provider no longer has stays
        stored and is not among them.
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
        uow, await queries.find_many(uow.session, line_ids=ids), times=times, now=now
    )


async def find_by_provider_id(uow: UnitOfWork, *, phone_number_id: str) -> Line | None:
    """Fetch the line with the provider's id; None when it is not known."""
    return await queries.find_by_provider_id(uow.session, phone_number_id=phone_number_id)


async def find_by_number(uow: UnitOfWork, *, numbers: Sequence[str]) -> Line | None:
    """Fetch the oldest line with one of these numbers; None when there is none."""
    return await queries.find_by_number(uow.session, numbers=numbers)


async def ensure_line(
    uow: UnitOfWork,
    *,
    phone_number_id: str,
    number: str | None,
    now: datetime,
    resend_unclear: bool = True,
) -> Line | None:
    """Return the line with the provider's id; an unknown one is added when its number is told.

    Returns:
        None when it is not known and has no number.
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
    # Both have their own zone files; the count of a day's texts needs the database's.
    if not await queries.knows_zone(uow.session, name=name):
        raise ZoneUnknownToDatabaseError


async def _counted(uow: UnitOfWork, line: Line, *, times: SendTimes, now: datetime) -> CountedLine:
    return (await _count(uow, [line], times=times, now=now))[0]


async def _count(
    uow: UnitOfWork, lines: Sequence[Line], *, times: SendTimes, now: datetime
) -> list[CountedLine]:
    used = await sends.sent_today(
        uow.session, line_ids=[line.id for line in lines], times=times, now=now
    )
    return [CountedLine(line, _limit_today(line, now), used.get(line.id, 0)) for line in lines]


def _limit_today(line: Line, now: datetime) -> int:
    today = now.astimezone(ZoneInfo(line.timezone)).date()
    return limit_on(line.ramp_plan, line.ramp_started_on, line.daily_limit, today)
