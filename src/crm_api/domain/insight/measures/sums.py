"""Make the SQL that computes the sums for the figures of a question.

A *question* is a measure with a breakdown, a period and filters, such as "reply rate by city in
May".
"""

from datetime import datetime
from typing import Any

from crm_api.domain.insight.measures.bases import Stored
from crm_api.domain.insight.measures.compiling import (
    PARTS,
    CompiledQuestion,
    InsightQuestion,
    amount_of,
    bucket_of,
    join_relations,
    select_from,
)
from crm_api.domain.insight.measures.dimensions import (
    OF_CAMPAIGN,
    OF_PERSON,
    OF_REPLY,
    OF_TIME,
    Dimension,
)
from crm_api.domain.insight.measures.kept import has_whole_hours, pieces_of
from crm_api.domain.insight.measures.kept_people import people_pieces_of
from crm_api.domain.insight.measures.registry import Unit

UNRIPE = "CAST(b.ripe_at > :as_of AND b.ripe_at < 'infinity' AS integer)"


def compile_sums(
    question: InsightQuestion, *, now: datetime, settled: datetime | None = None
) -> CompiledQuestion:
    """Return the sums of a question as an SQL relation, and the values of its parameters.

    Each row has the number of ``records``, how many are ``counted``, their ``amount``, how many are
    ``unripe``, and the first instant ``at``.

    - Where sums are kept in a table, a row is the sum of an hour, a day or a month.
    - Elsewhere, a row is the sum of the records that have the same values in all columns that the
      question needs, such as the campaign or the hour. So names are looked up for few rows.
    - For a median, a row has the amounts of its records as an array. Exception: if ``is_unfolded``
      returns True, each record is a row of its own.

    Args:
        question: The question.
        now: The present instant.
        settled: The instant before which the stored sums or records are complete; None if the
            question does not need it.
    """
    relations: list[str] = []
    values: dict[str, Any] = {"as_of": now}
    for part_of, part in zip(PARTS, question.parts, strict=False):
        is_median = part.measure.unit is Unit.SECONDS
        amount = "b.times" if is_median else amount_of(part)
        of_part = f"'{part_of}' AS part"
        of_sums = f"{of_part}, b.records, b.counted, {amount} AS amount, b.unripe, b.at"
        of_rows = f"""{of_part}, 1 AS records, CAST(b.counted AS integer) AS counted,
            {"ARRAY[b.amount]" if is_median else amount} AS amount, {UNRIPE} AS unripe, b.at"""
        placed = people_pieces_of(part, part_of, now=now, settled=settled)
        if placed is not None:
            values |= placed.values
            relations += placed.relations
            relations += [select_from(part, of_rows, one) for one in placed.rows]
            continue
        found = pieces_of(part, part_of, now=now)
        if found is None:
            records = part.in_period(part.base.sql)
            stored = part.stored
            if stored is not None:
                values["settled"] = settled
                if part.is_placed:
                    relations += _placed(part, part_of, stored)
                    continue
                records = part.in_period(stored.records)
            if part.by in OF_PERSON | OF_REPLY:
                relations.append(_summed_by_key(part, part_of, records))
            else:
                relations.append(select_from(part, of_sums, _grouped(part, records)))
            continue
        values |= found.values
        relations.append(select_from(part, of_sums, found.sums))
        relations += [select_from(part, of_rows, one) for one in found.rows]
    return join_relations(question, relations, values=values)


_NULLS = {
    "campaign_id": "CAST(NULL AS uuid)",
    "variant": "CAST(NULL AS smallint)",
    "step": "CAST(NULL AS smallint)",
    "list_id": "CAST(NULL AS uuid)",
    "contact_id": "CAST(NULL AS uuid)",
    "source": "CAST(NULL AS text)",
}


