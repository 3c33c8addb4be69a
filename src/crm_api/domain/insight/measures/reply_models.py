"""The tables of stored replies: how long after the first message of a campaign a person replied."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.insight.measures.placed_models import Placed
from crm_api.platform.database import Base

REPLIES_UNTIL = (
    "coalesce((SELECT u.until FROM insight_reply_until u), CAST('1900-01-01Z' AS timestamptz))"
)
"""SQL: the instant before which the replies to all messages are stored."""


class InsightReply(Placed, Base):
    """A first message of a campaign to which the person replied, and the time until the reply.

    Only the job ``settle_replies`` writes this table. The table contains messages that were sent
    before ``InsightReplyUntil.until``, as they were when the job last ran. ``InsightReplyChange``
    lists the messages that changed since then.
    """

    __tablename__ = "insight_reply"
    __table_args__ = (
        Index(
            "idx_insight_reply_zip",
            "zip",
            "waited",
            postgresql_include=["at", "id"],
            postgresql_where=text("is_placed"),
        ),
        Index("idx_insight_reply_contact", "contact_id"),
        Index("idx_insight_reply_unplaced", "id", postgresql_where=text("NOT is_placed")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the message in ``campaign_membership``."""
    contact_id: Mapped[UUID]
    at: Mapped[datetime]
    """When the message was sent."""
    waited: Mapped[int] = mapped_column(BigInteger)
    """Microseconds from the message to the reply."""


class InsightReplyChange(Base):
    """A message whose data or reply changed when the message was more than 73 hours old.

    Row triggers append it (``migrations/objects/note_late_reply.sql``).
    """

    __tablename__ = "insight_reply_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    membership_id: Mapped[UUID]


class InsightReplyUntil(Base):
    """The instant before which ``InsightReply`` has all messages. The table has at most one row."""

    __tablename__ = "insight_reply_until"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    until: Mapped[datetime]
