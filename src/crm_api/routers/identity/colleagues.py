"""Route that lists the active users, to assign work to a user or to mention a user in a note."""

from typing import Annotated

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.users import service as accounts
from crm_api.domain.identity.users.schemas import ColleagueRead
from crm_api.domain.kit.schemas import PageRead
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1/colleagues", tags=["users"])
Reader = Annotated[Caller, require(Scope.MESSAGES_READ)]


@router.get("")
async def list_colleagues(uow: Uow, page: Paging, _caller: Reader) -> PageRead[ColleagueRead]:
    """List the active users, newest first, without their roles.

    A conversation, a task or an appointment can be assigned to each of these users, and a note can
    mention these users. `GET /v1/users` also lists invited and disabled users.
    """
    async with uow:
        found = await accounts.list_colleagues(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, ColleagueRead.model_validate)
