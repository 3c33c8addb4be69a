"""Route that lists the audit log."""

from typing import Annotated

from fastapi import Depends, Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import audit_log
from crm_api.domain.kit.audit_log import AuditEntryRead, AuditFilter
from crm_api.domain.kit.examples import CAMPAIGN, example_id
from crm_api.domain.kit.fields import Line200
from crm_api.domain.kit.schemas import PageRead
from crm_api.routers.http.deps import Caller, ListUow, Paging, require
from crm_api.routers.http.query_parameters import After, Before, QueryZone, start_of
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1/audit-log", tags=["access"])


async def read_filter(
    *,
    actor: Annotated[
        Line200 | None,
        Query(
            description="Only changes by the API key with this name, or by the user with this "
            "e-mail address."
        ),
    ] = None,
    actor_id: Annotated[
        Line200 | None,
        Query(
            description="Only changes by the API key or user with this id.",
            examples=[example_id("user")],
        ),
    ] = None,
    action: Annotated[
        Line200 | None,
        Query(
            description="The action of the changes: the `operationId` of an API operation, or the "
            "name of an action of the service itself.",
            examples=["start_campaign"],
        ),
    ] = None,
    subject: Annotated[
        Line200 | None,
        Query(
            description="Only changes to the object with this id, such as a campaign.",
            examples=[CAMPAIGN],
        ),
    ] = None,
    created_after: After = None,
    created_before: Before = None,
    zone: QueryZone,
) -> AuditFilter:
    """Build the filter of the audit log from the query parameters."""
    return AuditFilter(
        actor=actor,
        actor_id=actor_id,
        action=action,
        subject=subject,
        created_after=start_of(created_after, zone),
        created_before=start_of(created_before, zone),
    )


@router.get("")
async def list_audit_log(
    uow: ListUow,
    page: Paging,
    wanted: Annotated[AuditFilter, Depends(read_filter)],
    _caller: Annotated[Caller, require(Scope.ADMIN)],
) -> PageRead[AuditEntryRead]:
    """List the changes that API callers and the service itself have made, newest first.

    Each entry shows who changed what and when.
    """
    async with uow:
        await uow.commit_each()
        found = await audit_log.list_entries(uow, wanted, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, AuditEntryRead.of)
