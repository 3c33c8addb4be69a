"""Request and response models of lists."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.kit.dry_runs import DryRunRead, DryRunRequest
from crm_api.domain.kit.examples import CONTACT, example, example_id
from crm_api.domain.kit.fields import Name200
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.people.models.lists import ContactList

MOST_IDS = 1000
"""Largest number of contacts that one request may add."""


class ListCreate(RequestModel):
    """A new, empty list."""

    model_config = example(name="Owners in Quincy")

    name: Name200


class ListUpdate(RequestModel):
    """The fields of a list to change. A field that is left out keeps its value."""

    model_config = example(name="Owners in Quincy and Milton")

    name: Name200 = ""


class MembersAdd(DryRunRequest):
    """The contacts to add to the list."""

    model_config = example(contact_ids=[CONTACT, example_id("second_contact")])

    contact_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_IDS)]


@dataclass(frozen=True)
class CountedList:
    """A list, the number of contacts on it, and the number of contacts that a request added to it.

    The field ``added`` is 0 if the request did not add contacts.
    """

    contact_list: ContactList
    contact_count: int
    added: int = 0


class ListRead(ReadModel):
    """A list of contacts.

    Attributes:
        contact_count: The number of contacts on the list.
    """

    model_config = example(name="Owners in Quincy")

    id: Id
    name: str
    contact_count: int
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, found: CountedList) -> Self:
        """Build the response from a list."""
        return cls(
            id=found.contact_list.id,
            name=found.contact_list.name,
            contact_count=found.contact_count,
            created_at=found.contact_list.created_at,
            updated_at=found.contact_list.updated_at,
        )


class MembersAdded(ListRead, DryRunRead):
    """The list after contacts were added to it."""

    model_config = example(ListRead, token=None)

    @classmethod
    def after(cls, found: CountedList, *, named: int) -> Self:
        """Build the response to a request that added contacts to a list.

        Args:
            found: The list with the added contacts.
            named: The number of contact ids in the request.
        """
        return cls(
            **ListRead.of(found).model_dump(),
            counts={"added": found.added, "already_members": named - found.added},
        )
