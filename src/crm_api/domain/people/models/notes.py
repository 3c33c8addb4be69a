"""The table of notes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ContactNote(Base):
    """A note about a contact. It is deleted when the contact is deleted or erased."""

    __tablename__ = "contact_note"
    __table_args__ = (Index("idx_contact_note_contact", "contact_id", "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    author: Mapped[str]
    """The API key or user that created the note. Editing the note does not change its author."""
    body: Mapped[str]
    is_pinned: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
