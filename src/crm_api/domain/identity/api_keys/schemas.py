"""Request and answer models of API keys."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.identity.api_keys.models import ApiKey, KeyStatus
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Name200, RequestInstant
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel

LONGEST_OVERLAP_SECONDS = 30 * 24 * 3600

Expiry = Annotated[
    RequestInstant | None,
    Field(description="From this time on the key is refused; null: it does not expire."),
]


class ApiKeyCreate(RequestModel):
    """A new key.

    Attributes:
        scopes: The scopes; ``admin`` includes all.
    """

    model_config = example(name="Website form", scopes=["contacts:read", "contacts:write"])

    name: Name200
    scopes: Annotated[list[str], Field(min_length=1, max_length=20)]
    expires_at: Expiry = None


class ApiKeyUpdate(RequestModel):
    """Changes to a key; omitted fields stay. Scopes cannot be changed: create another key."""

    model_config = example(name="Website form, new")

    name: Name200 = ""
    expires_at: Expiry = None


class ApiKeyRotate(RequestModel):
    """How a key is replaced."""

    model_config = example(overlap_seconds=86400)

    overlap_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=LONGEST_OVERLAP_SECONDS,
            description="How long the old key stays valid beside the new one; at most 30 days.",
        ),
    ] = 24 * 3600


class ApiKeyRead(ReadModel):
    """A key without its text.

    Attributes:
        scopes: The scopes; ``admin`` includes all.
        revoked_at: When the key was revoked; null while it is valid.
    """

    model_config = example(
        name="Website form", prefix="crm_7Kd2", created_by="olga@granite.example.com"
    )

    id: Id
    name: str
    prefix: Annotated[str, Field(description="The first characters, to recognise the key.")]
    scopes: list[str]
    status: KeyStatus
    created_at: Instant
    created_by: Annotated[
        str | None, Field(description="The key or user that created it; null for the first key.")
    ]
    expires_at: Instant | None
    last_used_at: Annotated[Instant | None, Field(description="Accurate to the minute.")]
    replaces_id: Annotated[
        Id | None, Field(description="The key that this one replaced in a rotation.")
    ]
    revoked_at: Instant | None

    @classmethod
    def of(cls, key: ApiKey, *, now: datetime) -> Self:
        """Shape a key with its status at this instant."""
        names = cls.model_fields.keys() - {"status"}
        values = {name: getattr(key, name) for name in names}
        return cls(status=key.status(now), **values)


class ApiKeyCreated(ApiKeyRead):
    """A new key with its text, which is shown only this once."""

    model_config = example(ApiKeyRead, key="crm_7Kd2pX9QmVt4Rb6HsYw1ZcNf8JgLa3Ue5TiOk")

    key: Annotated[
        str, Field(description="`crm_`, 40 random letters and digits, 6 checksum characters.")
    ]

    @classmethod
    def with_text(cls, key: ApiKey, text: str, *, now: datetime) -> Self:
        """Shape a new key with its text."""
        return cls(**ApiKeyRead.of(key, now=now).model_dump(), key=text)
