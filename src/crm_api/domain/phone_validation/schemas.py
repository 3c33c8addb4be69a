"""Runs of the validation as the API takes and shows them."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from crm_api.domain.phone_validation.models import RunStatus
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

MAX_CONTACT_IDS = 10_000


class PhoneValidationCreate(RequestModel):
    """Whose numbers to validate: exactly one of a list, or contacts by id."""

    list_id: UUID | None = None
    contact_ids: list[UUID] | None = Field(default=None, min_length=1, max_length=MAX_CONTACT_IDS)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.list_id is None) == (self.contact_ids is None):
            raise PydanticCustomError("one_source", "Give exactly one of list_id and contact_ids.")
        return self


class PhoneValidationRead(ReadModel):
    """A run and how far it is."""

    id: Id
    status: RunStatus
    list_id: Id | None
    total: Annotated[int, Field(description="People when it was asked for.")]
    checked: int
    looked_up: Annotated[int, Field(description="Answers of the paid service in this run.")]
    line_types: Annotated[
        dict[str, int], Field(description="How many of those checked are of each type.")
    ]
    last_error: Annotated[
        str | None, Field(description="Why it failed, or waits: a spent budget, a service away.")
    ]
    continues_at: Annotated[
        Instant | None, Field(description="When it goes on, while it waits for something.")
    ]
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
