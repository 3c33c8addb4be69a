"""Saved texts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.ids import new_id


class MessageTemplate(Base):
    """A text with a name; a campaign copies it, so that a later change leaves campaigns alone."""

    __tablename__ = "message_template"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_message_template_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    body: Mapped[str]
    """Liquid."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
