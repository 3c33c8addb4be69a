"""The table of segments."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class Segment(Base):
    """A named filter for contacts. It is evaluated again each time it is used."""

    __tablename__ = "segment"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_segment_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    filter: Mapped[dict[str, Any]]
    """The rules as the client sent them; ``segments/parser.py`` defines their format."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
