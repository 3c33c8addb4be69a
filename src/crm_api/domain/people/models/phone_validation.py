"""The tables of phone validation, which finds the line types (such as mobile) of phone numbers.

They contain the validation runs, the line types, and the number of paid look-ups of each day.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Date, ForeignKey, Index, Integer, SmallInteger, Uuid
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class LineType(StrEnum):
    """The kind of telephone service behind a phone number, such as mobile or landline."""

    MOBILE = "mobile"
    LANDLINE = "landline"
    VOIP = "voip"
    TOLL_FREE = "toll_free"
    PREMIUM = "premium"
    UNKNOWN = "unknown"


class RunStatus(StrEnum):
    """The status of a phone validation."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (RunStatus.PENDING, RunStatus.RUNNING)


class PhoneLookup(Base):
    """The last look-up result for a phone number.

    The result is the line type of the number, such as ``mobile``. It belongs to the number, not to
    a contact. The line type ``unknown`` is stored only if the paid look-up service returned it.
    Before ``expires_at``, the number is not looked up again.
    """

    __tablename__ = "phone_lookup"
    __table_args__ = (CheckConstraint(one_of("line_type", LineType), name="line_type"),)

    phone: Mapped[str] = mapped_column(primary_key=True)
    line_type: Mapped[str]
    carrier: Mapped[str | None]
    source: Mapped[str]
    """The name of the service or library that returned the result."""
    checked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    """Until this instant, validations use this result. After it, they look up the number again."""


class PhoneLookupDay(Base):
    """The number of paid look-ups of line types that were made or reserved on one day (UTC)."""

    __tablename__ = "phone_lookup_day"
    __table_args__ = (CheckConstraint("used >= 0", name="used"),)

    day: Mapped[date] = mapped_column(Date(), primary_key=True)
    used: Mapped[int] = mapped_column(Integer)


class PhoneValidation(Base):
    """A run that finds the line types of contacts' phone numbers.

    The contacts are those of a list, or are given by their ids. They are checked in the order of
    their ids.
    """

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
    """The number of contacts when the validation was requested; the list may have changed since."""
    checked: Mapped[int] = mapped_column(Integer, server_default=sql("0"))
    looked_up: Mapped[int] = mapped_column(Integer, server_default=sql("0"))
    """The number of results that the paid service returned in this validation."""
    line_types: Mapped[dict[str, Any]] = mapped_column(server_default=sql("'{}'::jsonb"))
    """The number of contacts by line type: ``{"mobile": 12, "unknown": 3}``."""
    position: Mapped[UUID | None]
    """The last contact that was checked. A worker continues after it."""
    failures: Mapped[int] = mapped_column(SmallInteger, server_default=sql("0"))
    """Consecutive failures: the service was not available, or a worker crashed."""
    last_error: Mapped[str | None]
    lease_token: Mapped[UUID | None]
    """The token of the worker that has claimed the validation. Only that worker may write to it."""
    lease_until: Mapped[datetime | None]
    """No other worker may claim the validation before this instant."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @property
    def continues_at(self) -> datetime | None:
        """When a postponed validation continues; None if the validation is not postponed."""
        return self.lease_until if self.lease_token is None else None
