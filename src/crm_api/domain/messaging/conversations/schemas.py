"""Request and response schemas of conversations, messages and calls."""

from collections.abc import Sequence
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StrictInt

from crm_api.domain.kit.examples import LINE, SENT, example, example_id
from crm_api.domain.kit.fields import PhoneNumber, RequestInstant, Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.conversations.notes import FoundNote
from crm_api.domain.messaging.conversations.reply_class_decisions import ReplyClassRead
from crm_api.domain.messaging.conversations.service import ShownAttempt, TryOutcome
from crm_api.domain.messaging.media.schemas import show, show_call
from crm_api.domain.messaging.media.service import ShownFetch
from crm_api.domain.messaging.media.uploads import MOST_FILES
from crm_api.domain.messaging.models.timeline import Activity, Direction, MessageStatus, Origin

LONGEST_TEXT = 1600
"""The largest number of characters of a message; the provider's limit. Source: OpenPhone API
reference, read 2026-11-24."""

LONGEST_NOTE = 10_000
"""The largest number of characters in a note."""
MOST_MENTIONS = 50
LONGEST_DRAFT = 10_000
"""The largest number of characters in a draft."""
LONGEST_UNDO_SECONDS = 30


def _each_once(ids: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(ids))


class ReplyCreate(RequestModel):
    """A single message to send, written by a user.

    Attributes:
        line_id: The line that sends the message.
        to: The phone number that receives the message.
        body: The text of the message, at most 1,600 characters.
        send_at: When to send the message, within a year; null: as soon as possible. Before sending,
            consent and legal hours are rechecked.
        move: Whether to move the message to the next legal instant if `send_at` is not legal. If
            false, the request is refused.
        undo_seconds: How many seconds the message waits. During this time, DELETE /v1/messages/{id}
            withdraws it.
        confirm: Whether to send the message even if somebody else answered less than a minute ago.
            If false, the request is refused.
        media_ids: The ids of pictures from `POST /v1/media`, at most 10.
    """

    model_config = example(line_id=LINE, to="+16175550123", body="See you on Tuesday at four.")

    line_id: Id
    to: PhoneNumber
    body: Annotated[str, Text(shortest=1, longest=LONGEST_TEXT, has_lines=True)]
    send_at: RequestInstant | None = None
    move: StrictBool = False
    undo_seconds: Annotated[StrictInt, Field(ge=0, le=LONGEST_UNDO_SECONDS)] = 0
    confirm: StrictBool = False
    media_ids: Annotated[list[UUID], Field(max_length=MOST_FILES), AfterValidator(_each_once)] = (
        Field(default_factory=list)
    )


class DraftWrite(RequestModel):
    """An unsent message to store.

    Attributes:
        body: The text. It may be longer than a message, because it is not finished.
    """

    model_config = example(body="Thank you, Ada. On Tuesday we can")

    body: Annotated[str, Text(shortest=1, longest=LONGEST_DRAFT, has_lines=True)]


class DraftRead(ReadModel):
    """The caller's draft in a conversation.

    Attributes:
        body: The text; null if there is no draft.
        updated_at: When the draft was last changed; null if there is no draft.
    """

    model_config = example(body="Thank you, Ada. On Tuesday we can")

    body: str | None
    updated_at: Instant | None


class ConversationNoteCreate(RequestModel):
    """A new note in a conversation. Only users see it; it is never sent.

    Attributes:
        body: The text of the note.
        mentions: The ids of the users whom the note mentions.
    """

    model_config = example(
        body="Olga, can you look at the pictures?", mentions=[example_id("user")]
    )

    body: Annotated[str, Text(shortest=1, longest=LONGEST_NOTE, has_lines=True)]
    mentions: Annotated[list[UUID], Field(max_length=MOST_MENTIONS)] = Field(default_factory=list)


class MentionedUser(ReadModel):
    """A user whom a note mentions.

    Attributes:
        name: The name of the user.
    """

    model_config = example(name="Olga Meyer")

    id: Id
    name: str


class ConversationNoteRead(ReadModel):
    """A note in a conversation. Only users see it; it is never sent.

    Attributes:
        conversation_id: The conversation that the note belongs to.
        author: Who wrote the note: the name of an API key, or the e-mail address of a user.
        body: The text of the note.
        mentions: The users whom the note mentions.
    """

    model_config = example(
        author="sam@granite.example.com", body="Olga, can you look at the pictures?"
    )

    id: Id
    conversation_id: Id
    author: str
    body: str
    mentions: list[MentionedUser]
    created_at: Instant

    @classmethod
    def of(cls, found: FoundNote) -> Self:
        """Build the response from a note and the names of the mentioned users."""
        mentions = [
            MentionedUser(id=one, name=found.names[one])
            for one in found.note.mentions
            if one in found.names
        ]
        return cls.model_validate(vars(found.note) | {"mentions": mentions})


