"""Lists in and out."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.fields import Name200
from crm_api.domain.lists.models import ContactList
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

MOST_IDS = 1000
"""Contacts that one request may add."""


class ListCreate(RequestModel):
    """A new, empty list."""

    name: Name200


class ListUpdate(RequestModel):
    """What changes; a field left out stays."""

    name: Name200 = ""


class MembersAdd(RequestModel):
    """Who is put on the list."""

    contact_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_IDS)]


@dataclass(frozen=True)
class CountedList:
    """A list and how many contacts are on it."""

    contact_list: ContactList
    contact_count: int


class ListRead(ReadModel):
    """A list and how many contacts are on it."""

    id: Id
    name: str
    contact_count: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: CountedList) -> Self:
        """Shape a list."""
        return cls(
            id=found.contact_list.id,
            name=found.contact_list.name,
            contact_count=found.contact_count,
            created_at=found.contact_list.created_at,
            updated_at=found.contact_list.updated_at,
        )
