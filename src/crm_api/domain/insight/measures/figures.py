"""Compute the figures of a measure, with intervals, and whether there are enough records."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.answers import format_rate
from crm_api.domain.insight.measures import intervals
from crm_api.domain.insight.measures.bases import MICROSECONDS, RecordPart
from crm_api.domain.insight.measures.compiling import InsightQuestion
from crm_api.domain.insight.measures.dimensions import BREAKDOWNS
from crm_api.domain.insight.measures.errors import TooManyFiguresError
from crm_api.domain.insight.measures.kept_people import has_place
from crm_api.domain.insight.measures.people_models import UNTIL
from crm_api.domain.insight.measures.registry import Unit
from crm_api.domain.insight.measures.sums import compile_sums, is_unfolded
from crm_api.domain.insight.measures.time_limit import LONGEST_SECONDS, limited
from crm_api.domain.kit.intervals import wilson_interval
from crm_api.platform.database import typed_rows

MOST_FIGURES = 2_000

Number = int | str
"""An integer, or a decimal number as text: money and rates are never binary floats."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: for one key of the breakdown, for one bucket, for both, or the total.

    Attributes:
        low: The lower bound of the 95 % interval of a rate; None for other units.
        is_enough: Whether there are enough records to rely on the figure.
        enough_at: When there will be enough records at the present pace; None if there are enough
            now, or if the instant is unknown.
        unripe: The number of records that are so young that they may still change.
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
class Sums:
    """The sums over the records of one figure: of the total, or of one key and bucket.

    Attributes:
        divided: For a quotient of two measures: the sum of the amounts in the numerator.
        divided_records: For a quotient of two measures: the number of records in the numerator.
        settled: The instant before which the stored sums or the stored records are complete.
    """

    is_total: bool
    key: str | None
    label: str | None
    bucket_start: datetime | None
    records: int
    counted: int
    amount: Decimal | None
    divided: Decimal | None
    divided_records: int
    median: Decimal | None
    unripe: int
    first_at: datetime | None
    settled: datetime


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a question: the total, and a row for each key and bucket."""

    total: Figure
    rows: list[Figure]


def _sum(column: str, part: RecordPart | None = None) -> str:
    of_part = "" if part is None else f" FILTER (WHERE x.part = '{part}')"
    return f"CAST(coalesce(sum(x.{column}){of_part}, 0) AS bigint)"


# The empty grouping set is the total, which exists even without records. If the changes of a group
# sum to no records, the group has no row.
_GROUPED = f"""
    SELECT grouping(x.key, x.bucket_start) = 3 AS is_total, x.key,
           CASE WHEN grouping(x.key, x.bucket_start) = 0 THEN min(x.label) END AS label,
           x.bucket_start, {_sum("records", RecordPart.DENOMINATOR)} AS records,
           {_sum("counted", RecordPart.DENOMINATOR)} AS counted,
           sum(x.amount) FILTER (WHERE x.part = 'denominator') AS amount,
           sum(x.amount) FILTER (WHERE x.part = 'numerator') AS divided,
           {_sum("records", RecordPart.NUMERATOR)} AS divided_records,
           CAST(NULL AS numeric) AS median, {_sum("unripe")} AS unripe,
           min(x.at) AS first_at, {UNTIL} AS settled
    FROM ({{relation}}) x
    GROUP BY GROUPING SETS ((x.key, x.bucket_start), ())
    HAVING grouping(x.key, x.bucket_start) = 3 OR sum(x.records) <> 0
    ORDER BY 1 DESC, x.bucket_start, x.key NULLS LAST
    LIMIT {MOST_FIGURES + 2}
"""


_MEDIANS = f"""
    SELECT {{is_total}} AS is_total, {{key}} AS key, any_value(x.label) AS label,
           {{bucket_start}} AS bucket_start, count(*) AS records, count(*) AS counted,
           CAST(NULL AS numeric) AS amount, CAST(NULL AS numeric) AS divided,
           0 AS divided_records,
           CAST(percentile_disc(0.5) WITHIN GROUP (ORDER BY x.time) AS numeric) / {MICROSECONDS}
               AS median,
           CAST(coalesce(sum(x.unripe), 0) AS bigint) AS unripe, min(x.at) AS first_at,
           {{settled}} AS settled
    FROM ({{times}}) x
    {{grouped}}
    ORDER BY 1 DESC, 4, 2 NULLS LAST
    LIMIT {MOST_FIGURES + 2}
"""


# The few arrays are sorted by key before they are unfolded, so that the many times need no sort. An
# array becomes several rows. Only its first row has the label, `at` and `unripe` of the array.
_UNFOLDED = """
    SELECT r.key, r.bucket_start, unnest(r.amount) AS time, unnest(ARRAY[r.label]) AS label,
           unnest(ARRAY[r.at]) AS at, unnest(ARRAY[r.unripe]) AS unripe
    FROM ({relation}) r {order}