class MessageAttempt(ReadModel):
    """One attempt to send a message.

    Attributes:
        at: When the request to the provider began.
        outcome: The result of the attempt, as far as it is known.
        error_code: Why the message was not sent or not delivered, or why the result is unclear;
            null if there is no such problem.
    """

    at: Instant
    outcome: TryOutcome
    error_code: str | None


class MessageSender(ReadModel):
    """The user or API key that sent a message through the API.

    Attributes:
        id: The id of the user or of the API key.
        name: The name of the user or of the API key when the message was sent.
    """

    model_config = example(id=example_id("user"), name="Olga Meyer")

    id: Id
    name: str


class MessageRead(ReadModel):
    """One message: received, sent, or still to be sent.

    Attributes:
        conversation_id: The conversation that contains the message.
        line_id: The line that received or sends the message.
        contact_id: The contact of the other party; null if none.
        campaign_id: The campaign that sent the message, or the campaign to which it replies; null
            if none.
        direction: Whether the message was received or is sent.
        origin: What created the message.
        phone: The phone number of the other party.
        body: The text of the message; null if it was erased.
        media: The files of the message, each with the fields `url`, `type`, `media_id`, `status`,
            `content_type`, `size_bytes`, `error_code` and `error`. If `media_id` is not null, `GET
            /v1/media/{media_id}` returns the file. `url` is the provider's address of a received
            file, or the path of a sent file in this API.
        participants: The phone numbers of all other parties of a group conversation; otherwise
            empty.
        status: The state of the message.
        error_code: Why the message was not sent or not delivered; null without a problem.
        provider_message_id: The provider's id of the message; null until the provider accepts it.
        send_at: The time that the user chose, or the next allowed time after it; null if none was
            chosen.
        sent_by: Who sent the message through this API; null if it was not sent through this API.
        attempts: Every attempt to send the message, oldest first; empty if this service did not
            send it.
        reply_class: The kind of the reply; null for sent messages, and for old messages without a
            class.
        occurred_at: When the message was sent or received, by the provider's clock.
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
        reply_class=None,
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
    send_at: Instant | None
    sent_by: MessageSender | None
    attempts: list[MessageAttempt]
    reply_class: ReplyClassRead | None
    occurred_at: Instant
    created_at: Instant

    @classmethod
    def of(
        cls,
        activity: Activity,
        files: Sequence[ShownFetch] = (),
        attempts: Sequence[ShownAttempt] = (),
    ) -> Self:
        """Build the response for a message from its row, its file downloads and its attempts."""
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
                "send_at": activity.scheduled_for,
                "sent_by": _sender_of(activity),
                "attempts": [one._asdict() for one in attempts],
                "reply_class": ReplyClassRead.of(activity),
            }
        )


class CallRead(ReadModel):
    """One phone call. A field is null or empty while its value is not known.

    Attributes:
        conversation_id: The conversation that contains the call.
        line_id: The line that received or made the call.
        contact_id: The contact of the other party; null if none.
        direction: Whether the call was received or made by the company.
        phone: The phone number of the other party.
        status: The status of the call, in the provider's words.
        is_missed: Whether the call was not answered.
        duration_seconds: The duration of the call, in seconds.
        answered_at: When the call was answered; null if it was not answered.
        completed_at: When the call ended.
        forwarded_from: The phone number from which the call was forwarded; null if none.
        forwarded_to: The phone number to which the call was forwarded; null if none.
        menu: The caller's choices in the phone menu, in order, each with the fields `at`,
            `selection` and `name`.
        recording: The first item of `recordings`; null if none.
        recordings: The recordings. Each has the provider's fields, and `media_id`, `status`,
            `content_type`, `size_bytes`, `error_code` and `error`, as in the `media` of a message.
        voicemail: The voicemail; null if none. It has the provider's fields and the same added
            fields as `recordings`.
        summary: The provider's summary, with the fields `text` and `next_steps`; null if none.
        transcript: What was said, in order; null if none. Each item has the field `content` and, if
            known, `start` and `end` in seconds from the start of the call.
        provider_call_id: The provider's id of the call.
        occurred_at: When the call began, by the provider's clock.
    """

    model_config = example(
        status="completed",
        duration_seconds=94,
        answered_at="2026-11-30T15:10:04.000Z",
        completed_at="2026-11-30T15:11:38.000Z",
        menu=[],
        recordings=[],
        summary={"text": ["Ada asks for Tuesday after four."], "next_steps": []},
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
        """Build the response for a call from its row and its file downloads."""
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


def _sender_of(activity: Activity) -> dict[str, Any] | None:
    if activity.sent_by_id is None:
        return None
    return {"id": activity.sent_by_id, "name": activity.sent_by_name or ""}


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
