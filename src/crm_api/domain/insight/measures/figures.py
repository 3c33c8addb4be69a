"""Compute the figures of a measure, their 95 % intervals, and whether there are enough records."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.measures import intervals
from crm_api.domain.insight.measures.dimensions import BREAKDOWNS
from crm_api.domain.insight.measures.errors import TooManyFiguresError
from crm_api.domain.insight.measures.figure_request import FigureRequest
from crm_api.domain.insight.measures.figure_sums import compile_sums, has_row_per_record
from crm_api.domain.insight.measures.models import PLACE_SUMS_UNTIL
from crm_api.domain.insight.measures.place_sums import uses_place_sums
from crm_api.domain.insight.measures.queries import MICROSECONDS
from crm_api.domain.insight.measures.record_query import Operand
from crm_api.domain.insight.measures.registry import Unit
from crm_api.domain.insight.measures.time_limit import LONGEST_SECONDS, limit_time
from crm_api.domain.kit.intervals import format_rate, wilson_interval
from crm_api.platform.database import typed_rows

MOST_FIGURES = 2_000

Number = int | str
"""An integer, or a decimal number as a string. Money and rates are never floating-point numbers."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One computed value of a measure, such as the reply rate of one ZIP on one day.

    Attributes:
        key: The value of the breakdown; None for the total, and for records without a value.
        bucket_start: The beginning of the day, week or month; None for the whole period.
        low: The lower bound of the 95 % interval of a rate; None for other units.
        is_enough: Whether there are enough records to rely on the figure.
        enough_at: When there will be enough records at the present pace; None if there are enough
            now, or if the instant is unknown.
        unripe: The number of records whose result may still change.
        rows_url: The URL path of the list of the figure's records.
    """

    key: str | None
    label: str | None
    bucket_start: datetime | None
    numerator: Number | None
    denominator: Number | None
    value: Number | None
    low: str | None
    high: str | None
    is_enough: bool
    enough_at: datetime | None
    unripe: int
    rows_url: str


@dataclass(frozen=True, slots=True)
class FigureSums:
    """The sums from which one ``Figure`` is computed.

    If a figure is a quotient of two measures, ``records`` and ``amount`` describe the denominator.

    Attributes:
        records: The number of records.
        counted: The number of records in the numerator of a rate.
        amount: The sum of the amounts of all these records.
        numerator_amount: For a quotient: the sum of the amounts in the numerator.
        numerator_records: For a quotient: the number of records in the numerator.
        unripe: The number of records whose result may still change.
        first_at: The instant of the earliest record, or the beginning of its hour or day.
        stored_until: The stored sums by place, or the copies, contained all records before this
            instant. The statement that read the sums also read this instant.
    """

    is_total: bool
    key: str | None
    label: str | None
    bucket_start: datetime | None
    records: int
    counted: int
    amount: Decimal | None
    numerator_amount: Decimal | None
    numerator_records: int
    median: Decimal | None
    unripe: int
    first_at: datetime | None
    stored_until: datetime


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The requested figures.

    Attributes:
        total: The figure of all records together.
        rows: One figure for each group or period, such as each ZIP; empty if none was requested.
    """

    total: Figure
    rows: list[Figure]


def _sum(column: str, operand: Operand | None = None) -> str:
    of_operand = "" if operand is None else f" FILTER (WHERE x.part = '{operand}')"
    return f"CAST(coalesce(sum(x.{column}){of_operand}, 0) AS bigint)"


# The empty grouping set gives the total. The total always has a row, even if there are no records.
# A key or bucket has no row if its number of records is 0.
_GROUPED = f"""
    SELECT grouping(x.key, x.bucket_start) = 3 AS is_total, x.key,
           CASE WHEN grouping(x.key, x.bucket_start) = 0 THEN min(x.label) END AS label,
           x.bucket_start, {_sum("records", Operand.DENOMINATOR)} AS records,
           {_sum("counted", Operand.DENOMINATOR)} AS counted,
           sum(x.amount) FILTER (WHERE x.part = 'denominator') AS amount,
           sum(x.amount) FILTER (WHERE x.part = 'numerator') AS numerator_amount,
           {_sum("records", Operand.NUMERATOR)} AS numerator_records,
           CAST(NULL AS numeric) AS median, {_sum("unripe")} AS unripe,
           min(x.at) AS first_at, {PLACE_SUMS_UNTIL} AS stored_until
    FROM ({{relation}}) x
    GROUP BY GROUPING SETS ((x.key, x.bucket_start), ())
    HAVING grouping(x.key, x.bucket_start) = 3 OR sum(x.records) <> 0
    ORDER BY 1 DESC, x.bucket_start, x.key NULLS LAST
    LIMIT {MOST_FIGURES + 2}
"""


