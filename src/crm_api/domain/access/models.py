"""API keys, hashed at rest."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.ids import new_id


class Scope(StrEnum):
    """What a key may do; ``admin`` is all."""

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


class ApiKey(Base):
    """A key; only the SHA-256 of its text is kept, which is enough for a random key."""

    __tablename__ = "api_key"
    __table_args__ = (
        UniqueConstraint("key_hash"),
        Index("idx_api_key_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)
    prefix: Mapped[str]
    """The first characters, to recognise a key in a list."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
