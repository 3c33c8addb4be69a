"""The events of a stream as a client reads them."""

from typing import Any

from pydantic import Field

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.schemas import Id, Instant, ReadModel


class EventRead(ReadModel):
    """One event of an event stream.

    Attributes:
        type: The type of the event.
        timestamp: When the event happened.
        subject_id: The id of the message, call, conversation, campaign, import, contact, alert,
            task or appointment that the event is about, depending on the type.
        data: Ids and states, depending on the type. Only `message.received` also has `phone`,
            `contact` and `body_preview`, if you have the scope `messages:read`.
    """

    type: EventType
    timestamp: Instant
    subject_id: Id | None
    campaign_id: Id | None = Field(
        description="The id of the campaign to which the event belongs; null if none."
    )
    data: dict[str, Any]
