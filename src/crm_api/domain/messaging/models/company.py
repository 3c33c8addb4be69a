"""The table of the company's settings; it has at most one row."""

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base

THE_ROW = 1
"""The id of the only row."""


class CompanySettings(Base):
    """The settings that an administrator can change at run time; no row means no setting.

    A worker that claims messages locks this row while it computes what is left of the carrier
    budgets. So two workers never both use the same remaining segments.
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
    """The time zone of the office, and the spans of each day of the week in which it is open."""
    holidays: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """The days on which the office is closed: ``date`` and ``name``."""
    away_reply: Mapped[str | None]
    """The automatic answer to a person's message while the office is closed; None for none."""
    require_approval: Mapped[bool] = mapped_column(server_default=text("false"))
    """If true, a campaign starts only if another person approved the campaign or its texts."""
    updated_at: Mapped[datetime]
