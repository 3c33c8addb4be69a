"""Schemas of the provider's stop list, in and out."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.messaging.models.provider_stops import ProviderStopStatus

NoteText = Annotated[str, Text(shortest=1, longest=1000, has_lines=True)]


class ProviderStopResolve(RequestModel):
    """The reason to end an entry."""

    model_config = example(note="The person texted START.")

    note: NoteText | None = Field(
        default=None,
        description="Why the provider sends to the number again, for example because the person "
        "sent START.",
    )


class ProviderStopRead(ReadModel):
    """A number that the provider refused because the person opted out there."""

    model_config = example(
        error_code="21610",
        failures=1,
        first_failed_at="2026-11-20T15:04:11.000Z",
        last_failed_at="2026-11-20T15:04:11.000Z",
    )

    id: Id
    phone: str = Field(description="The number, in E.164.")
    contact_id: Id | None = Field(description="The contact with the number; null for none.")
    status: ProviderStopStatus = Field(
        description="`open`: the provider refuses the number, but it is not opted out here. "
        "`agreed`: it is opted out here too. `recovered`: a later message was delivered. "
        "`resolved`: a person ended the entry."
    )
    line_id: Id = Field(description="The line of the last message that was refused.")
    message_id: Id = Field(description="The last message that was refused.")
    error_code: str = Field(description="The provider's code of that refusal.")
    failures: int = Field(description="How many messages were refused.")
    first_failed_at: Instant = Field(description="When the first message was refused.")
    last_failed_at: Instant = Field(description="When the last message was refused.")
    created_at: Instant = Field(description="When the entry was created.")
    resolved_at: Instant | None = Field(description="When a person ended the entry.")
    resolved_by: str | None = Field(description="Who ended the entry.")
    note: str | None = Field(description="Why the entry was ended.")
