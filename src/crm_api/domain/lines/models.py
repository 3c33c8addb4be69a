"""Own numbers that send."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id

DEFAULT_DAILY_LIMIT = 125
DEFAULT_TIMEZONE = "America/New_York"


class LineStatus(StrEnum):
    """Whether a line may send."""

    ACTIVE = "active"
    BLOCKED = "blocked"


class Line(Base):
    """A number of the workspace; the claim locks this row before it counts the day's texts."""

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
    """Open again on trial: one text at a time until one is accepted."""
    probe_at: Mapped[datetime | None]
    """Of a blocked line: when it is opened on trial. Of one on trial: since when it is."""
    probes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Blocks since the line was last proved; each waits longer than the one before."""
    ramp_plan: Mapped[list[int] | None] = mapped_column(ARRAY(Integer()))
    """Limits of the first days of a new line, day by day; then ``daily_limit`` holds."""
    ramp_started_on: Mapped[date | None]
    """The first day of the plan in the line's zone; set by the first claim."""
    resend_unclear: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
