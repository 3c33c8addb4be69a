"""Make the SQL that sums the records of the requested figures.

The SQL reads the fastest source that has the necessary data. From fast to slow, the sources are:

- the sums by the person's ZIP, city or source
- the sums of hours and days
- copies of records
- the records themselves
"""

from datetime import datetime
from typing import Any

from crm_api.domain.insight.measures.dimensions import (
    OF_CAMPAIGN,
    OF_PERSON,
    OF_REPLY,
    OF_TIME,
    Dimension,
)
from crm_api.domain.insight.measures.figure_request import (
    CompiledSql,
    FigureRequest,
    amount_of,
    bucket_start_of,
    select_with_key,
    unite,
)
from crm_api.domain.insight.measures.hour_sums import compile_hour_sums, has_whole_hours
from crm_api.domain.insight.measures.place_sums import compile_place_sums
from crm_api.domain.insight.measures.record_query import Operand, RecordCopies
from crm_api.domain.insight.measures.registry import Unit

UNRIPE = "CAST(b.ripe_at > :as_of AND b.ripe_at < 'infinity' AS integer)"
"""SQL: 1 if a later reply or report may still change how the record ``b`` is counted, otherwise 0.
"""


def compile_sums(
    request: FigureRequest, *, now: datetime, stored_until: datetime | None = None
) -> CompiledSql:
    """Return SQL that sums up the records of the requested figures.

    The SQL can return several rows for one figure. The caller must add up these rows. The columns:

    - ``records``: the number of records.
    - ``counted``: the number of records in the numerator.
    - ``unripe``: the number of records that are not ripe.
    - ``amount``: the sum of the amounts; for a median, an array of the amounts.
    - ``at``: the instant of the earliest record, or the beginning of its hour or day.
    - ``part``, ``key``, ``label`` and ``bucket_start``: which figure the row belongs to.

    If ``has_row_per_record`` returns True, each row is one record. Then the column ``time``
    replaces ``records``, ``counted`` and ``amount``.

    Args:
        stored_until: The stored sums by place, or the copies, contain all records before this
            instant. None if the request uses neither of them.
    """
    relations: list[str] = []
    values: dict[str, Any] = {"as_of": now}
    for operand, own in request.operands.items():
        is_median = own.measure.unit is Unit.SECONDS
        amount = "b.times" if is_median else amount_of(own)
        part = f"'{operand}' AS part"
        sum_columns = f"{part}, b.records, b.counted, {amount} AS amount, b.unripe, b.at"
        record_columns = f"""{part}, 1 AS records, CAST(b.counted AS integer) AS counted,
            {"ARRAY[b.amount]" if is_median else amount} AS amount, {UNRIPE} AS unripe, b.at"""
        by_place = compile_place_sums(own, operand, now=now, stored_until=stored_until)
        if by_place is not None:
            values |= by_place.values
            relations += by_place.sums
            relations += [select_with_key(own, record_columns, one) for one in by_place.records]
            continue
        by_hour = compile_hour_sums(own, operand, now=now)
        if by_hour is not None:
            values |= by_hour.values
            relations.append(select_with_key(own, sum_columns, by_hour.sums))
            relations += [select_with_key(own, record_columns, one) for one in by_hour.records]
            continue
        records = own.in_period(own.query.sql)
        copies = own.copies
        if copies is not None:
            values["stored_until"] = stored_until
            if own.is_by_place:
                relations += _copies_by_place(own, operand, copies)
                continue
            records = own.in_period(copies.all_records)
        if own.by in OF_PERSON | OF_REPLY:
            relations.append(_sums_by_key(own, operand, records))
        else:
            relations.append(select_with_key(own, sum_columns, _grouped(own, records)))
    return unite(request, relations, values=values)


_NULLS = {
    "campaign_id": "CAST(NULL AS uuid)",
    "variant": "CAST(NULL AS smallint)",
    "step": "CAST(NULL AS smallint)",
    "list_id": "CAST(NULL AS uuid)",
    "contact_id": "CAST(NULL AS uuid)",
    "source": "CAST(NULL AS text)",
}


