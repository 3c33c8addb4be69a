"""What can go wrong with received events."""

from crm_api.domain.errors import (
    InvalidError,
    MalformedError,
    NotFoundError,
    TooLargeError,
    TransientError,
)


class WebhookEventNotFoundError(NotFoundError):
    """No received event has this id."""

    code = "webhook_event_not_found"
    title = "Webhook event not found"


class EventTooLargeError(TooLargeError):
    """The delivery is larger than any event."""

    code = "event_too_large"
    title = "Webhook delivery too large"


class MalformedEventError(MalformedError):
    """The delivery is signed, but is no JSON object."""

    code = "malformed_json"
    title = "Malformed JSON"


class EventNotStoredError(TransientError):
    """The event could not be stored; the sender should deliver it again."""

    code = "event_not_stored"
    title = "Event not stored"


class LineUnknownError(InvalidError):
    """The event is of an own number that is not known here."""

    code = "line_unknown"
    title = "Line not known"


class IncompleteEventError(InvalidError):
    """The event lacks what is needed to apply it."""

    code = "incomplete_event"
    title = "Event incomplete"
