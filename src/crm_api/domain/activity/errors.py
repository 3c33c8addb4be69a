"""What can go wrong with conversations, messages and calls."""

from crm_api.domain.errors import ConflictError, InvalidError, NotFoundError


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
    """The recipient asked not to be texted."""

    code = "recipient_opted_out"
    title = "Recipient opted out"


class OutsideWindowError(ConflictError):
    """By law no text may leave for the recipient now; ``next_allowed_at`` says when, or null."""

    code = "outside_window"
    title = "Outside legal hours"


class UnknownLineError(InvalidError):
    """The request names a line that does not exist."""

    code = "unknown_line"
    title = "Unknown line"


class LineCannotSendError(ConflictError):
    """The line is blocked; ``blocked_reason`` says why."""

    code = "line_blocked"
    title = "Line blocked"
