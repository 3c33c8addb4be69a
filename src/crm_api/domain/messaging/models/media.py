"""Files of messages and calls: addresses to fetch, and stored files."""

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

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class MediaKind(StrEnum):
    """The kind of a file, as the provider names it."""

    PICTURE = "picture"
    RECORDING = "recording"
    VOICEMAIL = "voicemail"
    OTHER = "other"
    """A file of a message that the provider does not name a picture."""


class FetchStatus(StrEnum):
    """The state of a fetch."""

    PENDING = "pending"
    STORED = "stored"
    FAILED = "failed"
    """Will be tried again at ``next_attempt_at``."""
    DEAD = "dead"
    """All attempts failed; it waits for a person."""
    REFUSED = "refused"
    """Refused because of its address, size or type; another attempt would not help."""


WAITING = (FetchStatus.PENDING, FetchStatus.FAILED)


class Media(Base):
    """One stored file, by the hash of its content. The object is written before this row."""

    __tablename__ = "media"
    __table_args__ = (
        UniqueConstraint("sha256"),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    sha256: Mapped[str]
    """64 hexadecimal digits; also the name of the object in the store."""
    content_type: Mapped[str]
    """Detected from the first bytes, not taken from the sender."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class MediaFetch(Base):
    """One address of one message or call, stored in the transaction that applies its event.

    While a worker fetches, ``next_attempt_at`` is the end of its lease and ``attempts`` identifies
    the attempt: the result of an older attempt is not recorded.
    """

    __tablename__ = "media_fetch"
    __table_args__ = (
        CheckConstraint(one_of("kind", MediaKind), name="kind"),
        CheckConstraint(one_of("status", FetchStatus), name="status"),
        CheckConstraint("(status = 'stored') = (media_id IS NOT NULL)", name="media_id"),
        # On the hash, because an address may be longer than an index entry.
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
    """The message or call."""
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
