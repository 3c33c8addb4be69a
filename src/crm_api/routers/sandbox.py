"""The sandbox, steered by developers of a frontend: who answers what, and what goes wrong.

With a real API key none of it exists.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from crm_api.domain.access.models import Scope
from crm_api.domain.playground.behaviours import steps_of
from crm_api.domain.playground.controls import open_controls
from crm_api.domain.playground.errors import SandboxOnlyError
from crm_api.domain.playground.schemas import (
    FaultCreate,
    FaultRead,
    PersonScript,
    PersonScriptRead,
    Phones,
)
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, State, require


def sandbox_only(state: State) -> None:
    """Let nobody in where texts are really sent.

    Raises:
        SandboxOnlyError: A real API key is set.
    """
    if not state.settings.uses_sandbox:
        raise SandboxOnlyError


router = APIRouter(prefix="/v1/sandbox", tags=["sandbox"], dependencies=[Depends(sandbox_only)])
Admin = Annotated[Caller, require(Scope.ADMIN)]


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