"""
_NEVER = "CAST('infinity' AS timestamptz)"


def _medians(question: InsightQuestion, relation: str) -> str:
    """Return the statement that reads the median of all records, and of each key and bucket."""
    names = ["key"] if question.by is not None else []
    if question.bucket is not None:
        names.append("bucket_start")
    keys = ", ".join(f"x.{name}" for name in names)
    times = relation
    if not is_unfolded(question):
        order = f"ORDER BY {', '.join(f'r.{name}' for name in names)}" if names else ""
        times = _UNFOLDED.format(relation=relation, order=order)
    return _MEDIANS.format(
        times=times,
        settled=_until(question) or _NEVER,
        is_total=f"grouping({keys}) = {2 ** len(names) - 1}" if names else "true",
        key="x.key" if "key" in names else "CAST(NULL AS text)",
        bucket_start="x.bucket_start" if "bucket_start" in names else "CAST(NULL AS timestamptz)",
        grouped=f"GROUP BY GROUPING SETS (({keys}), ())" if names else "",
    )


async def compute_figures(
    session: AsyncSession,
    question: InsightQuestion,
    *,
    now: datetime,
    seconds: float = LONGEST_SECONDS,
) -> Figures:
    """Return the figures of a question, in the order of buckets, then of keys.

    Args:
        session: The session.
        question: The question.
        now: The present instant.
        seconds: The time limit for reading records.

    Raises:
        BreakdownError: The measure does not allow the breakdown or the filter.
        PeriodError: The period ends before it begins.
        TooManyFiguresError: The breakdown has too many rows.
        TooManyRecordsError: Reading the records took longer than the time limit. The transaction
            cannot be used any more.
    """
    question.check()
    async with limited(session, seconds=seconds):
        total, *rest = await _read(session, question, now=now)
    if len(rest) > MOST_FIGURES:
        raise TooManyFiguresError
    has_rows = question.by is not None or question.bucket is not None
    url = question.rows_url()
    return Figures(
        total=_figure(total, question, now=now, total_url=url),
        rows=[_figure(one, question, now=now, total_url=url) for one in rest] if has_rows else [],
    )


def _until(question: InsightQuestion) -> str | None:
    """Return the SQL of the instant before which all sums or records are stored.

    None if the figures of the question do not need this instant.
    """
    if has_place(question):
        return UNTIL
    return None if question.stored is None else question.stored.until


async def _read(session: AsyncSession, question: InsightQuestion, *, now: datetime) -> list[Sums]:
    """Return the sums of the total, then of each key and bucket."""
    settled = None
    until = _until(question)
    if until is not None:
        settled = (await session.execute(text(f"SELECT {until}"))).scalar_one()
    while True:
        compiled = compile_sums(question, now=now, settled=settled)
        statement = _GROUPED.format(relation=compiled.relation)
        if question.measure.unit is Unit.SECONDS:
            statement = _medians(question, compiled.relation)
        found = typed_rows(Sums, await session.execute(text(statement), compiled.values))
        if settled is None or found[0].settled == settled:
            return found
        # The job, which runs once a minute, has added an hour since `settled` was read.
        settled = found[0].settled


def _figure(sums: Sums, question: InsightQuestion, *, now: datetime, total_url: str) -> Figure:
    numerator, denominator, value = _numbers(sums, question)
    unit = question.measure.unit
    labels = {} if question.by is None else BREAKDOWNS[question.by].labels
    interval = None
    if unit is Unit.RATE:
        interval = wilson_interval(sums.counted, sums.records)
    is_enough, needed = _is_enough(sums, question)
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
        else question.rows_url_of(sums.key, sums.bucket_start, total_url=total_url),
    )


def _numbers(
    sums: Sums, question: InsightQuestion
) -> tuple[Number | None, Number | None, Number | None]:
    """Return numerator, denominator and value of a figure."""
    unit = question.measure.unit
    if question.measure.divided is not None:
        return _quotient(sums, question)
    if unit is Unit.RATE:
        return sums.counted, sums.records, format_rate(sums.counted, sums.records)
    if unit is Unit.SECONDS:
        return None, sums.records, None if sums.median is None else round(sums.median)
    if unit is Unit.CENTS:
        cents = int(sums.amount or 0)
        return cents, None, cents
    if question.is_by_share:
        shares = number_of(sums.amount or Decimal(0))
        return shares, None, shares
    return sums.records, None, sums.records


def _quotient(
    sums: Sums, question: InsightQuestion
) -> tuple[Number | None, Number | None, Number | None]:
    """Return numerator, denominator and quotient.

    The quotient is in whole cents; for the unit ``ratio``, it is a decimal number.
    """
    below = question.denominator
    cents = int(sums.divided or 0)
    denominator = Decimal(sums.records)
    if below.measure.is_sum or below.is_by_share:
        denominator = sums.amount or Decimal(0)
    value: Number | None = None
    if denominator:
        exact = Decimal(cents) / denominator
        is_ratio = question.measure.unit is Unit.RATIO
        value = f"{exact:.4f}" if is_ratio else int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    return cents, number_of(denominator), value


def number_of(value: Decimal) -> Number:
    """Return a whole number as an integer; another number as text with at most four decimals."""
    rounded = value.quantize(Decimal("0.0001")).normalize()
    return int(rounded) if rounded == rounded.to_integral_value() else f"{rounded:f}"


def _is_enough(sums: Sums, question: InsightQuestion) -> tuple[bool, int]:
    """Return whether there are enough records, and how many are needed."""
    unit = question.measure.unit
    if unit is Unit.RATE:
        needed = intervals.needed_records(sums.counted, sums.records)
        return intervals.is_rate_enough(sums.counted, sums.records), needed
    if unit is Unit.SECONDS or question.measure.divided is not None:
        return _outcomes_of(sums, question) >= intervals.FEWEST, intervals.FEWEST
    return True, 0


def _outcomes_of(sums: Sums, question: InsightQuestion) -> int:
    """Return the number of records that decides whether a figure is reliable.

    For a ratio of money, it is the number of records of the numerator; for other figures, of all
    records.
    """
    return sums.divided_records if question.measure.unit is Unit.RATIO else sums.records
