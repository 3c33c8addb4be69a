"""Compute figures by ZIP, city or source from stored sums, and from records that the sums lack.

If a record has changed since the sums were updated, the change is read from
``insight_person_change``. Single records are read in these cases:

- The sums (``insight_person_tally``) do not contain the records.
- The period contains only a part of a day.
- Only some of the records of a day are ripe.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from crm_api.domain.insight.measures.dimensions import Dimension
from crm_api.domain.insight.measures.figure_request import (
    BEGINNING,
    END,
    FigureRequest,
    select_with_key,
)
from crm_api.domain.insight.measures.hour_sums import (
    DAY,
    BoundInstants,
    Period,
    ceil_time,
    count_unripe,
    floor_time,
    leave_out,
    ripening_period,
)
from crm_api.domain.insight.measures.models import PlaceDimension, PlaceGranularity


def uses_place_sums(request: FigureRequest) -> bool:
    """Return whether stored sums by ZIP, city or source help to compute a figure.

    Some figures are a quotient of two measures, such as the cost per reply. For these, it is enough
    if there are stored sums for one of the two measures.
    """
    return (
        request.by in {Dimension(one.value) for one in PlaceDimension}
        and request.bucket is None
        and not request.is_of_campaign
        and any(one.query.stored_sums is not None for one in request.operands.values())
    )


@dataclass(frozen=True, kw_only=True)
class PlaceSumsSql:
    """The SQL queries for figures by ZIP, city or source of the contact.

    To compute a figure, add up the rows of all queries.

    Attributes:
        sums: The queries that read stored sums, with the columns of ``figure_sums.compile_sums``.
        records: The queries that read single records, with the columns of ``record_query``.
        values: The values of the SQL parameters.
    """

    sums: list[str]
    records: list[str]
    values: dict[str, datetime]


def compile_place_sums(
    request: FigureRequest, prefix: str, *, now: datetime, stored_until: datetime | None
) -> PlaceSumsSql | None:
    """Return SQL that reads figures by ZIP, city or source from the stored sums.

    The result is None if the stored sums cannot be used. For a quotient of two measures, call this
    function once for each measure.

    Args:
        prefix: ``numerator`` or ``denominator``. It is the value of the column ``part``, and the
            beginning of the names of the SQL parameters.
        stored_until: The stored sums include all records before this instant.
    """
    stored = request.query.stored_sums
    if stored is None or stored_until is None or not uses_place_sums(request):
        return None
    whole = Period(since=request.since or BEGINNING, until=request.until or END)
    days = Period(
        since=ceil_time(whole.since, DAY), until=min(floor_time(whole.until, DAY), stored_until)
    )
    if days.since >= days.until:
        return None
    instants = BoundInstants(prefix=prefix)
    ripening = ripening_period(days, stored, unit=DAY, now=now)
    edges = [
        Period(since=whole.since, until=days.since),
        Period(since=days.until, until=whole.until),
        *([] if ripening is None else [ripening]),
    ]
    records = [instants.limit(stored.summed_records, one) for one in edges if one.since < one.until]
    if stored.other_records is not None:
        records.append(request.in_period(stored.other_records))
    unripe = count_unripe(stored, instants, now=now)
    columns = f"""'{prefix}' AS part, sum({stored.records}) AS records,
               sum({stored.counted}) AS counted,
               CAST(sum({stored.amount}) AS numeric) AS amount, {unripe} AS unripe"""
    conditions = "AND t.is_first" if stored.is_first_step else ""
    if ripening is not None:
        conditions += leave_out(ripening, instants)
    last = _floor_month(days.until if ripening is None else ripening.since)
    months = Period(since=_ceil_month(days.since), until=last)
    sums = [
        _place_sums(
            request,
            _periods(days, months),
            f"{columns}, min(t.first_at) AS at",
            conditions,
            instants,
        ),
        _late_changes(request, days, f"{columns}, min(t.at) AS at", conditions, instants),
    ]
    return PlaceSumsSql(sums=sums, records=records, values=instants.values)


def _floor_month(at: datetime) -> datetime:
    """Return the beginning of the month (UTC) that contains an instant."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _ceil_month(at: datetime) -> datetime:
    """Return the first beginning of a month (UTC) at or after an instant."""
    begun = _floor_month(at)
    return begun if begun == at else _floor_month(begun + 32 * DAY)


def _periods(days: Period, months: Period) -> list[tuple[PlaceGranularity, Period]]:
    """Divide the period ``days`` into three parts: before, during and after ``months``.

    Each part is returned with the kind of sums to read. For ``months``, these are sums of months.
    For the parts before and after ``months``, these are sums of days. If ``months`` is empty, the
    only part is ``days``, with sums of days.

    Args:
        months: A period of whole months in ``days``.
    """
    if months.since >= months.until:
        return [(PlaceGranularity.DAY, days)]
    return [
        (PlaceGranularity.DAY, Period(since=days.since, until=months.since)),
        (PlaceGranularity.MONTH, months),
        (PlaceGranularity.DAY, Period(since=months.until, until=days.until)),
    ]


def _place_sums(
    request: FigureRequest,
    periods: list[tuple[PlaceGranularity, Period]],
    columns: str,
    conditions: str,
    instants: BoundInstants,
) -> str:
    """Return the query that adds up the stored sums of ``periods`` for each ZIP, city or source."""
    sources = " UNION ALL ".join(
        f"SELECT t.* FROM insight_person_tally t "
        f"WHERE t.dimension = '{request.by}' AND t.grain = '{granularity}' "
        f"AND t.at >= {instants.bind(one.since)} AND t.at < {instants.bind(one.until)} {conditions}"
        for granularity, one in periods
        if one.since < one.until
    )
    return f"""
        (SELECT {columns}, t.key, CAST(NULL AS text) AS label,
               CAST(NULL AS timestamptz) AS bucket_start
        FROM ({sources}) t GROUP BY t.key)
    """


def _late_changes(
    request: FigureRequest,
    days: Period,
    columns: str,
    conditions: str,
    instants: BoundInstants,
) -> str:
    """Return the query that adds up late changes of messages and of attempts to send them.

    Late changes are not in the stored sums by ZIP, city or source yet. They are the rows of the
    table ``insight_person_change``.
    """
    source = f"""
        SELECT {columns}, t.contact_id, CAST(NULL AS text) AS source
        FROM insight_person_change t
        WHERE t.at >= {instants.bind(days.since)} AND t.at < {instants.bind(days.until)}
              {conditions}
        GROUP BY t.contact_id
    """
    shown = "b.part, b.records, b.counted, b.amount, b.unripe, b.at"
    return select_with_key(request, shown, source)
