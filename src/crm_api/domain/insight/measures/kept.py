"""Compute figures from the kept sums of whole hours and days, and from the remaining records.

The kept sums are the table ``insight_tally``: triggers add each change of a record to them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from crm_api.domain.insight.measures.bases import KeptSums
from crm_api.domain.insight.measures.compiling import (
    BEGINNING,
    END,
    InsightQuestion,
    bucket_of,
)
from crm_api.domain.insight.measures.dimensions import (
    BREAKDOWNS,
    OF_CAMPAIGN,
    OF_PERSON,
    OF_REPLY,
    OF_TIME,
    Dimension,
)
from crm_api.domain.insight.measures.models import NOBODY, TallyGrain
from crm_api.domain.insight.measures.periods import (
    DAY,
    HOUR,
    Period,
    Values,
    between,
    ceil_time,
    floor_time,
)

YOUNG = timedelta(days=30)
"""Sums of whole days are read only for days that are older than this. For later days, sums of hours
are read, because ``enough_at`` is computed from the hour of the first record."""
_FIRST_YEAR = 2000


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The SQL from which one part of the figures is computed: the numerator or the denominator.

    A figure is the sum of all rows of these queries.

    Attributes:
        sums: The query that selects the kept sums of whole hours and days.
        rows: The queries that select the records that these sums do not count, with the columns of
            a ``Base``.
        values: The values of the SQL parameters.
    """

    sums: str
    rows: list[str]
    values: Mapping[str, Any]


@lru_cache(maxsize=512)
def has_whole_hours(zone: str) -> bool:
    """Return whether each full hour of a time zone has been a full hour of UTC since 2000."""
    found = ZoneInfo(zone)
    years = range(_FIRST_YEAR, datetime.now(UTC).year + 2)
    instants = (datetime(year, month, 1, tzinfo=UTC) for year in years for month in (1, 7))
    return all(not (one.astimezone(found).utcoffset() or HOUR) % HOUR for one in instants)


def pieces_of(question: InsightQuestion, part: str, *, now: datetime) -> Pieces | None:
    """Return the SQL for one part of the figures; None if the kept sums cannot be used.

    Args:
        question: The question of this part: its measure is not a quotient.
        part: The name of the part, such as ``numerator``. It makes the names of SQL parameters
            unique.
        now: The present instant.
    """
    kept = question.base.kept
    if kept is None or not _is_kept(question):
        return None
    whole = Period(since=question.since or BEGINNING, until=question.until or END)
    hours = Period(since=ceil_time(whole.since, HOUR), until=floor_time(whole.until, HOUR))
    if hours.since >= hours.until:
        return None
    values = Values(part=part)
    edges = [
        Period(since=whole.since, until=hours.since),
        Period(since=hours.until, until=whole.until),
    ]
    gap = _gap(hours, kept, now=now)
    if gap is not None:
        edges.append(gap)
    rows = [between(kept.rows, one, values) for one in edges if one.since < one.until]
    if kept.beside is not None:
        rows.append(question.in_period(kept.beside))
    sums = _sums(question, kept, hours, gap, values, now=now)
    return Pieces(sums=sums, rows=rows, values=values.found)


def _is_kept(question: InsightQuestion) -> bool:
    if question.by in OF_PERSON | OF_REPLY:
        return False
    return not _is_timed(question) or has_whole_hours(question.zone)


def _is_timed(question: InsightQuestion) -> bool:
    return question.bucket is not None or question.by in OF_TIME


def _gap(hours: Period, kept: KeptSums, *, now: datetime) -> Period | None:
    """Return the past hour whose records become ripe during the present hour.

    None if the past hour is not in ``hours``, or if records cannot be added to the numerator later.
    A ripe record can no longer be added to the numerator. Some records of the returned hour are
    ripe and some are not. So the records of this hour are counted one by one.
    """
    if kept.ripe is None:
        return None
    since = floor_time(now - kept.ripe, HOUR)
    is_inside = hours.since <= since < hours.until
    return Period(since=since, until=since + HOUR) if is_inside else None


