"""The table of calendar feeds."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class CalendarFeed(Base):
    """A secret address under which calendar programs read appointments without signing in.

    Only a SHA-256 hash of the token in the address is stored. The row of a deleted feed stays: its
    address answers with status 410, so that calendar programs stop their requests.
    """

    __tablename__ = "calendar_feed"
    __table_args__ = (
        UniqueConstraint("token_hash"),
        Index("idx_calendar_feed_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    """The user whose appointments the feed shows. None: the feed shows those of all users."""
    busy_only: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the feed shows only that somebody is busy."""
    author: Mapped[str]
    """The API key or user that created the feed."""
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
