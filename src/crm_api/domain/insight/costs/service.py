"""Enter, list and delete costs."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.campaigns.campaign_detail import require_campaign
from crm_api.domain.insight.costs.errors import CostNotFoundError
from crm_api.domain.insight.costs.models import CostEntry
from crm_api.domain.insight.costs.schemas import CostCreate
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.lists.errors import ListNotFoundError
from crm_api.domain.people.models.lists import ContactList
from crm_api.domain.sales.outcomes.errors import OtherCurrencyError
from crm_api.domain.sales.outcomes.models import CURRENCY
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


async def enter_cost(
    uow: UnitOfWork, body: CostCreate, *, created_by: str, now: datetime
) -> CostEntry:
    """Enter a cost.

    Raises:
        CampaignNotFoundError: The campaign does not exist.
        ListNotFoundError: The list does not exist.
        OtherCurrencyError: The amount is not in the currency of the company.
    """
    if body.currency != CURRENCY:
        raise OtherCurrencyError
    if body.campaign_id is not None:
        await require_campaign(uow.session, campaign_id=body.campaign_id)
    if body.list_id is not None and await uow.session.get(ContactList, body.list_id) is None:
        raise ListNotFoundError("No list has this id. GET /v1/lists lists all lists.")
    values = {
        **body.model_dump(),
        "id": new_id(),
        "incurred_at": body.incurred_at or now,
        "created_by": created_by,
        "created_at": now,
    }
    statement = insert(CostEntry).values(values).returning(CostEntry)
    return (await uow.session.scalars(statement)).one()


async def list_costs(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[CostEntry]:
    """Return a page of costs, the latest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("costs")
    statement = costs_statement(after=cursors.read(cursor), limit=limit + 1)
    rows = list(await uow.session.scalars(statement))
    return cursors.page(rows, limit=limit, position=lambda one: (one.incurred_at, one.id))


def costs_statement(*, after: tuple[datetime, UUID] | None, limit: int) -> Select[CostEntry]:
    """Return the statement that reads one page of costs."""
    statement = select(CostEntry)
    if after is not None:
        statement = statement.where(tuple_(CostEntry.incurred_at, CostEntry.id) < after)
    return statement.order_by(CostEntry.incurred_at.desc(), CostEntry.id.desc()).limit(limit)


async def read_cost(uow: UnitOfWork, *, cost_id: UUID) -> CostEntry:
    """Return the cost with this id.

    Raises:
        CostNotFoundError: No cost has this id.
    """
    found = await uow.session.get(CostEntry, cost_id)
    if found is None:
        raise CostNotFoundError
    return found


async def delete_cost(uow: UnitOfWork, *, cost_id: UUID) -> None:
    """Delete a cost that was entered by mistake.

    Raises:
        CostNotFoundError: No cost has this id.
    """
    statement = delete(CostEntry).where(CostEntry.id == cost_id).returning(CostEntry.id)
    if await uow.session.scalar(statement) is None:
        raise CostNotFoundError
