"""API keys in and out."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel


class ApiKeyCreate(RequestModel):
    """A new key."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=20)]


class ApiKeyRead(ReadModel):
    """A key without its text."""

    id: Id
    name: str
    prefix: str
    scopes: list[str]
    created_at: Instant


class ApiKeyCreated(ApiKeyRead):
    """A new key with its text, shown only this once."""

    key: str