def _sums(
    question: InsightQuestion,
    kept: KeptSums,
    hours: Period,
    gap: Period | None,
    values: Values,
    *,
    now: datetime,
) -> str:
    """Return the SQL that selects the sums of the period ``hours``, without the hour ``gap``."""
    by = question.by
    is_of_campaign = question.is_of_campaign or by in OF_CAMPAIGN - {Dimension.STEP}
    is_timed = _is_timed(question)
    conditions = _conditions(question, kept, is_of_campaign=is_of_campaign)
    if gap is not None:
        conditions += f" AND (t.at < {values.name(gap.since)} OR t.at >= {values.name(gap.until)})"
    sources = " UNION ALL ".join(
        f"SELECT t.* FROM insight_tally t WHERE t.grain = '{grain}' "
        f"AND t.at >= {values.name(one.since)} AND t.at < {values.name(one.until)} {conditions}"
        for grain, one in _sources(hours, is_of_campaign=is_of_campaign, is_timed=is_timed, now=now)
    )
    groups = [
        name
        for name, is_asked in (
            ("t.campaign_id", is_of_campaign),
            ("t.variant", by is Dimension.VARIANT),
            ("t.step", by is Dimension.STEP),
        )
        if is_asked
    ]
    if is_timed:
        groups += _time_keys(question)
    unripe = "0"
    if kept.ripe is not None:
        ripe = values.name(now - kept.ripe)
        unripe = f"sum(CASE WHEN t.at >= {ripe} THEN {kept.records} ELSE 0 END)"
    campaign = f"nullif(t.campaign_id, '{NOBODY}')" if is_of_campaign else "CAST(NULL AS uuid)"
    step = "CAST(:step AS smallint)" if question.step is not None else "CAST(NULL AS smallint)"
    variant = "nullif(t.variant, -1)" if "t.variant" in groups else "CAST(NULL AS smallint)"
    if "t.step" in groups:
        step = "nullif(t.step, -1)"
    grouped = f"GROUP BY {', '.join(groups)}" if groups else ""
    return f"""
        SELECT sum({kept.records}) AS records, sum({kept.counted}) AS counted,
               CAST(sum({kept.amount}) AS numeric) AS amount, {unripe} AS unripe,
               min(t.at) FILTER (WHERE {kept.records} <> 0) AS at,
               {campaign} AS campaign_id,
               {variant} AS variant,
               {step} AS step,
               CAST(NULL AS uuid) AS list_id
        FROM ({sources}) t CROSS JOIN LATERAL (SELECT t.at) b
        {grouped}
        HAVING sum({kept.records}) <> 0
    """


def _time_keys(question: InsightQuestion) -> list[str]:
    """Return the SQL of the keys that depend on the hour ``b.at``.

    These keys are the bucket, and the key of a breakdown by hour or weekday.
    """
    keys = []
    if question.bucket is not None:
        keys.append(bucket_of(question.bucket))
    if question.by in OF_TIME and question.by is not None:
        keys.append(BREAKDOWNS[question.by].key)
    return keys


def _conditions(question: InsightQuestion, kept: KeptSums, *, is_of_campaign: bool) -> str:
    found = []
    if is_of_campaign and question.campaign_id is not None:
        found.append("AND t.campaign_id = :campaign_id")
    if question.step is not None:
        found.append("AND t.step = :step")
    elif kept.is_first_step and question.by is not Dimension.STEP:
        found.append("AND t.step = 0")
    return " ".join(found)


def _sources(
    hours: Period, *, is_of_campaign: bool, is_timed: bool, now: datetime
) -> Iterator[tuple[TallyGrain, Period]]:
    """Yield the grains (hours or days) to read, each with its period.

    Together, the periods cover ``hours``.
    """
    if not is_of_campaign:
        yield TallyGrain.ALL, hours
        return
    first = ceil_time(hours.since, DAY)
    last = min(floor_time(hours.until, DAY), floor_time(now - YOUNG, DAY))
    if is_timed or first >= last:
        yield TallyGrain.HOUR, hours
        return
    if hours.since < first:
        yield TallyGrain.HOUR, Period(since=hours.since, until=first)
    yield TallyGrain.DAY, Period(since=first, until=last)
    yield TallyGrain.HOUR, Period(since=last, until=hours.until)
