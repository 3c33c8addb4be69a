"""The table of numbers that the provider refuses, because people opted out at the provider.

The provider's API does not offer this list, so the service learns the numbers from failed messages.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ProviderStopStatus(StrEnum):
    """The state of an entry of the provider's stop list.

    Attributes:
        OPEN: The provider refuses the number, but the number is not opted out in this service.
        AGREED: The provider refuses the number, and the number is opted out in this service too.
        RECOVERED: A later message to the number was delivered, so the provider sends to it again.
        RESOLVED: A user resolved the entry.
    """

    OPEN = "open"
    AGREED = "agreed"
    RECOVERED = "recovered"
    RESOLVED = "resolved"


class ProviderStop(Base):
    """A number that the provider refuses, because the person opted out at the provider.

    The row is created at the first refused message. Further refused messages update the row until a
    user resolves the entry. After that, a refused message creates a new row.
    """

    __tablename__ = "provider_stop"
    __table_args__ = (
        Index(
            "uq_provider_stop_phone",
            "phone",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index("idx_provider_stop_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    phone: Mapped[str]
    line_id: Mapped[UUID]
    code: Mapped[str]
    message_id: Mapped[UUID]
    """The last message to the number that the provider refused."""
    failures: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    first_failed_at: Mapped[datetime]
    last_failed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None]
    note: Mapped[str | None]