_MEDIANS = f"""
    SELECT {{is_total}} AS is_total, {{key}} AS key, any_value(x.label) AS label,
           {{bucket_start}} AS bucket_start, count(*) AS records, count(*) AS counted,
           CAST(NULL AS numeric) AS amount, CAST(NULL AS numeric) AS numerator_amount,
           0 AS numerator_records,
           CAST(percentile_disc(0.5) WITHIN GROUP (ORDER BY x.time) AS numeric) / {MICROSECONDS}
               AS median,
           CAST(coalesce(sum(x.unripe), 0) AS bigint) AS unripe, min(x.at) AS first_at,
           {{stored_until}} AS stored_until
    FROM ({{times}}) x
    {{grouped}}
    ORDER BY 1 DESC, 4, 2 NULLS LAST
    LIMIT {MOST_FIGURES + 2}
"""


# This query turns each array of times into several rows. The few arrays are sorted by key first, so
# that the many rows need no sort. Only the first row of an array has the values `label`, `at` and
# `unripe` of the array (`unripe`: the number of records that may still change).
_SINGLE_TIMES = """
    SELECT r.key, r.bucket_start, unnest(r.amount) AS time, unnest(ARRAY[r.label]) AS label,
           unnest(ARRAY[r.at]) AS at, unnest(ARRAY[r.unripe]) AS unripe
    FROM ({relation}) r {order}
"""
_NEVER = "CAST('infinity' AS timestamptz)"


def _medians(request: FigureRequest, relation: str) -> str:
    """Return the statement that computes medians of durations, such as the time until a reply.

    It computes the median of all durations, and one for each key and bucket.

    Args:
        relation: The subquery that ``compile_sums`` returned.
    """
    names = ["key"] if request.by is not None else []
    if request.bucket is not None:
        names.append("bucket_start")
    keys = ", ".join(f"x.{name}" for name in names)
    times = relation
    if not has_row_per_record(request):
        order = f"ORDER BY {', '.join(f'r.{name}' for name in names)}" if names else ""
        times = _SINGLE_TIMES.format(relation=relation, order=order)
    return _MEDIANS.format(
        times=times,
        stored_until=_until(request) or _NEVER,
        is_total=f"grouping({keys}) = {2 ** len(names) - 1}" if names else "true",
        key="x.key" if "key" in names else "CAST(NULL AS text)",
        bucket_start="x.bucket_start" if "bucket_start" in names else "CAST(NULL AS timestamptz)",
        grouped=f"GROUP BY GROUPING SETS (({keys}), ())" if names else "",
    )


async def compute_figures(
    session: AsyncSession,
    request: FigureRequest,
    *,
    now: datetime,
    seconds: float = LONGEST_SECONDS,
) -> Figures:
    """Return the requested figures, ordered by time, then by key (such as a ZIP).

    Args:
        seconds: The time limit for each statement.

    Raises:
        BreakdownError: The measure does not allow the breakdown or the filter.
        PeriodError: The end of the period is not after its beginning.
        TooManyFiguresError: There would be more than ``MOST_FIGURES`` figures.
        TooManyRecordsError: A statement took longer than ``seconds``. The transaction cannot be
            used any more.
    """
    request.check()
    async with limit_time(session, seconds=seconds):
        total, *rest = await _read(session, request, now=now)
    if len(rest) > MOST_FIGURES:
        raise TooManyFiguresError
    has_rows = request.by is not None or request.bucket is not None
    url = request.rows_url()
    return Figures(
        total=_figure(total, request, now=now, total_url=url),
        rows=[_figure(one, request, now=now, total_url=url) for one in rest] if has_rows else [],
    )


def _until(request: FigureRequest) -> str | None:
    """Return the SQL expression for the instant before which all records are summed or copied.

    The result is None if the figures do not need this instant.
    """
    if uses_place_sums(request):
        return PLACE_SUMS_UNTIL
    return None if request.copies is None else request.copies.until


