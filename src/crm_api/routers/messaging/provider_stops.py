"""HTTP routes for the stop list: phone numbers that the provider refuses because of an opt-out."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.examples import NOW
from crm_api.domain.kit.fields import PhoneNumber
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.messaging.models.number_failures import ProviderStopStatus
from crm_api.domain.messaging.provider_stops import service as stops
from crm_api.domain.messaging.provider_stops.service import ProviderStopRead, ProviderStopResolve
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import shows

router = ResourceRouter(prefix="/v1/provider-stops", tags=["consent"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.get("")
async def list_provider_stops(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    status: Annotated[
        ProviderStopStatus,
        Query(
            description="Only entries with this status. The default, `open`, means that the "
            "provider refuses the number although it is not opted out in this service."
        ),
    ] = ProviderStopStatus.OPEN,
    phone: Annotated[
        PhoneNumber | None,
        Query(description="Only entries for this phone number, in E.164 or another usual format."),
    ] = None,
) -> PageRead[ProviderStopRead]:
    """List the phone numbers that the provider refuses because of an opt-out, newest first.

    This service opts such a number out too. If a user later opts it in again, the provider may
    still refuse it. By default (status `open`), the list leaves out numbers that are opted out in
    this service.
    """
    async with uow:
        found = await stops.list_provider_stops(
            uow, status=status, phone=phone, cursor=page.cursor, limit=page.limit
        )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.post(
    "/{stop_id}/resolve",
    openapi_extra=shows(
        status="resolved", note="The person texted START.", resolved_at=NOW, resolved_by="office"
    ),
)
async def resolve_provider_stop(
    stop_id: UUID, uow: Uow, caller: Writer, body: ProviderStopResolve | None = None
) -> ProviderStopRead:
    """Resolve an entry of the list of refused phone numbers.

    Send this request when the provider no longer refuses the number, such as after a reply START.
    The consent of the number does not change. If the provider refuses it again, it is opted out
    again, with a new entry.
    """
    async with uow:
        return await stops.resolve_provider_stop(
            uow,
            stop_id=stop_id,
            note=body.note if body else None,
            actor=caller.name,
            now=await uow.database_now(),
        )
