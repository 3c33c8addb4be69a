"""Request and response models of validation runs."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.kit.examples import LIST, example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.people.models.phone_validation import RunStatus

MAX_CONTACT_IDS = 10_000


class PhoneValidationCreate(RequestModel):
    """The contacts whose phone numbers are validated. Give either a list id, or contact ids.

    Attributes:
        list_id: The id of a list: validate the numbers of all contacts on it.
        contact_ids: The ids of the contacts whose numbers are validated.
    """

    model_config = example(list_id=LIST)

    list_id: UUID | None = None
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_CONTACT_IDS)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.list_id is None) == (self.contact_ids is None):
            raise PydanticCustomError(
                "one_source", "Give exactly one of `list_id` and `contact_ids`."
            )
        return self


class PhoneValidationRead(ReadModel):
    """The progress of a validation run. Such a run finds the line types of phone numbers.

    Attributes:
        list_id: The id of the list whose contacts are validated; null if ids were given.
        checked: The number of contacts that were checked so far.
    """

    model_config = example(
        status="completed",
        total=240,
        checked=240,
        looked_up=12,
        line_types={"mobile": 221, "landline": 17, "voip": 2},
    )

    id: Id
    status: RunStatus
    list_id: Id | None
    total: Annotated[
        int,
        Field(description="The number of contacts to check, counted when the run was requested."),
    ]
    checked: int
    looked_up: Annotated[
        int,
        Field(description="The number of results that the paid service returned in this run."),
    ]
    line_types: Annotated[
        dict[str, int], Field(description="The number of checked contacts with each line type.")
    ]
    last_error: Annotated[
        str | None,
        Field(
            description="Why the run failed or waits, such as a used-up look-up budget; null if "
            "the run has not failed and does not wait."
        ),
    ]
    continues_at: Annotated[
        Instant | None, Field(description="When a waiting run continues; null if it does not wait.")
    ]
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
