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
from crm_api.domain.kit.faults import faults_of
from crm_api.domain.kit.fields import PhoneNumber
from crm_api.domain.kit.schemas import Id, RequestModel
from crm_api.domain.people.contacts.schemas import ContactCreate, ContactUpdate

MOST_ITEMS = 500


class ContactUpsert(ContactUpdate):
    """A contact by its number: added, or changed as by PATCH if it exists."""

    phone: PhoneNumber


class CreateItem(RequestModel):
    """Add a contact, as by POST.

    Attributes:
        contact: The fields of the contact.
    """

    op: Literal["create"]
    contact: ContactCreate


class UpdateItem(RequestModel):
    """Change a contact, as by PATCH.

    Attributes:
        contact: The fields of the contact.
    """

    op: Literal["update"]
    id: Id
    contact: ContactUpdate


class UpsertItem(RequestModel):
    """Add a contact, or change the one with this number.

    Attributes:
        contact: The fields of the contact.
    """

    op: Literal["upsert"]
    contact: ContactUpsert


class DeleteItem(RequestModel):
    """Delete a contact, as by DELETE."""

    op: Literal["delete"]
    id: Id


@dataclass(frozen=True)
class FaultyItem:
    """An item that does not fit its schema; pointers begin at the item."""

    faults: list[FieldProblem]


Item = CreateItem | UpdateItem | UpsertItem | DeleteItem


def _keep_faults(value: Any, read: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - JSON
    """Return a faulty item as a result of its own instead of refusing the whole batch."""
    try:
        return read(value)
    except ValidationError as error:
        faults = []
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            # The location of an error in a union begins with the name of the member.
            one["loc"] = ("op",) if one["type"].startswith("union_tag") else one["loc"][1:]
            faults.append(one)
        return FaultyItem(faults_of(faults))


BatchItem = Annotated[
    Annotated[Item, Field(discriminator="op")],
    WrapValidator(_keep_faults),
]


class BatchRequest(DryRunRequest):
    """The items to apply, in this order.

    Attributes:
        items: The changes to make, in this order.
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
    """The effect of an item."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True)
class Outcome:
    """The result of an item: its effect and the contact's columns after it, or an error."""

    done: Done | None = None
    columns: Mapping[str, Any] | None = None
    flags: list[str] = field(default_factory=list)
    error: CrmError | None = None
