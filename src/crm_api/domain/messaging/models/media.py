"""The tables of media: stored files of messages and calls, and the fetches that download them."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class MediaKind(StrEnum):
    """The kind of a media file, as the provider reports it."""

    PICTURE = "picture"
    RECORDING = "recording"
    VOICEMAIL = "voicemail"
    OTHER = "other"
    """A file of a message for which the provider does not report an image type."""


class FetchStatus(StrEnum):
    """The state of a fetch, that is, of the download of one file from the provider.

    Attributes:
        PENDING: No attempt has ended yet.
        STORED: The file was downloaded and stored.
        FAILED: The last attempt failed. The next attempt begins at `next_attempt_at`.
        DEAD: All attempts failed. Only a user starts the fetch again.
        REFUSED: The URL, the size or the type of the file is not allowed. There is no further
            attempt.
    """

    PENDING = "pending"
    STORED = "stored"
    FAILED = "failed"
    DEAD = "dead"
    REFUSED = "refused"


WAITING = (FetchStatus.PENDING, FetchStatus.FAILED)


class Media(Base):
    """A file in the media store, identified by the hash of its content.

    The file is written to the store before this row is written.
    """

    __tablename__ = "media"
    __table_args__ = (
        UniqueConstraint("sha256"),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    sha256: Mapped[str]
    """The SHA-256 of the content, as 64 hexadecimal digits; also the file's name in the store."""
    content_type: Mapped[str]
    """The media type, detected from the first bytes of the file and not taken from the sender."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class MediaUpload(Base):
    """A file that a user uploaded, to send it with a message; see ``media/uploads.py``."""

    __tablename__ = "media_upload"

    media_id: Mapped[UUID] = mapped_column(
        ForeignKey("media.id", ondelete="CASCADE"), primary_key=True
    )
    uploaded_by_id: Mapped[UUID]
    """The user or API key that uploaded the file last."""
    uploaded_at: Mapped[datetime]


class MediaFetch(Base):
    """The download of one file of a message or call.

    During a download, ``next_attempt_at`` is the end of the worker's lease, and ``attempts``
    includes the current attempt. The worker stores its result only if ``attempts`` has not changed.

    A file that a user sent also has a row. Its status is ``stored``, and its URL is its path in
    this API.
    """

    __tablename__ = "media_fetch"
    __table_args__ = (
        CheckConstraint(one_of("kind", MediaKind), name="kind"),
        CheckConstraint(one_of("status", FetchStatus), name="status"),
        CheckConstraint("(status = 'stored') = (media_id IS NOT NULL)", name="media_id"),
        # The index contains the hash of the URL, because a URL may be too long for an index entry.
        Index("uq_media_fetch_activity_id_url", "activity_id", text("md5(url)"), unique=True),
        Index(
            "idx_media_fetch_due",
            "next_attempt_at",
            "id",
            postgresql_where=text(one_of("status", WAITING)),
        ),
        Index("idx_media_fetch_created", "created_at", "id"),
        Index(
            "idx_media_fetch_media",
            "media_id",
            postgresql_where=text("media_id IS NOT NULL"),
        ),
        Index("idx_media_fetch_status", "status", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    activity_id: Mapped[UUID]
    """The message or call that the file belongs to."""
    kind: Mapped[str]
    url: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    error_code: Mapped[str | None]
    last_error: Mapped[str | None]
    media_id: Mapped[UUID | None] = mapped_column(ForeignKey("media.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
