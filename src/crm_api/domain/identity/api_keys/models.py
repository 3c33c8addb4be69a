"""The table of API keys, and the scopes that a key can have."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class Scope(StrEnum):
    """A permission of an API key or a user; ``admin`` includes every other scope."""

    CONTACTS_READ = "contacts:read"
    CONTACTS_WRITE = "contacts:write"
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    CAMPAIGNS_SEND = "campaigns:send"
    MESSAGES_READ = "messages:read"
    MESSAGES_SEND = "messages:send"
    SALES_READ = "sales:read"
    SALES_WRITE = "sales:write"
    INSIGHT_READ = "insight:read"
    INSIGHT_WRITE = "insight:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    OPERATIONS = "operations"
    ADMIN = "admin"


class KeyStatus(StrEnum):
    """The state of an API key. It is computed from ``revoked_at`` and ``expires_at``."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ApiKey(Base):
    """An API key. Only a SHA-256 hash of its text is stored, so the text cannot be shown again."""

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
    """The first characters of the key. With them, a user recognises the key in a list."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    created_at: Mapped[datetime]
    created_by: Mapped[str | None]
    """The name of the API key or user that created this key; None for the first key."""
    expires_at: Mapped[datetime | None]
    """When the key expires. From this time on, it is refused; None if it does not expire."""
    last_used_at: Mapped[datetime | None]
    """When the key was last used, accurate to the minute; None if it was never used."""
    replaces_id: Mapped[UUID | None]
    """The id of the older key that this key replaced in a rotation. The older key may be deleted,
    so the column is not a foreign key."""
    revoked_at: Mapped[datetime | None]

    def status(self, now: datetime) -> KeyStatus:
        """Return the status of the key at the time ``now``."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        is_expired = self.expires_at is not None and self.expires_at <= now
        return KeyStatus.EXPIRED if is_expired else KeyStatus.ACTIVE
