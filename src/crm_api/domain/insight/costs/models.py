"""The table of entered costs."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
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
    """A cost that was entered: for a campaign, for a list, or for all messages."""

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
