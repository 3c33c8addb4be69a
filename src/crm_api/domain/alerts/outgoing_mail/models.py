"""The table of mails that are waiting to be sent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class OutgoingMail(Base):
    """A mail to one person. It may contain a secret, so it is deleted from the table once sent."""

    __tablename__ = "outgoing_mail"
    __table_args__ = (Index("idx_outgoing_mail_due", "next_attempt_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    recipient: Mapped[str]
    subject: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    """The encrypted text. It may contain a token that gives access to an account."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    last_error: Mapped[str | None]
    expires_at: Mapped[datetime]
    """After this time the mail is useless, so it is deleted without being sent."""
    created_at: Mapped[datetime]
