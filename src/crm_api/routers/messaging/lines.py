"""HTTP routes for lines: the company's phone numbers at the provider, and their daily limits."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.lines import provider_lines
from crm_api.domain.messaging.lines import service as lines
from crm_api.domain.messaging.lines.schemas import LineCreate, LineRead, LineUpdate
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/lines", tags=["lines"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, require(Scope.CAMPAIGNS_WRITE)]


@router.post("", status_code=201, openapi_extra=fails_with("line_exists", "unknown_timezone"))
async def create_line(body: LineCreate, uow: Uow, state: State, _caller: Writer) -> LineRead:
    """Add one phone number of the OpenPhone workspace as a line.

    `POST /v1/lines/sync` adds all phone numbers of the workspace.
    """
    async with uow:
        line = await lines.create_line(
            uow,
            body,
            resend_unclear=state.settings.unclear_sends == "resend",
            times=SendTimes.from_settings(state.settings),
            now=await uow.database_now(),
        )
    return LineRead.of(line)


@router.get("")
async def list_lines(uow: Uow, state: State, page: Paging, _caller: Reader) -> PageRead[LineRead]:
    """List the lines, newest first, with how many messages each line may still send today."""
    async with uow:
        found = await lines.list_lines(
            uow,
            cursor=page.cursor,
            limit=page.limit,
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return PageRead.of(found, LineRead.of)


@router.post("/sync", openapi_extra=fails_with("lines_unreadable"))
async def sync_lines(uow: Uow, state: State, _caller: Writer) -> PageRead[LineRead]:
    """Add all phone numbers of the OpenPhone workspace as lines.

    If OpenPhone has changed the phone number of a line that already exists, the line gets the new
    number. The line's name and limits do not change.
    """
    numbers = await provider_lines.read_provider_numbers(state.provider)
    async with uow:
        found = await provider_lines.store_lines(
            uow,
            numbers,
            resend_unclear=state.settings.unclear_sends == "resend",
            times=SendTimes.from_settings(state.settings),
            now=await uow.database_now(),
        )
    return PageRead(data=[LineRead.of(line) for line in found], next_cursor=None)


@router.get("/{line_id}")
async def get_line(line_id: UUID, uow: Uow, state: State, _caller: Reader) -> LineRead:
    """Return a line with its daily limit and the number of messages that it sent today."""
    async with uow:
        line = await lines.get_line(
            uow,
            line_id=line_id,
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return LineRead.of(line)


@router.patch("/{line_id}", openapi_extra=fails_with("unknown_timezone"))
async def update_line(
    line_id: UUID, body: LineUpdate, uow: Uow, state: State, caller: Writer
) -> LineRead:
    """Change a line's name, time zone, daily limit, ramp plan or `resend_unclear`.

    A ramp plan sets the daily limits for the first days of a new line. If it is unclear whether a
    message was sent, and OpenPhone does not list it, `resend_unclear` decides: true sends the
    message again, false lets a user decide.
    """
    async with uow:
        line = await lines.update_line(
            uow,
            body,
            line_id=line_id,
            actor=caller.name,
            times=SendTimes.from_settings(state.settings),
            now=await uow.database_now(),
        )
    return LineRead.of(line)


@router.post("/{line_id}/unblock")
async def unblock_line(line_id: UUID, uow: Uow, state: State, caller: Writer) -> LineRead:
    """Unblock a line, so that it sends again. The campaigns of the line continue automatically.

    If OpenPhone has asked for a pause (`Retry-After`), the pause ends too, for all lines.
    """
    async with uow:
        line = await lines.unblock_line(
            uow,
            line_id=line_id,
            actor=caller.name,
            times=SendTimes.from_settings(state.settings),
            now=await uow.database_now(),
        )
    return LineRead.of(line)
