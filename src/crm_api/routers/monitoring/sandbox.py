"""Routes that control the sandbox, for frontend developers: its clock, people and faults.

The sandbox simulates the provider. The routes refuse every request if a real API key of the
provider is set.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.monitoring.sandbox_control.clock_moves import (
    begin_clock_move,
    read_sandbox_clock,
)
from crm_api.domain.monitoring.sandbox_control.controls import SandboxControls, open_controls
from crm_api.domain.monitoring.sandbox_control.errors import SandboxOnlyError
from crm_api.domain.monitoring.sandbox_control.schemas import (
    ClockMove,
    ClockMoveRead,
    ClockRead,
    ClockStatus,
    FaultCreate,
    FaultRead,
    PersonCall,
    PersonMessage,
    PersonScript,
    PersonScriptRead,
    Phones,
)
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

POLL_SECONDS = 0.1


def sandbox_only(state: State) -> None:
    """Refuse the request unless this service uses the sandbox instead of the real provider.

    Raises:
        SandboxOnlyError: A real API key of the provider is set, so there is no sandbox.
    """
    if not state.settings.uses_sandbox:
        raise SandboxOnlyError


async def sandbox_controls(state: State) -> AsyncIterator[SandboxControls]:
    """Open a connection to the sandbox for the time of one request."""
    async with open_controls(state.settings.provider_url) as controls:
        yield controls


router = ResourceRouter(
    prefix="/v1/sandbox", tags=["sandbox"], dependencies=[Depends(sandbox_only)]
)
Admin = Annotated[Caller, require(Scope.ADMIN)]
Controls = Annotated[SandboxControls, Depends(sandbox_controls)]


@router.post(
    "/clock",
    status_code=202,
    openapi_extra=fails_with("clock_goes_forward", "clock_moves", "clock_too_far", "sandbox_only"),
)
async def move_sandbox_clock(body: ClockMove, uow: Uow, _caller: Admin) -> ClockRead:
    """Move the clock of the sandbox forward, and run everything that is due by the new time.

    Messages, replies, follow-ups and daily jobs happen at their own times on the sandbox clock. In
    real time, this takes seconds. `GET /v1/sandbox/clock?wait=60` responds when the clock has
    reached the new time, or after 60 seconds. The clock cannot move back.
    """
    async with uow:
        await begin_clock_move(uow, body, now=clock.now())
        return await _read_clock(uow)


@router.get("/clock", openapi_extra=fails_with("sandbox_only"))
async def get_sandbox_clock(
    state: State,
    _caller: Admin,
    wait: Annotated[
        int,
        Query(
            ge=0,
            le=60,
            description="If the clock is moving, wait up to this number of seconds until it has "
            "reached the new time. The default is not to wait.",
        ),
    ] = 0,
) -> ClockRead:
    """Show the time of the sandbox clock, and whether the clock is moving."""
    ends_at = time.monotonic() + wait
    while True:
        async with state.new_uow() as uow:
            found = await _read_clock(uow)
        if found.status is ClockStatus.STILL or time.monotonic() >= ends_at:
            return found
        await asyncio.sleep(POLL_SECONDS)


async def _read_clock(uow: UnitOfWork) -> ClockRead:
    row = await read_sandbox_clock(uow)
    is_moving = row is not None and row.is_moving
    return ClockRead(
        now=clock.now(),
        ahead=clock.ahead(),
        status=ClockStatus.MOVING if is_moving else ClockStatus.STILL,
        move=ClockMoveRead.model_validate(row) if row is not None and row.from_at else None,
    )


@router.post("/people", openapi_extra=fails_with("sandbox_away", "sandbox_only"))
async def script_sandbox_person(
    body: PersonScript, controls: Controls, _caller: Admin
) -> PersonScriptRead:
    """Set the script of a phone number: what the person with this number does after each message.

    The script replaces an earlier one of the number. All scripts are lost when the sandbox stops.
    Without a script, the number decides what the person does: most people do nothing, some reply, a
    few reply STOP, a few get no message.
    """
    return await controls.set_script(body)


@router.get("/people", openapi_extra=fails_with("sandbox_away", "sandbox_only"))
async def list_sandbox_people(
    controls: Controls, page: Paging, _caller: Admin
) -> PageRead[PersonScriptRead]:
    """List the phone numbers that have a script, with their scripts."""
    cursors = Cursors("sandbox_people")
    # An invalid cursor must be refused before the sandbox is called.
    cursors.read_text(page.cursor)
    found = cursors.part(
        await controls.list_people(),
        cursor=page.cursor,
        limit=page.limit,
        name=lambda person: person.phone,
    )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.delete("/people", status_code=204, openapi_extra=fails_with("sandbox_away", "sandbox_only"))
async def forget_sandbox_people(
    controls: Controls,
    _caller: Admin,
    phone: Annotated[
        Phones | None,
        Query(
            description="Remove only the script of this phone number. Write the number as in the "
            "script. By default, all scripts are removed."
        ),
    ] = None,
) -> None:
    """Remove the script of one phone number, or all scripts.

    A script says what the simulated person with the number does after each message.
    """
    await controls.clear_scripts(phone)


@router.post(
    "/messages",
    status_code=204,
    openapi_extra=fails_with("sandbox_away", "sandbox_only", "unknown_sandbox_line"),
)
async def write_as_sandbox_person(body: PersonMessage, controls: Controls, _caller: Admin) -> None:
    """Let a simulated person write to the company. The message arrives by webhook within a second.

    The phone number needs no script and no contact. `STOP` opts the number out, as the `STOP` of a
    real person does.
    """
    await controls.send_as_person(body)


@router.post(
    "/calls",
    status_code=204,
    openapi_extra=fails_with("sandbox_away", "sandbox_only", "unknown_sandbox_line"),
)
async def call_as_sandbox_person(body: PersonCall, controls: Controls, _caller: Admin) -> None:
    """Let a simulated person make a phone call to the company.

    The field `answered` says whether a user answers the call.
    """
    await controls.call_as_person(body)


@router.post("/faults", status_code=201, openapi_extra=fails_with("sandbox_away", "sandbox_only"))
async def order_sandbox_fault(body: FaultCreate, controls: Controls, _caller: Admin) -> FaultRead:
    """Add a simulated fault, such as an error response of the provider or a lost webhook.

    The fault happens `count` times, or for `percent` percent of the requests or webhooks.
    """
    return await controls.add_fault(body)


@router.get("/faults", openapi_extra=fails_with("sandbox_away", "sandbox_only"))
async def list_sandbox_faults(
    controls: Controls, page: Paging, _caller: Admin
) -> PageRead[FaultRead]:
    """List the faults that can still happen, the oldest first."""
    cursors = Cursors("sandbox_faults")
    # An invalid cursor must be refused before the sandbox is called.
    cursors.read_text(page.cursor)
    found = cursors.part(
        await controls.list_faults(),
        cursor=page.cursor,
        limit=page.limit,
        name=lambda fault: fault.model_dump_json(),
    )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.delete("/faults", status_code=204, openapi_extra=fails_with("sandbox_away", "sandbox_only"))
async def clear_sandbox_faults(controls: Controls, _caller: Admin) -> None:
    """Remove all simulated faults. The sandbox then responds without faults."""
    await controls.clear_faults()
