"""The table of notices: what each user was or will be notified of."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.identity.preferences.notices import NoticeChannel, NoticeKind
from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class NoticeOutcome(StrEnum):
    """How a notice ended."""

    SENT = "sent"
    OBSOLETE = "obsolete"
    """It did not matter any more: read, answered, done, or nothing could show it."""
    FAILED = "failed"
    """The push services did not accept it in time."""


class Notice(Base):
    """A notice about one thing to one user by one channel; it is also the outbox.

    The unique key makes a notice come once. A row is deleted days after its end, when its subject
    is too old to be found again.
    """

    __tablename__ = "notice"
    __table_args__ = (
        CheckConstraint(one_of("channel", NoticeChannel), name="channel"),
        CheckConstraint(one_of("kind", NoticeKind), name="kind"),
        CheckConstraint(one_of("outcome", NoticeOutcome), name="outcome"),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="ended"),
        UniqueConstraint(
            "user_id", "channel", "kind", "subject_id", "about", name="uq_notice_subject"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    channel: Mapped[str]
    kind: Mapped[str]
    subject_id: Mapped[UUID]
    """The conversation, the note or the task."""
    about: Mapped[datetime]
    """The instant of the message or note, or when the task is due."""
    batch: Mapped[UUID | None]
    """The pushes that were claimed together; a repeated push has the same topic."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    claimed_until: Mapped[datetime | None]
    """Until when a worker sends the push, or waits to send it again."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    created_at: Mapped[datetime]
