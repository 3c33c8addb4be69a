"""Own numbers and their limits."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.lines import service as lines
from crm_api.domain.lines.schemas import LineCreate, LineRead, LineUpdate
from crm_api.domain.schemas import PageRead
from crm_api.domain.sends.times import SendTimes
from crm_api.routers.deps import Caller, Paging, State, Uow, require

router = APIRouter(prefix="/v1/lines", tags=["lines"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Writer = Annotated[Caller, require(Scope.CAMPAIGNS_WRITE)]


@router.post("", status_code=201)
async def create_line(body: LineCreate, uow: Uow, state: State, _caller: Writer) -> LineRead:
    """Add a number of the workspace; `sync` does it for all of them."""
    async with uow:
        line = await lines.create(
            uow,
            body,
            resend_unclear=state.settings.unclear_sends == "resend",
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return LineRead.of(line)


@router.get("")
async def list_lines(uow: Uow, state: State, page: Paging, _caller: Reader) -> PageRead[LineRead]:
    """List lines, newest first, with what each has left today in its time zone."""
    async with uow:
        found = await lines.list_lines(
            uow,
            cursor=page.cursor,
            limit=page.limit,
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return PageRead(data=[LineRead.of(line) for line in found.data], next_cursor=found.next_cursor)


@router.post("/sync")
async def sync_lines(uow: Uow, state: State, _caller: Writer) -> PageRead[LineRead]:
    """Read the workspace's numbers from the provider; names and limits given here stay."""
    numbers = await lines.read_from_provider(state.provider)
    async with uow:
        found = await lines.store_lines(
            uow,
            numbers,
            resend_unclear=state.settings.unclear_sends == "resend",
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return PageRead(data=[LineRead.of(line) for line in found], next_cursor=None)


@router.get("/{line_id}")
async def get_line(line_id: UUID, uow: Uow, state: State, _caller: Reader) -> LineRead:
    """Show a line."""
    async with uow:
        line = await lines.get(
            uow,
            line_id=line_id,
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return LineRead.of(line)


@router.patch("/{line_id}")
async def update_line(
    line_id: UUID, body: LineUpdate, uow: Uow, state: State, caller: Writer
) -> LineRead:
    """Change name, daily limit, ramp plan, time zone, or what happens to unclear sends."""
    async with uow:
        line = await lines.update(
            uow,
            body,
            line_id=line_id,
            actor=caller.name,
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return LineRead.of(line)


@router.post("/{line_id}/unblock")
async def unblock_line(line_id: UUID, uow: Uow, state: State, caller: Writer) -> LineRead:
    """Let a blocked line send again; its campaigns go on by themselves."""
    async with uow:
        line = await lines.unblock(
            uow,
            line_id=line_id,
            actor=caller.name,
            times=SendTimes.from_settings(state.settings),
            now=clock.now(),
        )
    return LineRead.of(line)
