"""The table of notes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.ids import new_id


class ContactNote(Base):
    """One note on one person; it goes with the person's erasure."""

    __tablename__ = "contact_note"
    __table_args__ = (Index("idx_contact_note_contact", "contact_id", "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    author: Mapped[str]
    """Who wrote it, by the name of the key; an edit leaves it."""
    body: Mapped[str]
    is_pinned: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
