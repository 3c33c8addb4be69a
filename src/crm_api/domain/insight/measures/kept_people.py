"""Compute figures by ZIP, city or source from the sums by place, and from the remaining records.

The sums by place are the table ``insight_person_tally``.
"""

from dataclasses import dataclass
from datetime import datetime

from crm_api.domain.insight.measures.bases import KeptSums
from crm_api.domain.insight.measures.compiling import BEGINNING, END, InsightQuestion, select_from
from crm_api.domain.insight.measures.dimensions import Dimension
from crm_api.domain.insight.measures.people_models import PlaceDimension, PlaceGrain
from crm_api.domain.insight.measures.periods import (
    DAY,
    Period,
    Values,
    between,
    ceil_month,
    ceil_time,
    floor_month,
    floor_time,
)


def has_place(question: InsightQuestion) -> bool:
    """Return whether the numerator or the denominator can be computed from the sums by place."""
    return (
        question.by in {Dimension(one.value) for one in PlaceDimension}
        and question.bucket is None
        and not question.is_of_campaign
        and any(one.base.kept is not None for one in question.parts)
    )


@dataclass(frozen=True, kw_only=True)
class PeoplePieces:
    """The SQL from which one part of the figures is computed: the numerator or the denominator.

    A figure is the sum of all rows of these queries.

    Attributes:
        relations: The queries that select sums, with the columns part, records, counted, amount,
            unripe, at, key, label and bucket_start.
        rows: The queries that select the records that these sums do not count, with the columns of
            a ``Base``.
        values: The values of the SQL parameters.
    """

    relations: list[str]
    rows: list[str]
    values: dict[str, datetime]


def people_pieces_of(
    question: InsightQuestion, part: str, *, now: datetime, settled: datetime | None
) -> PeoplePieces | None:
    """Return the SQL for one part of the figures; None if the sums by place cannot be used.

    Args:
        question: The question of this part: its measure is not a quotient.
        part: The name of the part, such as ``numerator``. It makes the names of SQL parameters
            unique.
        now: The present instant.
        settled: The instant before which the sums have all records.
    """
    kept = question.base.kept
    if kept is None or settled is None or not has_place(question):
        return None
    whole = Period(since=question.since or BEGINNING, until=question.until or END)
    days = Period(
        since=ceil_time(whole.since, DAY), until=min(floor_time(whole.until, DAY), settled)
    )
    if days.since >= days.until:
        return None
    values = Values(part=part)
    gap = _gap(days, kept, now=now)
    edges = [
        Period(since=whole.since, until=days.since),
        Period(since=days.until, until=whole.until),
        *([] if gap is None else [gap]),
    ]
    rows = [between(kept.rows, one, values) for one in edges if one.since < one.until]
    if kept.beside is not None:
        rows.append(question.in_period(kept.beside))
    unripe = "0"
    if kept.ripe is not None:
        ripe = values.name(now - kept.ripe)
        unripe = f"sum(CASE WHEN t.at >= {ripe} THEN {kept.records} ELSE 0 END)"
    sums = f"""'{part}' AS part, sum({kept.records}) AS records, sum({kept.counted}) AS counted,
               CAST(sum({kept.amount}) AS numeric) AS amount, {unripe} AS unripe"""
    outside = "AND t.is_first" if kept.is_first_step else ""
    if gap is not None:
        outside += f" AND (t.at < {values.name(gap.since)} OR t.at >= {values.name(gap.until)})"
    last = floor_month(days.until if gap is None else gap.since)
    months = Period(since=ceil_month(days.since), until=last)
    relations = [
        _kept(question, _grains(days, months), f"{sums}, min(t.first_at) AS at", outside, values),
        _changed(question, days, f"{sums}, min(t.at) AS at", outside, values),
    ]
    return PeoplePieces(relations=relations, rows=rows, values=values.found)


def _gap(days: Period, kept: KeptSums, *, now: datetime) -> Period | None:
    """Return the past day whose records become ripe during the present day.

    None if the past day is not in ``days``, or if records cannot be added to the numerator later. A
    ripe record can no longer be added to the numerator. Some records of the returned day are ripe
    and some are not. So the records of this day are counted one by one.
    """
    if kept.ripe is None:
        return None
    since = floor_time(now - kept.ripe, DAY)
    is_inside = days.since <= since < days.until
    return Period(since=since, until=min(since + DAY, days.until)) if is_inside else None


def _grains(days: Period, months: Period) -> list[tuple[PlaceGrain, Period]]:
    """Return the periods to read, each with its grain: whole months, and the days around them."""
    if months.since >= months.until:
        return [(PlaceGrain.DAY, days)]
    return [
        (PlaceGrain.DAY, Period(since=days.since, until=months.since)),
        (PlaceGrain.MONTH, months),
        (PlaceGrain.DAY, Period(since=months.until, until=days.until)),
    ]


def _kept(
    question: InsightQuestion,
    grains: list[tuple[PlaceGrain, Period]],
    sums: str,
    outside: str,
    values: Values,
) -> str:
    """Return the SQL of the kept sums."""
    sources = " UNION ALL ".join(
        f"SELECT t.* FROM insight_person_tally t "
        f"WHERE t.dimension = '{question.by}' AND t.grain = '{grain}' "
        f"AND t.at >= {values.name(one.since)} AND t.at < {values.name(one.until)} {outside}"
        for grain, one in grains
        if one.since < one.until
    )
    return f"""
        (SELECT {sums}, t.key, CAST(NULL AS text) AS label,
               CAST(NULL AS timestamptz) AS bucket_start
        FROM ({sources}) t GROUP BY t.key)
    """


def _changed(
    question: InsightQuestion, days: Period, sums: str, outside: str, values: Values
) -> str:
    """Return the SQL of the late changes, which are not in the sums yet."""
    source = f"""
        SELECT {sums}, t.contact_id, CAST(NULL AS text) AS source
        FROM insight_person_change t
        WHERE t.at >= {values.name(days.since)} AND t.at < {values.name(days.until)} {outside}
        GROUP BY t.contact_id
    """
    columns = "b.part, b.records, b.counted, b.amount, b.unripe, b.at"
    return select_from(question, columns, source)
