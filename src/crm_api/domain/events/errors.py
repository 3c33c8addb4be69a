"""What can go wrong with following events."""

from crm_api.domain.errors import InvalidError


class InvalidEventIdError(InvalidError):
    """It is no id that a stream of events has given."""

    code = "invalid_event_id"
    title = "Invalid event id"
