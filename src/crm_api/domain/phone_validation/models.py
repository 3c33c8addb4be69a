"""What is known of numbers, what it has cost today, and the runs that ask."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Date, ForeignKey, Index, Integer, SmallInteger, Uuid
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class LineType(StrEnum):
    """What kind of line a number is."""

    MOBILE = "mobile"
    LANDLINE = "landline"
    VOIP = "voip"
    TOLL_FREE = "toll_free"
    PREMIUM = "premium"
    UNKNOWN = "unknown"


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (RunStatus.PENDING, RunStatus.RUNNING)


class PhoneLookup(Base):
    """What was last learned about a number; it belongs to the number, not to a contact.

    ``unknown`` stands here only when the paid service said so: it is not asked again for a while.
    """

    __tablename__ = "phone_lookup"
    __table_args__ = (CheckConstraint(one_of("line_type", LineType), name="line_type"),)

    phone: Mapped[str] = mapped_column(primary_key=True)
    line_type: Mapped[str]
    carrier: Mapped[str | None]
    source: Mapped[str]
    """Which validator said so."""
    checked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    """After this it is asked again; until then, and until that, it stands."""


class PhoneLookupDay(Base):
    """How many look-ups were taken from the budget of a day, UTC."""

    __tablename__ = "phone_lookup_day"
    __table_args__ = (CheckConstraint("used >= 0", name="used"),)

    day: Mapped[date] = mapped_column(Date(), primary_key=True)
    used: Mapped[int] = mapped_column(Integer)


class PhoneValidation(Base):
    """A run over the numbers of a list, or of some contacts; goes on behind ``position``."""

    __tablename__ = "phone_validation"
    __table_args__ = (
        CheckConstraint(one_of("status", RunStatus), name="status"),
        CheckConstraint("(list_id IS NULL) <> (contact_ids IS NULL)", name="one_source"),
        Index("idx_phone_validation_created", "created_at", "id"),
        Index(
            "idx_phone_validation_open",
            "created_at",
            "id",
            postgresql_where=sql(one_of("status", OPEN)),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    status: Mapped[str] = mapped_column(server_default=sql("'pending'"))
    list_id: Mapped[UUID | None] = mapped_column(ForeignKey("contact_list.id", ondelete="CASCADE"))
    contact_ids: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid()))
    total: Mapped[int] = mapped_column(Integer)
    """People when the run was asked for; those who came or went since make the difference."""
    checked: Mapped[int] = mapped_column(Integer, server_default=sql("0"))
    looked_up: Mapped[int] = mapped_column(Integer, server_default=sql("0"))
    """Of the paid service, in this run."""
    line_types: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'::jsonb"))
    """How many of each: ``{"mobile": 12, "unknown": 3}``."""
    position: Mapped[UUID | None]
    """The last contact that is done."""
    failures: Mapped[int] = mapped_column(SmallInteger, server_default=sql("0"))
    """How often in a row the service could not be asked."""
    last_error: Mapped[str | None]
    lease_token: Mapped[UUID | None]
    """Whoever works on the run holds it; nobody else may write."""
    lease_until: Mapped[datetime | None]
    """Before this nobody else goes on with the run."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @property
    def continues_at(self) -> datetime | None:
        """When it goes on, while nobody works on it because it waits for something."""
        return self.lease_until if self.lease_token is None else None
