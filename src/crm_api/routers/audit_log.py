"""The audit log."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from crm_api.domain.access.models import Scope
from crm_api.domain.fields import Line200, RequestInstant
from crm_api.domain.operations import audit_log
from crm_api.domain.operations.audit_schemas import AuditEntryRead, AuditFilter
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, ListUow, Paging, require

router = APIRouter(prefix="/v1/audit-log", tags=["access"])


async def read_filter(
    *,
    actor: Annotated[
        Line200 | None, Query(description="The name of a key, or a user's e-mail address.")
    ] = None,
    actor_id: Annotated[Line200 | None, Query(description="Of a key or user.")] = None,
    action: Annotated[
        Line200 | None, Query(description="An operationId, or what the service did.")
    ] = None,
    subject: Annotated[Line200 | None, Query(description="The id of what it was about.")] = None,
    created_after: Annotated[RequestInstant | None, Query(description="Exclusive.")] = None,
    created_before: Annotated[RequestInstant | None, Query(description="Exclusive.")] = None,
) -> AuditFilter:
    """Read which entries are wanted."""
    return AuditFilter(
        actor=actor,
        actor_id=actor_id,
        action=action,
        subject=subject,
        created_after=created_after,
        created_before=created_before,
    )


@router.get("")
async def list_audit_log(
    uow: ListUow,
    page: Paging,
    wanted: Annotated[AuditFilter, Depends(read_filter)],
    _caller: Annotated[Caller, require(Scope.ADMIN)],
) -> PageRead[AuditEntryRead]:
    """Tell who did what, newest first: every change through the API, and what the service did."""
    async with uow:
        await uow.commit_each()
        found = await audit_log.list_entries(uow, wanted, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[AuditEntryRead.of(entry) for entry in found.data], next_cursor=found.next_cursor
    )
