"""Routes of calendar accounts (CalDAV)."""

from typing import Annotated
from uuid import UUID

from fastapi import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.addresses import AddressPolicy
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.sales.calendar_accounts import service
from crm_api.domain.sales.calendar_accounts.schemas import (
    CalendarAccountCreate,
    CalendarAccountRead,
)
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, State, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/calendar-accounts", tags=["calendars"])
Reader = Annotated[Caller, require(Scope.SALES_READ)]
Writer = Annotated[Caller, require(Scope.SALES_WRITE)]


@router.post(
    "",
    status_code=201,
    openapi_extra=fails_with(
        "calendar_account_exists",
        "invalid_calendar_url",
        "too_many_calendar_accounts",
        "unknown_assignee",
    ),
)
async def create_calendar_account(
    body: CalendarAccountCreate, uow: Uow, state: State, caller: Writer
) -> CalendarAccountRead:
    """Synchronise a calendar of a CalDAV server with the appointments, in both directions.

    The calendar is read soon after this request. The fields `status` and `error` of the account
    show whether the synchronisation works.
    """
    async with uow:
        account = await service.create_account(
            uow,
            body,
            author=caller.name,
            policy=AddressPolicy.for_webhooks(state.settings),
            key=state.secret,
            now=await uow.database_now(),
        )
        return CalendarAccountRead.model_validate(account)


@router.get(
    "",
    response_model=PageRead[CalendarAccountRead],
    responses=csv_list_of(CalendarAccountRead),
)
async def list_calendar_accounts(
    listed: Listed, _caller: Reader
) -> PageRead[CalendarAccountRead] | Response:
    """List calendar accounts without their passwords, the newest first.

    A CSV response contains all calendar accounts.
    """

    async def read_page(
        uow: UnitOfWork, cursor: str | None, limit: int
    ) -> PageRead[CalendarAccountRead]:
        found = await service.list_accounts(uow, cursor=cursor, limit=limit)
        return PageRead.of(found, CalendarAccountRead.model_validate)

    return await listed.respond(CalendarAccountRead, read_page, name="calendar-accounts")


@router.get("/{account_id}")
async def get_calendar_account(account_id: UUID, uow: Uow, _caller: Reader) -> CalendarAccountRead:
    """Return one calendar account, with the result of its last synchronisation."""
    async with uow:
        account = await service.read_account(uow, account_id=account_id)
        return CalendarAccountRead.model_validate(account)


@router.delete("/{account_id}", status_code=204)
async def delete_calendar_account(account_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a calendar account. The events in its calendar and the appointments do not change."""
    async with uow:
        await service.delete_account(uow, account_id=account_id)
