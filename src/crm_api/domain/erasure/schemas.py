"""Erasures in and out."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.fields import Name200
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel


class EraseRequest(RequestModel):
    """Why a person is erased."""

    reason: Annotated[Name200, Field(description="It is kept, so do not name the person in it.")]


class ErasureRead(ReadModel):
    """One erasure; ``completed`` when nothing in the ledgers names the person any more."""

    id: Id
    contact_id: Id
    reason: str
    actor: str
    status: str
    created_at: Instant
    finished_at: Instant | None
