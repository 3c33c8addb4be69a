"""Errors of conversations, messages and calls."""

from crm_api.domain.kit.errors import ConflictError, Example, InvalidError, NotFoundError


class ConversationNotFoundError(NotFoundError):
    """No conversation has this id."""

    code = "conversation_not_found"
    title = "Conversation not found"


class MessageNotFoundError(NotFoundError):
    """No message has this id."""

    code = "message_not_found"
    title = "Message not found"


class CallNotFoundError(NotFoundError):
    """No call has this id."""

    code = "call_not_found"
    title = "Call not found"


class RecipientOptedOutError(ConflictError):
    """The recipient asked for no more messages."""

    code = "recipient_opted_out"
    title = "Recipient opted out"
    example = Example("This number asked not to be texted.")


class RecipientDoNotContactError(ConflictError):
    """The number is flagged ``do_not_contact``, or its person had their data erased."""

    code = "recipient_do_not_contact"
    title = "Recipient must not be contacted"
    example = Example(
        "This number is flagged do_not_contact. If that is wrong, take the flag off: DELETE "
        "/v1/contacts/{id}/flags/do_not_contact."
    )


class RecipientOnHoldError(ConflictError):
    """A doubtful reply holds the number until a person decides what it means."""

    code = "recipient_opt_out_hold"
    title = "Recipient is on hold"
    example = Example(
        "A doubtful text holds this number. Confirm it with POST /v1/contacts/{id}/opt-out or "
        "release it with POST /v1/contacts/{id}/opt-in."
    )


class OutsideWindowError(ConflictError):
    """The law allows no message to the recipient now; ``next_allowed_at`` says when, or null."""

    code = "outside_window"
    title = "Outside legal hours"
    example = Example(
        "At the recipient it is outside the hours in which the law lets a text leave, and "
        "they never texted this line.",
        next_allowed_at="2026-12-01T13:00:00.000Z",
    )


class UnknownLineError(InvalidError):
    """The request names a line that does not exist."""

    code = "unknown_line"
    title = "Unknown line"
    pointer = "/line_id"
    example = Example("There is no line with this id.")


class LineCannotSendError(ConflictError):
    """The line is blocked; ``blocked_reason`` says why."""

    code = "line_blocked"
    title = "Line blocked"
    example = Example(
        "The line is blocked and sends nothing.",
        blocked_reason="The provider refuses messages. Top up the account, then unblock the line.",
    )
