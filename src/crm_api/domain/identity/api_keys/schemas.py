"""API models of API keys."""

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
    Field(
        description="The key is refused from this time on. If null, the key does not expire. The "
        "time must be in the future."
    ),
]


class ApiKeyCreate(RequestModel):
    """The name, the scopes and the expiry of a new API key.

    Attributes:
        name: A name by which users recognise the key. It appears in the audit log.
        scopes: The scopes of the key; ``admin`` includes all other scopes. You can give only scopes
            that you have.
    """

    model_config = example(name="Website form", scopes=["contacts:read", "contacts:write"])

    name: Name200
    scopes: Annotated[list[str], Field(min_length=1, max_length=20)]
    expires_at: Expiry = None


class ApiKeyUpdate(RequestModel):
    """Changes to an API key; fields that are left out do not change.

    The scopes of a key cannot be changed. Create a new key instead.
    """

    model_config = example(name="Website form, new")

    name: Name200 = ""
    expires_at: Expiry = None


class ApiKeyRotate(RequestModel):
    """How long an API key stays valid after a new key has replaced it (a rotation)."""

    model_config = example(overlap_seconds=86400)

    overlap_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=LONGEST_OVERLAP_SECONDS,
            description="The number of seconds for which the old key stays valid after the "
            "rotation, so that both keys work; at most 30 days. The default is one day.",
        ),
    ] = 24 * 3600


class ApiKeyRead(ReadModel):
    """An API key without its secret text.

    Attributes:
        scopes: The scopes of the key; ``admin`` includes all other scopes.
        expires_at: The key is refused from this time on; null if it does not expire.
        revoked_at: When the key was revoked; null if it was not.
    """

    model_config = example(
        name="Website form", prefix="crm_7Kd2", created_by="olga@granite.example.com"
    )

    id: Id
    name: str
    prefix: Annotated[
        str,
        Field(description="The first characters of the key, by which a person can recognise it."),
    ]
    scopes: list[str]
    status: KeyStatus
    created_at: Instant
    created_by: Annotated[
        str | None,
        Field(
            description="The name of the API key or the e-mail address of the user that created "
            "this key; null for the first key."
        ),
    ]
    expires_at: Instant | None
    last_used_at: Annotated[
        Instant | None,
        Field(
            description="When the key was last used, accurate to the minute; null if it was never "
            "used."
        ),
    ]
    replaces_id: Annotated[
        Id | None,
        Field(description="The id of the older key that this key replaced in a rotation."),
    ]
    revoked_at: Instant | None

    @classmethod
    def of(cls, key: ApiKey, *, now: datetime) -> Self:
        """Build the API model from a stored key, with its status at the time ``now``."""
        return cls.built_from(key, status=key.status(now))


class ApiKeyCreated(ApiKeyRead):
    """A new API key with its secret text, which no other response contains."""

    model_config = example(ApiKeyRead, key="crm_7Kd2pX9QmVt4Rb6HsYw1ZcNf8JgLa3Ue5TiOk")

    key: Annotated[
        str,
        Field(
            description="The secret text of the key, for `Authorization: Bearer`. It is `crm_`, "
            "40 random letters and digits, and 6 checksum characters. Store it now: it cannot be "
            "read again."
        ),
    ]

    @classmethod
    def with_text(cls, key: ApiKey, text: str, *, now: datetime) -> Self:
        """Build the API model from a new key and its secret text."""
        return cls(**ApiKeyRead.of(key, now=now).model_dump(), key=text)
