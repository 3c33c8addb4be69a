"""HTTP routes for the company's settings: names, test numbers, budgets and office hours."""

from typing import Annotated

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.company import service as company
from crm_api.domain.messaging.company.schemas import SettingsRead, SettingsUpdate
from crm_api.routers.http.deps import Caller, State, Uow, configured_business, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/settings", tags=["settings"])
Reader = Annotated[Caller, require(Scope.CAMPAIGNS_READ)]
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.get("")
async def get_settings(uow: Uow, state: State, _caller: Reader) -> SettingsRead:
    """Return the company's settings, and which fields come from environment variables."""
    async with uow:
        return await company.read_settings(uow, configured=configured_business(state))


@router.patch("", openapi_extra=fails_with("setting_locked"))
async def update_settings(
    body: SettingsUpdate, uow: Uow, state: State, caller: Admin
) -> SettingsRead:
    """Change the company's settings. When you get the response, the new values apply.

    You cannot change a setting whose value comes from an environment variable. The field `locked`
    lists these settings.
    """
    async with uow:
        return await company.update_settings(
            uow,
            body,
            configured=configured_business(state),
            actor=caller.name,
            now=await uow.database_now(),
        )
