"""Compute figures from sums stored for each hour and each day, and from single records.

The table ``insight_tally`` contains the sums. Database triggers update the sums when a record
changes. The sums are read for the whole hours of the period. Single records are read in these
cases:

- The period contains only a part of an hour.
- Only some of the records of an hour are ripe.
- No sums are stored for the records.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from crm_api.domain.insight.measures.dimensions import (
    BREAKDOWNS,
    OF_CAMPAIGN,
    OF_PERSON,
    OF_REPLY,
    OF_TIME,
    Dimension,
)
from crm_api.domain.insight.measures.figure_request import (
    BEGINNING,
    END,
    FigureRequest,
    bucket_start_of,
)
from crm_api.domain.insight.measures.models import NO_CAMPAIGN, TallyGranularity
from crm_api.domain.insight.measures.record_query import StoredSums, in_period

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_YEAR = 2000
DAY_SUMS_AFTER = timedelta(days=30)
"""The age from which sums of whole days are read. For later days, sums of hours are read, because
``enough_at`` is computed from the hour of the first record."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """A period that begins at ``since`` and ends before ``until``."""

    since: datetime
    until: datetime


@dataclass(kw_only=True)
class BoundInstants:
    """The instants that are bound to an SQL statement.

    Attributes:
        prefix: The beginning of the name of each SQL parameter, such as ``numerator``.
        values: The instants, by the name of the parameter, such as ``numerator_2``.
    """

    prefix: str
    values: dict[str, datetime] = field(default_factory=dict)

    def bind(self, value: datetime) -> str:
        """Add an instant as a new SQL parameter; return the SQL expression of this parameter."""
        name = f"{self.prefix}_{len(self.values)}"
        self.values[name] = value
        return f"CAST(:{name} AS timestamptz)"

    def limit(self, sql: str, period: Period) -> str:
        """Return ``sql``, changed to select only the records of a period.

        Args:
            sql: The SQL of a record query.
            period: The period.
        """
        return in_period(sql, since=self.bind(period.since), until=self.bind(period.until))


def floor_time(at: datetime, unit: timedelta) -> datetime:
    """Return the beginning of the hour or the day (UTC) that contains an instant."""
    return at - (at - _EPOCH) % unit


def ceil_time(at: datetime, unit: timedelta) -> datetime:
    """Round an instant up to a full hour or a full day (UTC).

    An instant at the beginning of an hour or day stays the same.

    Args:
        at: The instant.
        unit: The length of an hour or of a day.
    """
    return at + (_EPOCH - at) % unit


@lru_cache(maxsize=512)
def has_whole_hours(zone: str) -> bool:
    """Return whether, since 2000, each full hour in a time zone has also been a full hour in UTC.

    For example, 10:00 in Asia/Kolkata (UTC+5:30) is 04:30 in UTC, so the result is False.
    """
    found = ZoneInfo(zone)
    years = range(_FIRST_YEAR, datetime.now(UTC).year + 2)
    instants = (datetime(year, month, 1, tzinfo=UTC) for year in years for month in (1, 7))
    return all(not (one.astimezone(found).utcoffset() or HOUR) % HOUR for one in instants)


@dataclass(frozen=True, kw_only=True)
class HourSumsSql:
    """The SQL queries that together give a figure: the figure is the sum of all their rows.

    Attributes:
        sums: The query that reads stored sums of whole hours and days.
        records: The queries that read the remaining records one by one.
        values: The values of the SQL parameters.
    """

    sums: str
    records: list[str]
    values: dict[str, datetime]


def compile_hour_sums(request: FigureRequest, prefix: str, *, now: datetime) -> HourSumsSql | None:
    """Return the SQL that reads the figures from stored sums; None if no sums can be used.

    Args:
        request: The wanted figures. For a quotient of two measures, the caller calls this function
            once for each of the two measures.
        prefix: The beginning of the names of the SQL parameters. It must differ between the two
            measures of a quotient.
    """
    stored = request.query.stored_sums
    if stored is None or not _can_use_sums(request):
        return None
    whole = Period(since=request.since or BEGINNING, until=request.until or END)
    hours = Period(since=ceil_time(whole.since, HOUR), until=floor_time(whole.until, HOUR))
    if hours.since >= hours.until:
        return None
    instants = BoundInstants(prefix=prefix)
    edges = [
        Period(since=whole.since, until=hours.since),
        Period(since=hours.until, until=whole.until),
    ]
    ripening = ripening_period(hours, stored, unit=HOUR, now=now)
    if ripening is not None:
        edges.append(ripening)
    records = [instants.limit(stored.summed_records, one) for one in edges if one.since < one.until]
    if stored.other_records is not None:
        records.append(request.in_period(stored.other_records))
    sums = _sums(request, stored, hours, ripening, instants, now=now)
    return HourSumsSql(sums=sums, records=records, values=instants.values)


def _can_use_sums(request: FigureRequest) -> bool:
    if request.by in OF_PERSON | OF_REPLY:
        return False
    return not _needs_hours(request) or has_whole_hours(request.zone)


def _needs_hours(request: FigureRequest) -> bool:
    return request.bucket is not None or request.by in OF_TIME


def ripening_period(
    period: Period, stored: StoredSums, *, unit: timedelta, now: datetime
) -> Period | None:
    """Return the hour or day in which only some of the records are ripe.

    The stored sum also contains the records that are not ripe. So the caller must count the records
    one by one.

    Args:
        unit: One hour or one day.

    Returns:
        The hour or day. If it ends after ``period``, only the part in ``period`` is returned. The
        result is None in two cases:

        - The hour or day does not begin in ``period``.
        - All records are ripe, because ``stored.ripe_after`` is None.
    """
    if stored.ripe_after is None:
        return None
    since = floor_time(now - stored.ripe_after, unit)
    is_inside = period.since <= since < period.until
    return Period(since=since, until=min(since + unit, period.until)) if is_inside else None


def count_unripe(stored: StoredSums, instants: BoundInstants, *, now: datetime) -> str:
    """Return the SQL expression for the number of unripe records in the stored sums.

    An unripe record is so young that its result may still change. For example, a new message may
    still get a reply. The statement must read the stored sums under the alias ``t``.
    """
    if stored.ripe_after is None:
        return "0"
    ripe = instants.bind(now - stored.ripe_after)
    return f"sum(CASE WHEN t.at >= {ripe} THEN {stored.records} ELSE 0 END)"


def leave_out(period: Period, instants: BoundInstants) -> str:
    """Return an SQL condition that excludes the stored sums of ``period``.

    The condition begins with ``AND``.
    """
    since, until = instants.bind(period.since), instants.bind(period.until)
    return f" AND (t.at < {since} OR t.at >= {until})"


def _sums(
    request: FigureRequest,
    stored: StoredSums,
    hours: Period,
    ripening: Period | None,
    instants: BoundInstants,
    *,
    now: datetime,
) -> str:
    """Return the query that adds up the stored sums of the period ``hours``.

    In the hour ``ripening``, only some of the records are ripe. The sums of this hour are left out,
    because the caller reads the records of this hour one by one. If ``ripening`` is None, no sums
    are left out.
    """
    by = request.by
    is_of_campaign = request.is_of_campaign or by in OF_CAMPAIGN - {Dimension.STEP}
    needs_hours = _needs_hours(request)
    conditions = _conditions(request, stored, is_of_campaign=is_of_campaign)
    if ripening is not None:
        conditions += leave_out(ripening, instants)
    sources = " UNION ALL ".join(
        f"SELECT t.* FROM insight_tally t WHERE t.grain = '{granularity}' "
        f"AND t.at >= {instants.bind(one.since)} AND t.at < {instants.bind(one.until)} {conditions}"
        for granularity, one in _periods(
            hours, is_of_campaign=is_of_campaign, needs_hours=needs_hours, now=now
        )
    )
    groups = [
        name
        for name, is_wanted in (
            ("t.campaign_id", is_of_campaign),
            ("t.variant", by is Dimension.VARIANT),
            ("t.step", by is Dimension.STEP),
        )
        if is_wanted
    ]
    if needs_hours:
        groups += _time_keys(request)
    unripe = count_unripe(stored, instants, now=now)
    campaign = f"nullif(t.campaign_id, '{NO_CAMPAIGN}')" if is_of_campaign else "CAST(NULL AS uuid)"
    step = "CAST(:step AS smallint)" if request.step is not None else "CAST(NULL AS smallint)"
    variant = "nullif(t.variant, -1)" if "t.variant" in groups else "CAST(NULL AS smallint)"
    if "t.step" in groups:
        step = "nullif(t.step, -1)"
    grouped = f"GROUP BY {', '.join(groups)}" if groups else ""
    return f"""
        SELECT sum({stored.records}) AS records, sum({stored.counted}) AS counted,
               CAST(sum({stored.amount}) AS numeric) AS amount, {unripe} AS unripe,
               min(t.at) FILTER (WHERE {stored.records} <> 0) AS at,
               {campaign} AS campaign_id,
               {variant} AS variant,
               {step} AS step,
               CAST(NULL AS uuid) AS list_id
        FROM ({sources}) t CROSS JOIN LATERAL (SELECT t.at) b
        {grouped}
        HAVING sum({stored.records}) <> 0
    """


def _time_keys(request: FigureRequest) -> list[str]:
    """Return the SQL expressions that group the stored sums by time.

    The first expression is the beginning of the bucket. The second expression is the key of a
    breakdown by hour or weekday. An expression that the request does not need is left out. In the
    SQL, ``b.at`` is the hour of a sum.
    """
    keys = []
    if request.bucket is not None:
        keys.append(bucket_start_of(request.bucket))
    if request.by in OF_TIME and request.by is not None:
        keys.append(BREAKDOWNS[request.by].key)
    return keys


def _conditions(request: FigureRequest, stored: StoredSums, *, is_of_campaign: bool) -> str:
    found = []
    if is_of_campaign and request.campaign_id is not None:
        found.append("AND t.campaign_id = :campaign_id")
    if request.step is not None:
        found.append("AND t.step = :step")
    elif stored.is_first_step and request.by is not Dimension.STEP:
        found.append("AND t.step = 0")
    return " ".join(found)


def _periods(
    hours: Period, *, is_of_campaign: bool, needs_hours: bool, now: datetime
) -> Iterator[tuple[TallyGranularity, Period]]:
    """Divide ``hours`` into periods, and choose which stored sums are read for each period.

    Args:
        hours: The period to divide. It begins and ends at a full hour.
        is_of_campaign: True if the figures need sums of single campaigns.
        needs_hours: True if sums of days cannot be used.
        now: Sums of days are used only for days that are older than ``DAY_SUMS_AFTER``.

    Yields:
        The kind of the stored sums, and the period for which they are read.
    """
    if not is_of_campaign:
        yield TallyGranularity.ALL, hours
        return
    first = ceil_time(hours.since, DAY)
    last = min(floor_time(hours.until, DAY), floor_time(now - DAY_SUMS_AFTER, DAY))
    if needs_hours or first >= last:
        yield TallyGranularity.HOUR, hours
        return
    if hours.since < first:
        yield TallyGranularity.HOUR, Period(since=hours.since, until=first)
    yield TallyGranularity.DAY, Period(since=first, until=last)
    yield TallyGranularity.HOUR, Period(since=last, until=hours.until)
