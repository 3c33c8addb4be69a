"""Errors of measures."""

from crm_api.domain.kit.errors import Example, InvalidError, NotFoundError


class MeasureNotFoundError(NotFoundError):
    """No measure has this name."""

    code = "measure_not_found"
    title = "Measure not found"

    def __init__(self) -> None:
        super().__init__("There is no such measure. GET /v1/insight/measures lists all measures.")


class BreakdownError(InvalidError):
    """The measure does not allow this breakdown or filter."""

    code = "invalid_breakdown"
    title = "Breakdown not possible"
    pointer = "/by"
    example = Example(
        "The measure time_to_answer cannot be broken down by campaign. It allows: city, zip."
    )


class PeriodError(InvalidError):
    """The period does not end after it begins."""

    code = "invalid_period"
    title = "Invalid period"
    pointer = "/to"

    def __init__(self) -> None:
        super().__init__("`to` must be after `from`. `to` itself does not belong to the period.")


class TooManyFiguresError(InvalidError):
    """The breakdown has too many rows."""

    code = "too_many_figures"
    title = "Too many figures"
    pointer = "/bucket"

    def __init__(self) -> None:
        super().__init__(
            "The breakdown has more than 2,000 rows. Use a shorter period, a longer bucket, or a "
            "filter."
        )


class TooManyRecordsError(InvalidError):
    """The figure needs so many records that reading them would exceed the time limit."""

    code = "too_many_records"
    title = "Too many records"
    pointer = "/from"

    def __init__(self) -> None:
        super().__init__(
            "The figure must read too many records, because no sums are kept for this measure and "
            "breakdown. Use a shorter period (`from`, `to`), or a filter such as `campaign_id`."
        )
