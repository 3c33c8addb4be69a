"""Schemas of conversations, messages and calls, in and out."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from crm_api.domain.kit.examples import LINE, SENT, example
from crm_api.domain.kit.fields import PhoneNumber, Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.media.schemas import show, show_call
from crm_api.domain.messaging.media.service import ShownFetch
from crm_api.domain.messaging.models.conversations import Activity, Direction, MessageStatus, Origin
from crm_api.domain.messaging.sends.attempts import ShownAttempt, TryOutcome

LONGEST_TEXT = 1600
"""Characters; the provider's limit. Source: OpenPhone API reference, read 2026-11-24."""


class ReplyCreate(RequestModel):
    """A message that a user writes.

    Attributes:
        to: The phone number that gets the message.
    """

    model_config = example(line_id=LINE, to="+16175550123", body="See you on Tuesday at four.")

    line_id: Id
    to: PhoneNumber
    body: Annotated[str, Text(shortest=1, longest=LONGEST_TEXT, has_lines=True)]


class ConversationRead(ReadModel):
    """All messages and calls between one line and one outside number.

    Attributes:
        last_activity_at: The time of the last message or call.
        last_outgoing_at: Time of the newest message to the person that the provider accepted, or
            call to the person.
        last_incoming_at: Time of the newest message from the person.
    """

    id: Id
    line_id: Id
    phone: str
    contact_id: Id | None
    last_activity_at: Instant
    last_outgoing_at: Instant | None
    last_incoming_at: Instant | None
    created_at: Instant


class MessageAttempt(ReadModel):
    """One attempt to send a message.

    Attributes:
        at: When the call to the provider began.
        outcome: What is known about its result.
        error_code: Why it did not send, or why the result is not known.
    """

    at: Instant
    outcome: TryOutcome
    error_code: str | None


class MessageRead(ReadModel):
    """One message.

    Attributes:
        campaign_id: The campaign that sent it, or that it replies to.
        phone: The number of the other party.
        media: ``[{"url", "type", "media_id", "status", "content_type", "size_bytes", "error_code",
            "error"}]``. ``media_id`` is set when the file is stored; use it with
            ``GET /v1/media/{id}``.
        participants: All other parties of a group conversation; else empty.
        provider_message_id: The id of the message at the provider; null until it was sent.
        attempts: Every attempt to send a message of this service, oldest first. A retry does not
            create a second message.
    """

    model_config = example(
        direction="outgoing",
        body=SENT,
        media=[],
        participants=[],
        status="delivered",
        attempts=[
            {"at": "2026-11-30T14:04:02.000Z", "outcome": "not_sent", "error_code": "http_429"},
            {"at": "2026-11-30T14:05:10.000Z", "outcome": "delivered", "error_code": None},
        ],
        created_at="2026-11-30T14:05:10.000Z",
    )

    id: Id
    conversation_id: Id | None
    line_id: Id | None
    contact_id: Id | None
    campaign_id: Id | None
    direction: Annotated[str, Vocabulary(Direction)] | None
    origin: Annotated[str, Vocabulary(Origin, "MessageOrigin")]
    phone: str | None
    body: str | None
    media: list[dict[str, Any]]
    participants: list[str]
    status: Annotated[str, Vocabulary(MessageStatus)]
    error_code: str | None
    provider_message_id: str | None
    attempts: list[MessageAttempt]
    occurred_at: Instant
    created_at: Instant

    @classmethod
    def of(
        cls,
        activity: Activity,
        files: Sequence[ShownFetch] = (),
        attempts: Sequence[ShownAttempt] = (),
    ) -> Self:
        """Build the response from a row of the timeline, its fetches and its attempts."""
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
                "attempts": [one._asdict() for one in attempts],
            }
        )


class CallRead(ReadModel):
    """One call; what is not known (yet) is null or empty.

    Attributes:
        phone: The number of the other party.
        status: The status of the call, as the provider calls it.
        is_missed: Whether the call was not answered.
        duration_seconds: The length of the call, in seconds.
        answered_at: When the call was answered; null if it was not.
        completed_at: When the call ended.
        forwarded_from: The number that the call was forwarded from; null otherwise.
        forwarded_to: The number that the call was forwarded to; null otherwise.
        menu: The caller's choices in the phone menu; null without one.
        recording: The first of ``recordings``.
        recordings: The provider's fields, with the fields of ``media`` of a message.
        voicemail: The provider's fields, with the fields of ``media`` of a message.
        summary: ``{"text": [], "next_steps": []}``.
        transcript: What was said, in order: ``[{"content", "start", "end", …}]``.
        provider_call_id: The id of the call at the provider.
    """

    model_config = example(
        status="completed",
        duration_seconds=94,
        answered_at="2026-11-30T15:10:04.000Z",
        completed_at="2026-11-30T15:11:38.000Z",
        menu=[],
        recordings=[],
        summary={"status": "completed", "summary": ["Ada asks for Tuesday after four."]},
        provider_call_id="AC9d2f6b1c8e7a4053b1f6c2d9e8a7b405",
        occurred_at="2026-11-30T15:10:00.000Z",
        created_at="2026-11-30T15:10:01.000Z",
    )

    id: Id
    conversation_id: Id | None
    line_id: Id | None
    contact_id: Id | None
    direction: Annotated[str, Vocabulary(Direction)] | None
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
        """Build the response from a row of the timeline and its fetches."""
        known = show_call(activity.call, files)
        recordings = known.get("recordings", [])
        return cls.model_validate(
            {
                **_common(activity),
                **{name: known.get(name) for name in _CALL_FIELDS},
                "is_missed": known.get("is_missed", False),
                "menu": known.get("menu", []),
                "recording": recordings[0] if recordings else None,
                "recordings": recordings,
                "provider_call_id": activity.openphone_id,
            }
        )


_CALL_FIELDS = (
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
