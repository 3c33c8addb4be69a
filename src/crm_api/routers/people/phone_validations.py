"""Routes of phone validations, which find the line types (such as mobile) of phone numbers."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.phone_validation import service as runs
from crm_api.domain.people.phone_validation.schemas import (
    PhoneValidationCreate,
    PhoneValidationRead,
)
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1/phone-validations", tags=["contacts"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post(
    "",
    status_code=202,
    responses={404: {}},
    openapi_extra=fails_with("list_not_found", "nobody_to_validate")
    | shows(
        status="pending", started_at=None, finished_at=None, checked=0, looked_up=0, line_types={}
    ),
)
async def create_phone_validation(
    body: PhoneValidationCreate, uow: Uow, _caller: Writer
) -> PhoneValidationRead:
    """Find the line types of phone numbers, such as mobile or landline, in the background.

    The numbers are those of the contacts on a list, or of the contacts that you name.
    """
    async with uow:
        run = await runs.request_run(uow, body, now=clock.now())
    return PhoneValidationRead.model_validate(run)


@router.get("")
async def list_phone_validations(
    uow: Uow, page: Paging, _caller: Reader
) -> PageRead[PhoneValidationRead]:
    """List phone validations, newest first."""
    async with uow:
        found = await runs.list_runs(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, PhoneValidationRead.model_validate)


@router.get("/{run_id}")
async def get_phone_validation(run_id: UUID, uow: Uow, _caller: Reader) -> PhoneValidationRead:
    """Show the progress of a phone validation, and its results so far."""
    async with uow:
        run = await runs.get_run(uow, run_id=run_id)
    return PhoneValidationRead.model_validate(run)


@router.post(
    "/{run_id}/cancel",
    openapi_extra=fails_with("phone_validation_ended") | shows(status="cancelled"),
)
async def cancel_phone_validation(run_id: UUID, uow: Uow, _caller: Writer) -> PhoneValidationRead:
    """Cancel a phone validation. Line types that were already found stay stored."""
    async with uow:
        run = await runs.cancel_run(uow, run_id=run_id, now=clock.now())
    return PhoneValidationRead.model_validate(run)
