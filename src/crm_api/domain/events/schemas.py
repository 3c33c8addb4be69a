"""Events as they are told."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from crm_api.domain.schemas import Id, Instant, ReadModel


class EventType(StrEnum):
    """What can happen."""

    MESSAGE_RECEIVED = "message.received"
    """Somebody texted a line."""
    MESSAGE_STATUS = "message.status"
    """A text to somebody is new here, or came further."""
    CALL_STATUS = "call.status"
    """A call began, or came further."""
    CAMPAIGN_STATUS = "campaign.status"
    CAMPAIGN_COUNTERS = "campaign.counters"
    """Its counts changed; told once a second at most, and not kept."""
    IMPORT_PROGRESS = "import.progress"
    CONTACT_CREATED = "contact.created"
    """One by one; what an import adds is told by its progress."""
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    ALERT = "alert"
    """It came up, was acknowledged, or is over."""


class EventRead(ReadModel):
    """The data of an event of a stream.

    Attributes:
        subject_id: What it is about, by the type: the message, call, campaign, import,
            contact or alert.
        data: By the type; ids and states, never a number or a text.
    """

    type: EventType
    timestamp: Instant
    subject_id: Id | None
    campaign_id: Id | None = Field(description="The campaign that it belongs to.")
    data: dict[str, Any]
