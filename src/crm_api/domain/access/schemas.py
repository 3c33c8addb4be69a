"""API keys in and out."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.access.models import ApiKey, KeyStatus
from crm_api.domain.fields import Name200, RequestInstant
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

LONGEST_OVERLAP_SECONDS = 30 * 24 * 3600

Expiry = Annotated[
    RequestInstant | None, Field(description="From then on the key is refused; null never.")
]


class ApiKeyCreate(RequestModel):
    """A new key."""

    name: Name200
    scopes: Annotated[list[str], Field(min_length=1, max_length=20)]
    expires_at: Expiry = None


class ApiKeyUpdate(RequestModel):
    """What changes of a key; a field left out stays. Its scopes never change: make another key."""

    name: Name200 = ""
    expires_at: Expiry = None


class ApiKeyRotate(RequestModel):
    """How a key is replaced."""

    overlap_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=LONGEST_OVERLAP_SECONDS,
            description="How long the old key stays good beside the new one; at most 30 days.",
        ),
    ] = 24 * 3600


class ApiKeyRead(ReadModel):
    """A key without its text."""

    id: Id
    name: str
    prefix: Annotated[str, Field(description="Its first characters, to tell it from others.")]
    scopes: list[str]
    status: KeyStatus
    created_at: Instant
    created_by: Annotated[
        str | None, Field(description="The key or user that made it; null for the first one.")
    ]
    expires_at: Instant | None
    last_used_at: Annotated[Instant | None, Field(description="To the minute.")]
    replaces_id: Annotated[Id | None, Field(description="The key that it was rotated from.")]
    revoked_at: Instant | None

    @classmethod
    def of(cls, key: ApiKey, *, now: datetime) -> Self:
        """Show a key as it is at this instant."""
        names = cls.model_fields.keys() - {"status"}
        values = {name: getattr(key, name) for name in names}
        return cls(status=key.status(now), **values)


class ApiKeyCreated(ApiKeyRead):
    """A new key with its text, shown only this once."""

    key: Annotated[str, Field(description="`crm_`, 40 random letters and digits, 6 of a checksum.")]

    @classmethod
    def with_text(cls, key: ApiKey, text: str, *, now: datetime) -> Self:
        """Show a new key with its text."""
        return cls(**ApiKeyRead.of(key, now=now).model_dump(), key=text)