def _placed(part: InsightQuestion, part_of: str, stored: Stored) -> list[str]:
    """Return the SQL of a breakdown by place: for records with a stored place, and for all others.

    For a median, each row is a record. Otherwise, each row is the sum of the records of a key.
    """
    rest = part.in_period(stored.unplaced)
    bucket = "CAST(NULL AS timestamptz)" if part.bucket is None else bucket_of(part.bucket)
    key = f"b.place AS key, CAST(NULL AS text) AS label, {bucket} AS bucket_start"
    placed = f"({part.in_period(stored.placed(part.by or ''))}) b"
    if is_unfolded(part):
        columns = f"'{part_of}' AS part, b.amount AS time, {UNRIPE} AS unripe, b.at"
        # The order lets the planner read an index by key, and merge the few others into it.
        order = "ORDER BY b.place" if part.bucket is None else ""
        return [
            f"(SELECT {columns}, {key} FROM {placed} {order})",
            select_from(part, columns, rest),
        ]
    sums = f"""
        (SELECT '{part_of}' AS part, count(*) AS records,
               count(*) FILTER (WHERE b.counted) AS counted, sum({amount_of(part)}) AS amount,
               sum({UNRIPE}) AS unripe, min(b.at) AS at, {key}
        FROM {placed} GROUP BY 7, 9)
    """
    return [sums, _summed_by_key(part, part_of, rest)]


def is_unfolded(part: InsightQuestion) -> bool:
    """Return whether the SQL of a median has one row per record, with the column ``time``."""
    return part.measure.unit is Unit.SECONDS and part.stored is not None and part.is_placed


def _summed_by_key(part: InsightQuestion, part_of: str, records: str) -> str:
    """Return the SQL of the sums of records by a key that must be looked up for each record."""
    is_median = part.measure.unit is Unit.SECONDS
    columns = f"b.counted, {amount_of(part)} AS amount, {UNRIPE} AS unripe, b.at"
    # People are looked up in the order of their index, which halves the time. `OFFSET 0` hides what
    # a key is made of: the planner would expect as many keys as people, and sort them.
    ordered = f"SELECT r.* FROM ({records}) r ORDER BY r.contact_id"
    return f"""
        (SELECT '{part_of}' AS part, count(*) AS records,
               count(*) FILTER (WHERE x.counted) AS counted,
               {"array_agg(x.amount)" if is_median else "sum(x.amount)"} AS amount,
               sum(x.unripe) AS unripe, min(x.at) AS at, x.key, x.label, x.bucket_start
        FROM (SELECT r.* FROM {select_from(part, columns, ordered)} r OFFSET 0) x
        GROUP BY x.key, x.label, x.bucket_start)
    """


def _grouped(part: InsightQuestion, records: str) -> str:
    """Return the SQL that sums the records with the same values in the columns that are needed.

    Needed are the columns that the key, the filters and the buckets of the question read.
    """
    read = _columns_of(part)
    keys = [f"b.{name}" for name in read]
    if part.bucket is not None or part.by in OF_TIME:
        is_whole = has_whole_hours(part.zone)
        keys.append("date_bin('1 hour', b.at, '2000-01-01Z')" if is_whole else "b.at")
    is_median = part.measure.unit is Unit.SECONDS
    amounts = "array_agg(b.amount) AS times" if is_median else f"sum({amount_of(part)}) AS amount"
    columns = ", ".join(
        f"b.{name}" if name in read else f"{null} AS {name}" for name, null in _NULLS.items()
    )
    grouped = f"GROUP BY {', '.join(keys)}" if keys else ""
    return f"""
        SELECT count(*) AS records, count(*) FILTER (WHERE b.counted) AS counted, {amounts},
               sum({UNRIPE}) AS unripe, min(b.at) AS at, {columns}
        FROM ({records}) b
        {grouped}
        HAVING count(*) > 0
    """


def _columns_of(part: InsightQuestion) -> list[str]:
    """Return the columns of a record that the key and the filters of a question read."""
    by = part.by
    read = []
    if part.is_of_campaign or by in OF_CAMPAIGN - {Dimension.STEP}:
        read.append("campaign_id")
    if by is Dimension.VARIANT:
        read.append("variant")
    if by is Dimension.STEP or part.step is not None:
        read.append("step")
    if by is Dimension.LIST or part.list_id is not None:
        read.append("list_id")
    return read
