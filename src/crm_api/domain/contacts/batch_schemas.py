"""Many contacts in one request, and what became of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from crm_api.domain.contacts.schemas import ContactCreate, ContactUpdate
from crm_api.domain.errors import CrmError, FieldProblem
from crm_api.domain.faults import faults_of
from crm_api.domain.fields import PhoneNumber
from crm_api.domain.schemas import Id, RequestModel

MOST_ITEMS = 500


class ContactUpsert(ContactUpdate):
    """A contact by its number: added, or changed as by PATCH when it is there."""

    phone: PhoneNumber


class CreateItem(RequestModel):
    """Add a contact, as by POST."""

    op: Literal["create"]
    contact: ContactCreate


class UpdateItem(RequestModel):
    """Change a contact, as by PATCH."""

    op: Literal["update"]
    id: Id
    contact: ContactUpdate


class UpsertItem(RequestModel):
    """Add a contact, or change the one with this number."""

    op: Literal["upsert"]
    contact: ContactUpsert


class DeleteItem(RequestModel):
    """Forget a person, as by DELETE."""

    op: Literal["delete"]
    id: Id


@dataclass(frozen=True)
class FaultyItem:
    """An item that the schema does not take; pointers begin at the item."""

    faults: list[FieldProblem]


Item = CreateItem | UpdateItem | UpsertItem | DeleteItem


def _keep_faults(value: Any, read: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - JSON in
    """Let a faulty item be told beside the others instead of refusing them all."""
    try:
        return read(value)
    except ValidationError as error:
        faults = []
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            # The errors of a union's member begin with its name.
            one["loc"] = ("op",) if one["type"].startswith("union_tag") else one["loc"][1:]
            faults.append(one)
        return FaultyItem(faults_of(faults))


BatchItem = Annotated[
    Annotated[Item, Field(discriminator="op")],
    WrapValidator(_keep_faults),
]


class BatchRequest(RequestModel):
    """What to do, item by item, in this order."""

    items: Annotated[list[BatchItem], Field(min_length=1, max_length=MOST_ITEMS)]


class Done(Enum):
    """What an item did."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True)
class Outcome:
    """What became of an item: done, with the contact's columns as they then were, or refused."""

    done: Done | None = None
    columns: Mapping[str, Any] | None = None
    flags: list[str] = field(default_factory=list)
    error: CrmError | None = None
