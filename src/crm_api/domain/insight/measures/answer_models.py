"""The tables of stored answers of users: how long the person waited for each answer."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.insight.measures.placed_models import Placed
from crm_api.platform.database import Base

ANSWERS_UNTIL = (
    "coalesce((SELECT u.until FROM insight_answer_until u), CAST('1900-01-01Z' AS timestamptz))"
)
"""SQL: the instant before which all answers are stored."""


class InsightAnswer(Placed, Base):
    """An answer of a user to a person, and how long the person had waited for it.

    Only the job ``settle_answers`` writes this table. It has all answers that were sent before
    ``InsightAnswerUntil.until``. ``InsightAnswerChange`` lists the conversations that changed after
    the job last ran, so their answers here may be out of date.
    """

    __tablename__ = "insight_answer"
    __table_args__ = (
        Index(
            "idx_insight_answer_at",
            "at",
            postgresql_include=["waited", "contact_id", "conversation_id"],
        ),
        Index("idx_insight_answer_conversation", "conversation_id"),
        Index(
            "idx_insight_answer_zip",
            "zip",
            "waited",
            postgresql_include=["at", "conversation_id"],
            postgresql_where=text("is_placed"),
        ),
        Index("idx_insight_answer_contact", "contact_id"),
        Index("idx_insight_answer_unplaced", "id", postgresql_where=text("NOT is_placed")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the message in ``activity``."""
    conversation_id: Mapped[UUID]
    contact_id: Mapped[UUID | None]
    at: Mapped[datetime]
    """When the answer was sent."""
    waited: Mapped[int] = mapped_column(BigInteger)
    """Microseconds from the person's first unanswered message to the answer."""


class InsightAnswerChange(Base):
    """A conversation in which a message changed when the message was more than an hour old.

    Row triggers append it (``migrations/objects/note_late_answer.sql``).
    """

    __tablename__ = "insight_answer_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    conversation_id: Mapped[UUID]
    at: Mapped[datetime]
    """When the message was sent or received. Answers before this instant are not affected."""


class InsightAnswerUntil(Base):
    """The instant before which ``InsightAnswer`` has all answers. The table has at most one row."""

    __tablename__ = "insight_answer_until"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    until: Mapped[datetime]
