"""API keys, hashed at rest."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class Scope(StrEnum):
    """What a key may do; ``admin`` includes everything."""

    CONTACTS_READ = "contacts:read"
    CONTACTS_WRITE = "contacts:write"
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    CAMPAIGNS_SEND = "campaigns:send"
    MESSAGES_READ = "messages:read"
    MESSAGES_SEND = "messages:send"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    OPERATIONS = "operations"
    ADMIN = "admin"


class KeyStatus(StrEnum):
    """The state of a key, derived from its times; it is not stored."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ApiKey(Base):
    """An API key; only the SHA-256 of its text is stored, which is enough for a random key."""

    __tablename__ = "api_key"
    __table_args__ = (
        UniqueConstraint("key_hash"),
        UniqueConstraint("replaces_id"),
        Index("idx_api_key_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)
    prefix: Mapped[str]
    """The first characters, to recognise a key in a list."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    created_at: Mapped[datetime]
    created_by: Mapped[str | None]
    """The key or user that created it; None for the first key."""
    expires_at: Mapped[datetime | None]
    """From this time on the key is refused; None: it does not expire."""
    last_used_at: Mapped[datetime | None]
    """Accurate to the minute."""
    replaces_id: Mapped[UUID | None]
    """The key that this one replaced in a rotation; information only, so not a foreign key."""
    revoked_at: Mapped[datetime | None]

    def status(self, now: datetime) -> KeyStatus:
        """Return the status at this instant."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        is_expired = self.expires_at is not None and self.expires_at <= now
        return KeyStatus.EXPIRED if is_expired else KeyStatus.ACTIVE
