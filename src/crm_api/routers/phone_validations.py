"""Validation of phone numbers: asked for, watched, cancelled."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.phone_validation import service as runs
from crm_api.domain.phone_validation.schemas import PhoneValidationCreate, PhoneValidationRead
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1/phone-validations", tags=["contacts"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post("", status_code=202, responses={404: {}})
async def create_phone_validation(
    body: PhoneValidationCreate, uow: Uow, _caller: Writer
) -> PhoneValidationRead:
    """Find out in the background what kind of line the numbers of a list are."""
    async with uow:
        run = await runs.request(uow, body, now=clock.now())
    return PhoneValidationRead.model_validate(run)


@router.get("")
async def list_phone_validations(
    uow: Uow, page: Paging, _caller: Reader
) -> PageRead[PhoneValidationRead]:
    """List runs, newest first."""
    async with uow:
        found = await runs.list_runs(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[PhoneValidationRead.model_validate(run) for run in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/{run_id}")
async def get_phone_validation(run_id: UUID, uow: Uow, _caller: Reader) -> PhoneValidationRead:
    """Tell how far a run is, and what it has found."""
    async with uow:
        run = await runs.get(uow, run_id=run_id)
    return PhoneValidationRead.model_validate(run)


@router.post("/{run_id}/cancel")
async def cancel_phone_validation(run_id: UUID, uow: Uow, _caller: Writer) -> PhoneValidationRead:
    """End a run where it stands; what it has learned stays."""
    async with uow:
        run = await runs.cancel(uow, run_id=run_id, now=clock.now())
    return PhoneValidationRead.model_validate(run)
