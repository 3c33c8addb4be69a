"""Errors that requests about conversations, messages and calls can return."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import example_id
from crm_api.domain.kit.schemas import format_instant


class ConversationNotFoundError(NotFoundError):
    """No conversation has this id."""

    code = "conversation_not_found"
    title = "Conversation not found"
    detail = "No conversation has this id. GET /v1/conversations lists the conversations."


class MessageNotFoundError(NotFoundError):
    """No message has this id."""

    code = "message_not_found"
    title = "Message not found"
    detail = "No message has this id. GET /v1/conversations/{id}/messages lists messages."


class MessageNotReceivedError(ConflictError):
    """The message was sent by the company, so it is not a reply and has no class."""

    code = "message_not_received"
    title = "Not a received message"
    detail = (
        "Only a received message has a reply class. Use the id of a message whose `direction` "
        "is incoming."
    )


class CallNotFoundError(NotFoundError):
    """No call has this id."""

    code = "call_not_found"
    title = "Call not found"
    detail = "No call has this id. GET /v1/calls lists the calls."


class UnknownMentionError(InvalidError):
    """A note mentions an id that is not the id of an active user."""

    code = "unknown_mention"
    title = "Unknown user in a note"
    example = Example([0])

    def __init__(self, indexes: Sequence[int]) -> None:
        detail = "No active user has this id. GET /v1/users lists the users."
        super().__init__(
            detail,
            errors=[
                FieldProblem(pointer=f"/mentions/{index}", code=self.code, detail=detail)
                for index in indexes
            ],
        )


class RecipientOptedOutError(ConflictError):
    """The number is opted out, so it gets no messages."""

    code = "recipient_opted_out"
    title = "Recipient opted out"
    detail = (
        "The message was not sent, because this number is opted out. If the person agreed to "
        "messages again, record that with POST /v1/contacts/{id}/opt-in."
    )


class RecipientDoNotContactError(ConflictError):
    """The number has the flag ``do_not_contact``, for example because the person was erased."""

    code = "recipient_do_not_contact"
    title = "Recipient must not be contacted"
    detail = (
        "The message was not sent, because this number has the flag do_not_contact. If the "
        "flag is wrong, remove it with DELETE /v1/contacts/{id}/flags/do_not_contact."
    )


class RecipientOnHoldError(ConflictError):
    """The number is on hold: a reply may be an opt-out, and a user must decide what it means."""

    code = "recipient_opt_out_hold"
    title = "Recipient is on hold"
    detail = (
        "The message was not sent, because a reply from this number may be an opt-out. Read "
        "the reply. If it is an opt-out, use POST /v1/contacts/{id}/opt-out; otherwise use "
        "POST /v1/contacts/{id}/opt-in."
    )


class OutsideWindowError(ConflictError):
    """The law does not allow a message at the recipient's local time.

    ``next_allowed_at`` is the next allowed instant; null if none is known.
    """

    code = "outside_window"
    title = "Outside legal hours"
    example = Example(
        "The message was not sent, because the law does not allow messages at the recipient's "
        "local time now.",
        otherwise="A person who has sent a message to this line can be answered at any time.",
        next_allowed_at=datetime(2026, 12, 1, 13, tzinfo=UTC),
    )

    def __init__(self, happened: str, *, otherwise: str, next_allowed_at: datetime | None) -> None:
        """Describe the refusal and the next step.

        Args:
            happened: One sentence about what was refused.
            otherwise: What the caller can do instead of waiting.
            next_allowed_at: The next allowed instant; None if the rules allow no instant within two
                weeks.
        """
        later = (
            "The legal rules allow no message within two weeks; GET /v1/compliance-rules shows "
            "them. `next_allowed_at` is null."
            if next_allowed_at is None
            else "Send it again at `next_allowed_at`."
        )
        super().__init__(
            f"{happened} {later} {otherwise}",
            next_allowed_at=None if next_allowed_at is None else format_instant(next_allowed_at),
        )


class SendAtOutsideWindowError(InvalidError):
    """The time ``send_at`` is outside the recipient's legal hours, or in the last minute of them.

    ``next_allowed_at`` is the next legal time; null if no time within two weeks is legal.
    """

    code = "send_at_outside_window"
    title = "Time of sending outside legal hours"
    pointer = "/send_at"
    example = Example(datetime(2026, 12, 1, 13, tzinfo=UTC))

    def __init__(self, next_allowed_at: datetime | None) -> None:
        """Describe the refusal and the next step.

        Args:
            next_allowed_at: The next allowed instant after ``send_at``; None if the rules allow no
                instant within two weeks.
        """
        later = (
            "The legal rules allow no message within two weeks after `send_at`; GET "
            "/v1/compliance-rules shows the rules. `next_allowed_at` is null."
            if next_allowed_at is None
            else "Choose `next_allowed_at`, or send the request again with `move` true."
        )
        super().__init__(
            "`send_at` is outside the hours in which the law allows messages to the recipient, or "
            f"these hours end less than a minute after `send_at`. {later}",
            next_allowed_at=None if next_allowed_at is None else format_instant(next_allowed_at),
        )


class SendAtOutOfRangeError(InvalidError):
    """The time of sending is in the past, or more than a year away."""

    code = "send_at_out_of_range"
    title = "Time of sending out of range"
    pointer = "/send_at"
    detail = (
        "`send_at` is in the past. Choose a later instant, or leave out `send_at` to send the "
        "message immediately."
    )


class AnsweredMeanwhileError(ConflictError):
    """Somebody else answered the person's last message less than a minute ago.

    ``message_id``, ``body``, ``by`` and ``at`` describe that answer. ``by`` is null if the answer
    was sent in the provider's app, and ``body`` is null if the caller may not read messages.
    """

    code = "answered_meanwhile"
    title = "Answered meanwhile"
    example = Example(
        message_id=UUID(example_id("message")),
        body="See you on Tuesday at four.",
        by={"id": example_id("user"), "name": "Olga Meyer"},
        at=datetime(2026, 11, 30, 15, 4, 5, tzinfo=UTC),
    )

    def __init__(
        self, *, message_id: UUID, body: str | None, by: dict[str, str] | None, at: datetime
    ) -> None:
        super().__init__(
            "The message was not sent, because somebody else has just answered this person. The "
            "field `body` of this error has the answer. If you still want to send your message, "
            "send the request again with `confirm` true.",
            message_id=str(message_id),
            body=body,
            by=by,
            at=format_instant(at),
        )


class MessageLeftError(ConflictError):
    """The message was sent, failed or is being sent, so it cannot be withdrawn."""

    code = "message_left"
    title = "Message can no longer be withdrawn"
    example = Example(
        "The message cannot be withdrawn, because it is being sent or was sent. Write the person "
        "another message if something has to be corrected."
    )


class MessageNotManualError(ConflictError):
    """Only a message that a user wrote through this API can be withdrawn."""

    code = "message_not_manual"
    title = "Not a message of a user"
    detail = (
        "The message cannot be withdrawn, because no user of this API wrote it. To stop the "
        "messages of a campaign, pause or cancel the campaign."
    )


class UnknownLineError(InvalidError):
    """No line has the ``line_id`` of the request."""

    code = "unknown_line"
    title = "Unknown line"
    pointer = "/line_id"
    detail = "No line has this id. GET /v1/lines lists the lines."


class LineCannotSendError(ConflictError):
    """The line is blocked and sends no messages; ``blocked_reason`` says why and what to do."""

    code = "line_blocked"
    title = "Line blocked"
    example = Example(
        "The message was not sent, because the line is blocked. Correct the cause that "
        "`blocked_reason` gives, then unblock the line with POST /v1/lines/{id}/unblock; or use "
        "another line.",
        blocked_reason="The provider refuses messages. Top up the account, then unblock the line.",
    )
