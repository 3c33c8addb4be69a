"""Request and response schemas of the provider's stop list."""

from typing import Annotated

from pydantic import Field

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.messaging.models.number_failures import ProviderStopStatus

NoteText = Annotated[str, Text(shortest=1, longest=1000, has_lines=True)]


class ProviderStopResolve(RequestModel):
    """Why an entry of the provider's stop list is resolved."""

    model_config = example(note="The person texted START.")

    note: NoteText | None = Field(
        default=None,
        description="Why the provider sends to the number again, for example because the person "
        "sent START.",
    )


class ProviderStopRead(ReadModel):
    """A number to which the provider refuses to send, because the person opted out at the provider.

    The provider's API does not list these numbers. This service creates an entry when the provider
    refuses a message for that reason.
    """

    model_config = example(
        error_code="21610",
        failures=1,
        first_failed_at="2026-11-20T15:04:11.000Z",
        last_failed_at="2026-11-20T15:04:11.000Z",
    )

    id: Id
    phone: str = Field(description="The phone number that the provider refuses, in E.164.")
    contact_id: Id | None = Field(
        description="The contact with this phone number; null if there is none."
    )
    status: ProviderStopStatus = Field(
        description="`open`: the provider refuses the number, but the number is not opted out in "
        "this service. `agreed`: the number is opted out in this service too. `recovered`: a later "
        "message to the number was delivered. `resolved`: a user resolved the entry."
    )
    line_id: Id = Field(description="The line of the last message that the provider refused.")
    message_id: Id = Field(description="The last message that the provider refused.")
    error_code: str = Field(
        description="The provider's error code for the last message that it refused."
    )
    failures: int = Field(
        description="How many messages to this phone number the provider refused."
    )
    first_failed_at: Instant = Field(
        description="When the provider refused the first message to this phone number."
    )
    last_failed_at: Instant = Field(
        description="When the provider refused the last message to this phone number."
    )
    created_at: Instant = Field(description="When this service created the entry.")
    resolved_at: Instant | None = Field(
        description="When a user resolved the entry; null if no user has resolved it."
    )
    resolved_by: str | None = Field(
        description="The name of the user or API key that resolved the entry; null if unresolved."
    )
    note: str | None = Field(description="Why the entry was resolved; null if no reason was given.")
