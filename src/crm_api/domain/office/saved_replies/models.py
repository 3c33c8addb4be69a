"""The table of saved replies."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class SavedReply(Base):
    """A reply that users send often, with a name. It contains no data about people."""

    __tablename__ = "saved_reply"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_saved_reply_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    body: Mapped[str]
    """The text of the message, in Liquid."""
    following: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """The effects of using the reply: the fields of ``SavedReplyEffects`` that are not null."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
