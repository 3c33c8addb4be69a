"""Errors of calendar feeds."""

from crm_api.domain.kit.errors import ConflictError, Example, GoneError, NotFoundError


class CalendarFeedNotFoundError(NotFoundError):
    """No calendar feed has this id."""

    code = "calendar_feed_not_found"
    title = "Calendar feed not found"

    def __init__(self) -> None:
        super().__init__(
            "There is no calendar feed with this id. GET /v1/calendar-feeds lists the feeds."
        )


class CalendarAddressUnknownError(NotFoundError):
    """The secret address of a calendar feed is wrong."""

    code = "calendar_not_found"
    title = "Calendar not found"

    def __init__(self) -> None:
        super().__init__(
            "There is no calendar at this address. Copy the whole address again, or ask for a new "
            "one."
        )


class CalendarFeedGoneError(GoneError):
    """The calendar feed was deleted, or its user is disabled."""

    code = "calendar_gone"
    title = "Calendar no longer available"

    def __init__(self) -> None:
        super().__init__(
            "This calendar was withdrawn. Remove it from your calendar program, or ask for a new "
            "address."
        )


class TooManyCalendarFeedsError(ConflictError):
    """The maximum number of calendar feeds exists."""

    code = "too_many_calendar_feeds"
    title = "Too many calendar feeds"
    example = Example("There are 200 calendar feeds, which is the maximum. Delete one first.")
