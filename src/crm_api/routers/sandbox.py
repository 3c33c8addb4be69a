"""The sandbox, steered by developers of a frontend: who answers what, and what goes wrong.

With a real API key none of it exists.
"""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.access.models import Scope
from crm_api.domain.playground import service as playground
from crm_api.domain.playground.behaviours import steps_of
from crm_api.domain.playground.controls import open_controls
from crm_api.domain.playground.errors import SandboxOnlyError
from crm_api.domain.playground.schemas import (
    ClockMove,
    ClockMoveRead,
    ClockRead,
    ClockStatus,
    FaultCreate,
    FaultRead,
    PersonScript,
    PersonScriptRead,
    Phones,
)
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, State, Uow, require

POLL_SECONDS = 0.1


def sandbox_only(state: State) -> None:
    """Let nobody in where texts are really sent.

    Raises:
        SandboxOnlyError: A real API key is set.
    """
    if not state.settings.uses_sandbox:
        raise SandboxOnlyError


router = APIRouter(prefix="/v1/sandbox", tags=["sandbox"], dependencies=[Depends(sandbox_only)])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post("/clock", status_code=202)
async def move_sandbox_clock(body: ClockMove, uow: Uow, _caller: Admin) -> ClockRead:
    """Move time forward; what is due on the way is done at its time, in seconds.

    Campaigns send within their hours, pace and limits, people answer, follow-ups leave, daily
    work is done. `GET /v1/sandbox/clock?wait=60` answers when time is there. It never goes back.
    """
    async with uow:
        await playground.begin_move(uow, body, now=clock.now())
        return await _read_clock(uow)


@router.get("/clock")
async def get_sandbox_clock(
    state: State,
    _caller: Admin,
    wait: Annotated[
        int, Query(ge=0, le=60, description="Answer when time is there, after so many seconds.")
    ] = 0,
) -> ClockRead:
    """Tell what time it is in the sandbox, and whether it is being moved."""
    ends_at = time.monotonic() + wait
    while True:
        async with state.new_uow() as uow:
            found = await _read_clock(uow)
        if found.status is ClockStatus.STILL or time.monotonic() >= ends_at:
            return found
        await asyncio.sleep(POLL_SECONDS)


async def _read_clock(uow: UnitOfWork) -> ClockRead:
    row = await playground.get(uow)
    is_moving = row is not None and row.is_moving
    return ClockRead(
        now=clock.now(),
        ahead=clock.ahead(),
        status=ClockStatus.MOVING if is_moving else ClockStatus.STILL,
        move=ClockMoveRead.model_validate(row) if row is not None and row.from_at else None,
    )


@router.post("/people")
async def script_sandbox_person(
    body: PersonScript, state: State, _caller: Admin
) -> PersonScriptRead:
    """Say who does what when a text comes; it replaces what was said of this number before.

    Forgotten when the sandbox ends. Who has no script does as their number has it: most only get
    the text, some reply, a few say STOP.
    """
    async with open_controls(state.settings.provider_url) as controls:
        return await controls.script(body.phone, steps_of(body))


@router.get("/people")
async def list_sandbox_people(state: State, _caller: Admin) -> PageRead[PersonScriptRead]:
    """List who has a script."""
    async with open_controls(state.settings.provider_url) as controls:
        return PageRead(data=await controls.people(), next_cursor=None)


@router.delete("/people", status_code=204)
async def forget_sandbox_people(
    state: State,
    _caller: Admin,
    phone: Annotated[Phones | None, Query(description="Only of this one, as it was given.")] = None,
) -> None:
    """Take the script from one number, or from all; they do as before."""
    async with open_controls(state.settings.provider_url) as controls:
        await controls.forget_people(phone)


@router.post("/faults", status_code=201)
async def order_sandbox_fault(body: FaultCreate, state: State, _caller: Admin) -> FaultRead:
    """Let something go wrong, so many times or so often of a hundred."""
    async with open_controls(state.settings.provider_url) as controls:
        return await controls.order_fault(body)


@router.get("/faults")
async def list_sandbox_faults(state: State, _caller: Admin) -> PageRead[FaultRead]:
    """List what is still to go wrong, the oldest order first."""
    async with open_controls(state.settings.provider_url) as controls:
        return PageRead(data=await controls.faults(), next_cursor=None)


@router.delete("/faults", status_code=204)
async def clear_sandbox_faults(state: State, _caller: Admin) -> None:
    """Let nothing go wrong any more."""
    async with open_controls(state.settings.provider_url) as controls:
        await controls.clear_faults()
