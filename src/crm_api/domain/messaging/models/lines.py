"""The tables of the company: its settings (at most one row) and its phone lines."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id

THE_ROW = 1
"""The id of the only row of the table ``company_settings``."""


class CompanySettings(Base):
    """The settings that an administrator can change at run time. The table has at most one row.

    The row is also the lock of ``carrier_budgets``. A worker that reserves messages locks the row
    until its transaction ends. So two workers never use the same segments of a budget.
    """

    __tablename__ = "company_settings"
    __table_args__ = (CheckConstraint(f"id = {THE_ROW}", name="one_row"),)

    id: Mapped[int] = mapped_column(
        SmallInteger, primary_key=True, autoincrement=False, server_default=text(str(THE_ROW))
    )
    business_name: Mapped[str | None]
    business_contact: Mapped[str | None]
    test_numbers: Mapped[list[str]] = mapped_column(
        ARRAY(Text()), server_default=text("'{}'::text[]")
    )
    """The phone numbers, in E.164, that may receive test messages."""
    brand: Mapped[dict[str, Any] | None]
    """The company's registration with the carriers: ``legal_name``, ``ein`` and ``att_class``."""
    carrier_budgets: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """For each carrier: the segments per day (``daily_segments``), and how many of them other
    vendors use (``other_vendors``)."""
    office_hours: Mapped[dict[str, Any] | None]
    """The time zone of the office and, for each day of the week, the times at which it is open."""
    holidays: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """The days on which the office is closed. Each day has a ``date`` and a ``name``."""
    away_reply: Mapped[str | None]
    """The automatic answer to messages while the office is closed; None if there is no answer."""
    require_approval: Mapped[bool] = mapped_column(server_default=text("false"))
    """If true, a campaign starts only if another user has approved the campaign, or if all its
    texts are approved versions of templates."""
    updated_at: Mapped[datetime]


DEFAULT_DAILY_LIMIT = 125
DEFAULT_TIMEZONE = "America/New_York"


class LineStatus(StrEnum):
    """The state of a line.

    Attributes:
        ACTIVE: The line sends messages. After a block, it may be on trial: it then sends one
            message at a time.
        BLOCKED: The line sends nothing. `blocked_reason` says why.
    """

    ACTIVE = "active"
    BLOCKED = "blocked"


class Line(Base):
    """A line: a phone number of the company at the provider.

    To claim (reserve) messages, a worker first locks the line's row, and then counts the messages
    of the day (see ``ARCHITECTURE.md``, "Sending, rule 1").
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
    """The provider's id of the line, ``PN…``."""
    number: Mapped[str]
    name: Mapped[str]
    daily_limit: Mapped[int] = mapped_column(Integer, server_default=text(str(DEFAULT_DAILY_LIMIT)))
    timezone: Mapped[str] = mapped_column(server_default=text(f"'{DEFAULT_TIMEZONE}'"))
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    blocked_reason: Mapped[str | None]
    blocked_at: Mapped[datetime | None]
    is_probing: Mapped[bool] = mapped_column(server_default=text("false"))
    """True while the line is on trial after a block: it sends one message at a time, until the
    provider accepts one."""
    probe_at: Mapped[datetime | None]
    """If the line is blocked, this is when its trial will begin; None if only a user can unblock
    the line. If the line is on trial, this is when the trial began."""
    probes: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How often the line was blocked since the provider last accepted a message. The wait before
    the next trial grows with this number."""
    ramp_plan: Mapped[list[int] | None] = mapped_column(ARRAY(Integer()))
    """The daily limits of a new line's first days, in order. Later, ``daily_limit`` applies."""
    ramp_started_on: Mapped[date | None]
    """The first day of the ramp plan, in the line's time zone. It is set when the first campaign
    message under the plan is claimed (reserved for sending)."""
    resend_unclear: Mapped[bool] = mapped_column(server_default=text("true"))
    own_user_id: Mapped[str | None]
    """The provider's id of the user in whose name we send over this line, as the provider's
    responses show it; None if unknown."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