async def _read(
    session: AsyncSession, request: FigureRequest, *, now: datetime
) -> list[FigureSums]:
    """Read the sums from which the figures are computed: first the total, then each key and bucket.

    A key is a value of the breakdown, such as a ZIP. A bucket is a day, a week or a month.
    """
    stored_until = None
    until = _until(request)
    if until is not None:
        stored_until = (await session.execute(text(f"SELECT {until}"))).scalar_one()
    while True:
        compiled = compile_sums(request, now=now, stored_until=stored_until)
        statement = _GROUPED.format(relation=compiled.relation)
        if request.measure.unit is Unit.SECONDS:
            statement = _medians(request, compiled.relation)
        found = typed_rows(FigureSums, await session.execute(text(statement), compiled.values))
        if stored_until is None or found[0].stored_until == stored_until:
            return found
        # Between the two statements, the job `compute_credits` has added more hours to the stored
        # sums or copies. These hours may be included twice in the result: from the stored sums and
        # from the original records. So repeat the statement with the new instant. The job runs once
        # a minute, so one repetition is usually enough.
        stored_until = found[0].stored_until


def _figure(sums: FigureSums, request: FigureRequest, *, now: datetime, total_url: str) -> Figure:
    numerator, denominator, value = _numbers(sums, request)
    unit = request.measure.unit
    labels = {} if request.by is None else BREAKDOWNS[request.by].labels
    interval = None
    if unit is Unit.RATE:
        interval = wilson_interval(sums.counted, sums.records)
    is_enough, needed = _is_enough(sums, request)
    at = None
    if not is_enough:
        at = intervals.enough_at(have=sums.records, needed=needed, since=sums.first_at, as_of=now)
    return Figure(
        key=sums.key,
        label=None if sums.is_total else labels.get(sums.key or "") or sums.label or sums.key,
        bucket_start=sums.bucket_start,
        numerator=numerator,
        denominator=denominator,
        value=value,
        low=None if interval is None else f"{interval[0]:.4f}",
        high=None if interval is None else f"{interval[1]:.4f}",
        is_enough=is_enough,
        enough_at=at,
        unripe=sums.unripe,
        rows_url=total_url
        if sums.is_total
        else request.rows_url_of(sums.key, sums.bucket_start, total_url=total_url),
    )


def _numbers(
    sums: FigureSums, request: FigureRequest
) -> tuple[Number | None, Number | None, Number | None]:
    """Return the numerator, the denominator and the value of a figure."""
    unit = request.measure.unit
    if request.measure.quotient_of is not None:
        return _quotient(sums, request)
    if unit is Unit.RATE:
        return sums.counted, sums.records, format_rate(sums.counted, sums.records)
    if unit is Unit.SECONDS:
        return None, sums.records, None if sums.median is None else round(sums.median)
    if unit is Unit.CENTS:
        cents = int(sums.amount or 0)
        return cents, None, cents
    if request.is_by_share:
        shares = number_of(sums.amount or Decimal(0))
        return shares, None, shares
    return sums.records, None, sums.records


def _quotient(
    sums: FigureSums, request: FigureRequest
) -> tuple[Number | None, Number | None, Number | None]:
    """Return the numerator, the denominator and the value of a quotient of two measures.

    The value is in whole cents; for the unit ``ratio``, it is a decimal number.
    """
    below = request.operands[Operand.DENOMINATOR]
    cents = int(sums.numerator_amount or 0)
    denominator = Decimal(sums.records)
    if below.measure.is_sum or below.is_by_share:
        denominator = sums.amount or Decimal(0)
    value: Number | None = None
    if denominator:
        exact = Decimal(cents) / denominator
        is_ratio = request.measure.unit is Unit.RATIO
        value = f"{exact:.4f}" if is_ratio else int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    return cents, number_of(denominator), value


def number_of(value: Decimal) -> Number:
    """Round a number to four decimals. Return an integer if the result is whole, otherwise text."""
    rounded = value.quantize(Decimal("0.0001")).normalize()
    return int(rounded) if rounded == rounded.to_integral_value() else f"{rounded:f}"


def _is_enough(sums: FigureSums, request: FigureRequest) -> tuple[bool, int]:
    """Return whether there are enough records to rely on a figure, and how many are needed."""
    unit = request.measure.unit
    if unit is Unit.RATE:
        needed = intervals.needed_records(sums.counted, sums.records)
        return intervals.is_rate_enough(sums.counted, sums.records), needed
    if unit is Unit.SECONDS or request.measure.quotient_of is not None:
        return _deciding_records(sums, request) >= intervals.FEWEST, intervals.FEWEST
    return True, 0


def _deciding_records(sums: FigureSums, request: FigureRequest) -> int:
    """Return the number of records that decides whether you can rely on a figure.

    The caller compares the number with a minimum. The number counts these records:

    - for a ratio of money: the records of the numerator
    - for any other quotient: the records of the denominator
    - for a median: all records
    """
    return sums.numerator_records if request.measure.unit is Unit.RATIO else sums.records
