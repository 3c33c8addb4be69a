"""Errors of measures."""

from crm_api.domain.kit.errors import Example, InvalidError, NotFoundError


class MeasureNotFoundError(NotFoundError):
    """No measure has this name."""

    code = "measure_not_found"
    title = "Measure not found"
    detail = "There is no such measure. GET /v1/insight/measures lists all measures."


class BreakdownError(InvalidError):
    """The measure does not allow this breakdown or filter."""

    code = "invalid_breakdown"
    title = "Breakdown not possible"
    pointer = "/by"
    example = Example(
        "The measure time_to_answer cannot be broken down by campaign. It allows: city, zip."
    )


class PeriodError(InvalidError):
    """The end of the period is not after its beginning."""

    code = "invalid_period"
    title = "Invalid period"
    pointer = "/to"
    detail = "`to` must be after `from`. `to` itself does not belong to the period."


class TooManyFiguresError(InvalidError):
    """The request would return more than 2,000 figures."""

    code = "too_many_figures"
    title = "Too many figures"
    pointer = "/bucket"
    detail = (
        "The breakdown has more than 2,000 rows. Use a shorter period, a longer bucket, or a "
        "filter."
    )


class TooManyRecordsError(InvalidError):
    """Reading the records of the figure takes longer than the time limit."""

    code = "too_many_records"
    title = "Too many records"
    pointer = "/from"
    detail = (
        "Too many records would have to be read for this figure, because no sums are stored "
        "for this measure and breakdown. Use a shorter period (`from`, `to`), or a filter such "
        "as `campaign_id`."
    )
