"""The company's settings: one row for the whole installation."""

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base

THE_ROW = 1


class CompanySettings(Base):
    """Settings that an administrator changes at run time; without a row nothing is set.

    A claim that counts carrier budgets locks this row, so that the lines wait for each other.
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
    """E.164; numbers that test messages may go to."""
    brand: Mapped[dict[str, Any] | None]
    """The registration with the carriers: ``legal_name``, ``ein``, ``att_class``."""
    carrier_budgets: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """By carrier: ``daily_segments`` and the ``other_vendors`` that share them."""
    updated_at: Mapped[datetime]
