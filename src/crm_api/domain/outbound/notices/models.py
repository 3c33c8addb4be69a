"""The table of notices that users get, have got, or no longer need."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.identity.preferences.notices import NoticeChannel, NoticeKind
from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class NoticeOutcome(StrEnum):
    """How a notice ended."""

    SENT = "sent"
    OBSOLETE = "obsolete"
    """The notice was no longer needed: the message or note was read, the message was answered, the
    task was done, or the user has no device."""
    FAILED = "failed"
    """The push services did not accept the push in time."""


class Notice(Base):
    """A notice to one user by mail or web push, about a conversation, a note or a due task.

    By each channel (mail or web push), a user gets at most one notice about the same message or
    note. A task causes one notice by each channel, and one more if its due time changes.
    ``outcome`` is None until the notice has ended. Rows are deleted a week after creation.
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
    """The id of the push that contains this notice. It is the topic of the push in each attempt."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    claimed_until: Mapped[datetime | None]
    """Until this time, a worker sends the push, or the push waits for its next attempt."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    created_at: Mapped[datetime]
