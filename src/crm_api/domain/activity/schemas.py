"""Conversations, messages and calls, in and out."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, StringConstraints

from crm_api.domain.activity.models import Activity
from crm_api.domain.fields import PhoneNumber, refuse_nul
from crm_api.domain.media.queries import ShownFetch
from crm_api.domain.media.schemas import show, show_call
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

LONGEST_TEXT = 1600
"""Characters; the provider takes no more (OpenPhone API reference, read 2026-11-24)."""


class ReplyCreate(RequestModel):
    """A text that a person writes."""

    line_id: Id
    to: PhoneNumber
    body: Annotated[
        str,
        StringConstraints(min_length=1, max_length=LONGEST_TEXT, strip_whitespace=True),
        AfterValidator(refuse_nul),
    ]


class ConversationRead(ReadModel):
    """Everything between one own line and one outside number.

    Attributes:
        last_outgoing_at: The newest text that the provider accepted, or call to the person.
        last_incoming_at: The newest text from the person.
    """

    id: Id
    line_id: Id
    phone: str
    contact_id: Id | None
    last_activity_at: Instant
    last_outgoing_at: Instant | None
    last_incoming_at: Instant | None
    created_at: Instant


class MessageRead(ReadModel):
    """One text.

    Attributes:
        phone: The outside party.
        campaign_id: The campaign that sent it, or that it answers.
        media: ``[{"url", "type", "media_id", "status", "content_type", "size_bytes", "error_code",
            "error"}]``; ``media_id`` once the file is stored, for ``GET /v1/media/{id}``.
        participants: Of a group conversation, all outside parties; else empty.
    """

    id: Id
    conversation_id: Id | None
    line_id: Id | None
    contact_id: Id | None
    campaign_id: Id | None
    direction: str | None
    origin: str
    phone: str | None
    body: str | None
    media: list[dict[str, Any]]
    participants: list[str]
    status: str
    error_code: str | None
    provider_message_id: str | None
    occurred_at: Instant
    created_at: Instant

    @classmethod
    def of(cls, activity: Activity, files: Sequence[ShownFetch] = ()) -> Self:
        """Build it from a row of the timeline and what is known of its files."""
        return cls.model_validate(
            {
                **_common(activity),
                "campaign_id": activity.campaign_id,
                "origin": activity.origin,
                "body": activity.body,
                "media": show(activity.media, files),
                "participants": activity.call.get("participants", []),
                "error_code": activity.error_code,
                "provider_message_id": activity.openphone_id,
            }
        )


class CallRead(ReadModel):
    """One call; what is not known (yet) is null or empty.

    Attributes:
        phone: The outside party.
        recording: The first of ``recordings``.
        recordings: As the provider tells of them, and as a message's ``media`` has it.
        voicemail: The same.
        summary: ``{"text": [], "next_steps": []}``.
        transcript: What was said, in order: ``[{"content", "start", "end", …}]``.
    """

    id: Id
    conversation_id: Id | None
    line_id: Id | None
    contact_id: Id | None
    direction: str | None
    phone: str | None
    status: str
    is_missed: bool
    duration_seconds: float | None
    answered_at: Instant | None
    completed_at: Instant | None
    forwarded_from: str | None
    forwarded_to: str | None
    menu: list[dict[str, Any]]
    recording: dict[str, Any] | None
    recordings: list[dict[str, Any]]
    voicemail: dict[str, Any] | None
    summary: dict[str, Any] | None
    transcript: list[dict[str, Any]] | None
    provider_call_id: str | None
    occurred_at: Instant
    created_at: Instant

    @classmethod
    def of(cls, activity: Activity, files: Sequence[ShownFetch] = ()) -> Self:
        """Build it from a row of the timeline and what is known of its files."""
        known = show_call(activity.call, files)
        recordings = known.get("recordings", [])
        return cls.model_validate(
            {
                **_common(activity),
                **{name: known.get(name) for name in _TOLD_OF_A_CALL},
                "is_missed": known.get("is_missed", False),
                "menu": known.get("menu", []),
                "recording": recordings[0] if recordings else None,
                "recordings": recordings,
                "provider_call_id": activity.openphone_id,
            }
        )


_TOLD_OF_A_CALL = (
    "duration_seconds",
    "answered_at",
    "completed_at",
    "forwarded_from",
    "forwarded_to",
    "voicemail",
    "summary",
    "transcript",
)


def _common(activity: Activity) -> dict[str, Any]:
    return {
        "id": activity.id,
        "conversation_id": activity.conversation_id,
        "line_id": activity.line_id,
        "contact_id": activity.contact_id,
        "direction": activity.direction,
        "phone": activity.phone,
        "status": activity.status,
        "occurred_at": activity.occurred_at,
        "created_at": activity.created_at,
    }
