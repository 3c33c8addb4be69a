"""Enter, list and delete costs: prices of contact lists, hours of work, other costs."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    delete,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.campaigns.campaign_detail import require_campaign
from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.examples import LIST, NOW, example
from crm_api.domain.kit.fields import OptionalLine200, RequestInstant
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary, one_of
from crm_api.domain.people.lists.errors import ListNotFoundError
from crm_api.domain.people.models.lists import ContactList
from crm_api.domain.sales.outcomes.errors import OtherCurrencyError
from crm_api.domain.sales.outcomes.models import CURRENCY
from crm_api.domain.sales.outcomes.schemas import MOST_CENTS, CurrencyCode
from crm_api.platform.database import Base, UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id


class CostKind(StrEnum):
    """What was paid for. There is no kind for messages, because their cost is computed.

    Attributes:
        LIST_PRICE: The price of a list of people.
        LABOUR: Hours of work.
        OTHER: Something else.
    """

    LIST_PRICE = "list_price"
    LABOUR = "labour"
    OTHER = "other"


class CostEntry(Base):
    """A cost that was entered. It may belong to a campaign and to a contact list."""

    __tablename__ = "cost_entry"
    __table_args__ = (
        CheckConstraint(one_of("kind", CostKind), name="kind"),
        CheckConstraint("amount_cents > 0", name="amount_cents"),
        Index("idx_cost_entry_incurred", "incurred_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    amount_cents: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    incurred_at: Mapped[datetime]
    campaign_id: Mapped[UUID | None] = mapped_column(ForeignKey("campaign.id", ondelete="SET NULL"))
    list_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact_list.id", ondelete="SET NULL"))
    note: Mapped[str | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime]


class CostNotFoundError(NotFoundError):
    """No cost has this id."""

    code = "cost_not_found"
    title = "Cost not found"
    detail = "There is no cost with this id. GET /v1/costs lists the costs."


class CostCreate(RequestModel):
    """A cost to enter.

    Attributes:
        kind: What was paid for.
        amount_cents: The amount in cents, more than 0.
        currency: The currency. It must be `USD`.
        incurred_at: When the cost was paid. The default is now.
        campaign_id: The campaign of the cost; null if none.
        list_id: The contact list of the cost; null if none.
        note: A note, in one line of text.
    """

    model_config = example(
        kind="list_price",
        amount_cents=48000,
        incurred_at="2026-11-30T14:00:00Z",
        list_id=LIST,
        note="2,400 rows",
    )

    kind: CostKind
    amount_cents: Annotated[int, Field(strict=True, ge=1, le=MOST_CENTS)]
    currency: CurrencyCode = CURRENCY
    incurred_at: RequestInstant | None = None
    campaign_id: UUID | None = None
    list_id: UUID | None = None
    note: OptionalLine200 = None


class CostRead(ReadModel):
    """A cost.

    Attributes:
        kind: What was paid for.
        amount_cents: The amount in cents.
        currency: The currency of the amount.
        incurred_at: When the cost was paid.
        campaign_id: The campaign of the cost; null if none.
        list_id: The contact list of the cost; null if none.
        note: A note; null if none.
        created_by: Who entered the cost.
    """

    model_config = example(
        kind="list_price",
        amount_cents=48000,
        currency=CURRENCY,
        incurred_at=NOW,
        campaign_id=None,
        list_id=LIST,
        note="2,400 rows",
        created_by="olga@granite.example.com",
    )

    id: Id
    kind: Annotated[str, Vocabulary(CostKind)]
    amount_cents: int
    currency: str
    incurred_at: Instant
    campaign_id: Id | None
    list_id: Id | None
    note: str | None
    created_by: str
    created_at: Instant


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
        raise ListNotFoundError
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
    rows, cursors = select(CostEntry), Cursors("costs")
    return await read_newest(
        uow.session,
        rows,
        CostEntry.incurred_at,
        CostEntry.id,
        cursors=cursors,
        cursor=cursor,
        limit=limit,
    )


async def read_cost(uow: UnitOfWork, *, cost_id: UUID) -> CostEntry:
    """Return the cost with this id.

    Raises:
        CostNotFoundError: No cost has this id.
    """
    return await get_or_raise(uow.session, CostEntry, cost_id, CostNotFoundError)


async def delete_cost(uow: UnitOfWork, *, cost_id: UUID) -> None:
    """Delete a cost that was entered by mistake.

    Raises:
        CostNotFoundError: No cost has this id.
    """
    statement = delete(CostEntry).where(CostEntry.id == cost_id).returning(CostEntry.id)
    if await uow.session.scalar(statement) is None:
        raise CostNotFoundError
