"""Route of the engagement of a contact."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.insight.engagement import EngagementRead, read_engagement
from crm_api.routers.http.deps import Caller, ListUow, require
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1/contacts", tags=["insight"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]


@router.get("/{contact_id}/engagement")
async def get_engagement(contact_id: UUID, uow: ListUow, _caller: Reader) -> EngagementRead:
    """Return how engaged a person is: a score, its grade, and the factors with their points."""
    async with uow:
        now = await uow.database_now()
        found = await read_engagement(uow, contact_id=contact_id, now=now)
    return EngagementRead(
        contact_id=contact_id,
        score=found.score,
        grade=found.grade,
        reasons=found.reasons,
        as_of=now,
    )