def _copies_by_place(request: FigureRequest, operand: Operand, copies: RecordCopies) -> list[str]:
    """Return two queries for a breakdown by place: ZIP, city or source.

    The first query reads the copies with a stored place. The second query reads all other records,
    and looks up the places. For a median, each row of the two queries is one record. For any other
    measure, each row is the sum of the records with the same place and bucket.
    """
    rest = request.in_period(copies.records_without_place)
    bucket = "CAST(NULL AS timestamptz)"
    if request.bucket is not None:
        bucket = bucket_start_of(request.bucket)
    key = f"b.place AS key, CAST(NULL AS text) AS label, {bucket} AS bucket_start"
    placed = f"({request.in_period(copies.records_with_place(request.by or ''))}) b"
    if has_row_per_record(request):
        columns = f"'{operand}' AS part, b.amount AS time, {UNRIPE} AS unripe, b.at"
        # The rows are ordered by key, so that the planner can read an index that is sorted by key.
        # It then merges the few other records into the result.
        order = "ORDER BY b.place" if request.bucket is None else ""
        return [
            f"(SELECT {columns}, {key} FROM {placed} {order})",
            select_with_key(request, columns, rest),
        ]
    sums = f"""
        (SELECT '{operand}' AS part, count(*) AS records,
               count(*) FILTER (WHERE b.counted) AS counted, sum({amount_of(request)}) AS amount,
               sum({UNRIPE}) AS unripe, min(b.at) AS at, {key}
        FROM {placed} GROUP BY 7, 9)
    """
    return [sums, _sums_by_key(request, operand, rest)]


def has_row_per_record(request: FigureRequest) -> bool:
    """Return True if the SQL of these figures gives one row for each record, and no sums.

    This is the case only for medians by ZIP, city or source. The column ``time`` of a row is then
    the duration of the record, in microseconds.
    """
    is_median = request.measure.unit is Unit.SECONDS
    return is_median and request.copies is not None and request.is_by_place


def _sums_by_key(request: FigureRequest, operand: Operand, records: str) -> str:
    """Return the query that looks up the key of each record, and sums the records by key.

    A key is a value of the breakdown, such as a ZIP.
    """
    is_median = request.measure.unit is Unit.SECONDS
    columns = f"b.counted, {amount_of(request)} AS amount, {UNRIPE} AS unripe, b.at"
    # The records are ordered by contact id, because looking up the contacts in the order of their
    # index halves the time. `OFFSET 0` hides from the planner how a key is computed. Otherwise, the
    # planner would expect as many keys as people, and would sort all records by key.
    ordered = f"SELECT r.* FROM ({records}) r ORDER BY r.contact_id"
    return f"""
        (SELECT '{operand}' AS part, count(*) AS records,
               count(*) FILTER (WHERE x.counted) AS counted,
               {"array_agg(x.amount)" if is_median else "sum(x.amount)"} AS amount,
               sum(x.unripe) AS unripe, min(x.at) AS at, x.key, x.label, x.bucket_start
        FROM (SELECT r.* FROM {select_with_key(request, columns, ordered)} r OFFSET 0) x
        GROUP BY x.key, x.label, x.bucket_start)
    """


def _grouped(request: FigureRequest, records: str) -> str:
    """Return the query that groups the records and sums each group.

    The records of a group have equal values in all columns that the breakdown and the filters need.
    If the request has buckets, or a breakdown by hour or weekday, the records of a group also
    belong to the same hour. If hours in the request's time zone do not begin at full hours in UTC,
    the records of a group have the same instant. The caller adds the key and the label of each
    group.
    """
    needed = _needed_columns(request)
    keys = [f"b.{name}" for name in needed]
    if request.bucket is not None or request.by in OF_TIME:
        is_whole = has_whole_hours(request.zone)
        keys.append("date_bin('1 hour', b.at, '2000-01-01Z')" if is_whole else "b.at")
    is_median = request.measure.unit is Unit.SECONDS
    amounts = (
        "array_agg(b.amount) AS times" if is_median else f"sum({amount_of(request)}) AS amount"
    )
    columns = ", ".join(
        f"b.{name}" if name in needed else f"{null} AS {name}" for name, null in _NULLS.items()
    )
    grouped = f"GROUP BY {', '.join(keys)}" if keys else ""
    return f"""
        SELECT count(*) AS records, count(*) FILTER (WHERE b.counted) AS counted, {amounts},
               sum({UNRIPE}) AS unripe, min(b.at) AS at, {columns}
        FROM ({records}) b
        {grouped}
        HAVING count(*) > 0
    """


def _needed_columns(request: FigureRequest) -> list[str]:
    """Return the columns of a record that the breakdown and the filters of the request need."""
    by = request.by
    needed = []
    if request.is_of_campaign or by in OF_CAMPAIGN - {Dimension.STEP}:
        needed.append("campaign_id")
    if by is Dimension.VARIANT:
        needed.append("variant")
    if by is Dimension.STEP or request.step is not None:
        needed.append("step")
    if by is Dimension.LIST or request.list_id is not None:
        needed.append("list_id")
    return needed
