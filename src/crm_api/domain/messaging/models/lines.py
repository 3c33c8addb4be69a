"""Lines: the company's own phone numbers."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id

DEFAULT_DAILY_LIMIT = 125
DEFAULT_TIMEZONE = "America/New_York"


class LineStatus(StrEnum):
    """The state of a line."""

    ACTIVE = "active"
    BLOCKED = "blocked"


class Line(Base):
    """A number of the provider's workspace.

    A claim locks this row before it counts the messages of the day (Sending, rule 1).
    """

    __tablename__ = "line"
    __table_args__ = (
        UniqueConstraint("phone_number_id"),
        CheckConstraint(one_of("status", LineStatus), name="status"),
        CheckConstraint("daily_limit >= 0", name="daily_limit"),
        Index("idx_line_number", "number"),
        Index("idx_line_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    phone_number_id: Mapped[str]
    """The provider's id, ``PN…``."""
    number: Mapped[str]
    name: Mapped[str]
    daily_limit: Mapped[int] = mapped_column(Integer, server_default=text(str(DEFAULT_DAILY_LIMIT)))
    timezone: Mapped[str] = mapped_column(server_default=text(f"'{DEFAULT_TIMEZONE}'"))
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    blocked_reason: Mapped[str | None]
    blocked_at: Mapped[datetime | None]
    is_probing: Mapped[bool] = mapped_column(server_default=text("false"))
    """On trial after a block: one message at a time until one is accepted."""
    probe_at: Mapped[datetime | None]
    """When a blocked line goes on trial; for a line on trial, when the trial began."""
    probes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Blocks since the line last worked; each of them waits longer than the one before."""
    ramp_plan: Mapped[list[int] | None] = mapped_column(ARRAY(Integer()))
    """Limits of the first days of a new line, one for each day; then ``daily_limit`` applies."""
    ramp_started_on: Mapped[date | None]
    """First day of the plan in the line's time zone; set by the first claim."""
    resend_unclear: Mapped[bool] = mapped_column(server_default=text("true"))
    own_user_id: Mapped[str | None]
    """The provider user that sends our messages over this line, taken from the answers."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
