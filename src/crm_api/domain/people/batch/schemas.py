"""Request models of a batch, and the result of each item."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from crm_api.domain.kit.dry_runs import DryRunRequest
from crm_api.domain.kit.errors import CrmError, FieldProblem
from crm_api.domain.kit.examples import example, example_id
from crm_api.domain.kit.fields import PhoneNumber
from crm_api.domain.kit.schemas import Id, RequestModel
from crm_api.domain.kit.validation_errors import faults_of
from crm_api.domain.people.contacts.schemas import ContactCreate, ContactUpdate

MOST_ITEMS = 500


class ContactUpsert(ContactUpdate):
    """A phone number, and fields for the contact with this number.

    If a contact has the number, its fields are changed as with ``PATCH``. Otherwise a contact with
    this number and these fields is added.
    """

    phone: PhoneNumber


class CreateItem(RequestModel):
    """An item that adds a contact, like ``POST /v1/contacts``.

    Attributes:
        contact: The fields of the new contact.
    """

    op: Literal["create"]
    contact: ContactCreate


class UpdateItem(RequestModel):
    """An item that changes a contact, like ``PATCH /v1/contacts/{contact_id}``.

    Attributes:
        id: The id of the contact to change.
        contact: The fields to change.
    """

    op: Literal["update"]
    id: Id
    contact: ContactUpdate


class UpsertItem(RequestModel):
    """An item that changes the contact with the given phone number, or adds this contact.

    Attributes:
        contact: The number and the fields of the contact.
    """

    op: Literal["upsert"]
    contact: ContactUpsert


class DeleteItem(RequestModel):
    """An item that deletes a contact, like ``DELETE /v1/contacts/{contact_id}``.

    Attributes:
        id: The id of the contact to delete.
    """

    op: Literal["delete"]
    id: Id


@dataclass(frozen=True)
class FaultyItem:
    """An item that does not fit its schema.

    Attributes:
        faults: What is wrong, and where. The location is a JSON pointer that begins at the item,
            such as ``/contact/phone``.
    """

    faults: list[FieldProblem]


Item = CreateItem | UpdateItem | UpsertItem | DeleteItem


def _catch_faults(value: Any, read: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - JSON
    """Parse an item of a batch.

    If the item has faults, return a ``FaultyItem``, so that only this item is refused.
    """
    try:
        return read(value)
    except ValidationError as error:
        faults = []
        for one in error.errors(include_url=False):
            # The items of a batch are a union type. The location of a validation error therefore
            # begins with the name of a member of the union. Remove this name.
            one["loc"] = ("op",) if one["type"].startswith("union_tag") else one["loc"][1:]
            faults.append(one)
        return FaultyItem(faults_of(faults, value=value, model=Item))


BatchItem = Annotated[
    Annotated[Item, Field(discriminator="op")],
    WrapValidator(_catch_faults),
]


class BatchRequest(DryRunRequest):
    """A batch of changes to contacts.

    Attributes:
        items: The changes, which are made in this order.
    """

    model_config = example(
        items=[
            {
                "op": "upsert",
                "contact": {
                    "phone": "(617) 555-0123",
                    "first_name": "Ada",
                    "last_name": "Rossi",
                    "email": "ada.rossi@example.com",
                    "address": {"street": "12 Main Street", "city": "Quincy", "state": "MA"},
                    "tags": ["homeowner"],
                    "attributes": {"year_built": 1928},
                },
            },
            {
                "op": "update",
                "id": example_id("second_contact"),
                "contact": {"tags": ["homeowner", "vip"]},
            },
            {"op": "delete", "id": example_id("third_contact")},
        ]
    )

    items: Annotated[list[BatchItem], Field(min_length=1, max_length=MOST_ITEMS)]


class Done(Enum):
    """What was done with the contact of an item."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True)
class Outcome:
    """The result of one item of a batch.

    Attributes:
        done: What was done with the contact; None after an error.
        columns: The contact's values after this item, by column; None after an error or a deletion.
        flags: The flags of the contact's phone number.
        error: Why the item changed nothing; None if the item succeeded.
    """

    done: Done | None = None
    columns: Mapping[str, Any] | None = None
    flags: list[str] = field(default_factory=list)
    error: CrmError | None = None
