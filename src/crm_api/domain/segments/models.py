"""The table of segments."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.ids import new_id


class Segment(Base):
    """A named tree of rules; who fits it is asked anew each time."""

    __tablename__ = "segment"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_segment_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    filter: Mapped[dict[str, Any]]
    """As it was given; ``reading.py`` says what it may hold."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
