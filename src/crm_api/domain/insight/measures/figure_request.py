"""Describe the figures that a caller wants, such as "reply rate by city in May", and build the SQL.

The SQL reads the records with the record query of the measure. To be faster, the SQL of figures may
read stored sums or copies of records instead.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from crm_api.domain.insight.measures.dimensions import (
    BREAKDOWNS,
    LIST_KEY,
    PLACES,
    BreakdownSql,
    Bucket,
    Dimension,
)
from crm_api.domain.insight.measures.errors import BreakdownError, PeriodError
from crm_api.domain.insight.measures.queries import MICROSECONDS
from crm_api.domain.insight.measures.record_query import (
    Operand,
    RecordCopies,
    RecordQuery,
    in_period,
)
from crm_api.domain.insight.measures.registry import Measure, Unit
from crm_api.domain.kit.schemas import format_instant

BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
END = datetime(8999, 1, 1, tzinfo=UTC)
_CAMPAIGN_JOIN = "LEFT JOIN campaign g ON g.id = b.campaign_id"
_FILTERS = {
    "campaign_id": "b.campaign_id = :campaign_id",
    "line_id": "g.line_id = :line_id",
    "list_id": f"{LIST_KEY} = CAST(CAST(:list_id AS uuid) AS text)",
    "step": "b.step = :step",
}


@dataclass(frozen=True, kw_only=True)
class FigureRequest:
    """Which figures of a measure are wanted. A filter that is None does not filter.

    Attributes:
        by: The breakdown; None if the figures are not broken down.
        since: The first instant of the period.
        until: The end of the period, exclusive.
        bucket: One figure for each day, week or month; None for the whole period.
        zone: The IANA time zone of days, weeks, months, hours and weekdays.
        rules_version: The version of the attribution rules.
    """

    measure: Measure
    by: Dimension | None = None
    since: datetime | None = None
    until: datetime | None = None
    bucket: Bucket | None = None
    zone: str = "UTC"
    campaign_id: UUID | None = None
    line_id: UUID | None = None
    list_id: UUID | None = None
    step: int | None = None
    rules_version: int = 1

    @property
    def is_of_campaign(self) -> bool:
        """Whether the request filters by campaign, phone line, contact list or campaign step."""
        return any(
            one is not None for one in (self.campaign_id, self.line_id, self.list_id, self.step)
        )

    @property
    def query(self) -> RecordQuery:
        """The record query: SQL that selects the records that the figures count."""
        return self.measure.query_for(self.by, is_of_campaign=self.is_of_campaign)

    @property
    def copies(self) -> RecordCopies | None:
        """The table with copies of the records that the figures count.

        The copies can be read faster than the records. The result is None if the figures cannot be
        computed from copies.
        """
        found = self.query.copies
        if found is None or found.breakdowns is None:
            return found
        return found if self.by in found.breakdowns and not self.is_of_campaign else None

    @property
    def is_by_place(self) -> bool:
        """Whether the figures are grouped by the person's place: ZIP, city or source.

        This is False if the request filters by campaign, phone line, list or step.
        """
        return self.by in PLACES and not self.is_of_campaign

    @property
    def is_by_share(self) -> bool:
        """Whether the figure adds up shares of outcomes, such as 1/3, not whole outcomes.

        An outcome has shares if several messages are credited with it.
        """
        return self.query is self.measure.by_campaign and not self.measure.is_sum

    @property
    def operands(self) -> "dict[Operand, FigureRequest]":
        """The requests that must be computed to get the figures of this request.

        If the measure is a quotient of two measures, the result has a request for each of the two
        measures, with the keys ``NUMERATOR`` and ``DENOMINATOR``. If the measure is not a
        quotient, the result has only this request, with the key ``DENOMINATOR``.
        """
        if self.measure.quotient_of is None:
            return {Operand.DENOMINATOR: self}
        numerator, denominator = self.measure.quotient_of
        return {
            Operand.DENOMINATOR: replace(self, measure=denominator),
            Operand.NUMERATOR: replace(self, measure=numerator),
        }

    @property
    def needs_credits(self) -> bool:
        """Whether the figures are computed from credits.

        A credit is the share of an outcome, such as 1/3, that one message gets.
        """
        return any(":rules_version" in one.query.sql for one in self.operands.values())

    def in_period(self, sql: str) -> str:
        """Limit a record query to the period of this request, and return its SQL.

        A record query selects the records that a figure counts, such as messages.
        """
        return in_period(
            sql,
            since=None if self.since is None else ":since",
            until=None if self.until is None else ":until",
        )

    def check(self) -> None:
        """Raise an error if the measure cannot give these figures.

        Raises:
            BreakdownError: The measure does not allow the breakdown or the filter.
            PeriodError: The end of the period is not after its beginning.
        """
        allowed = sorted(one.value for one in self.measure.by)
        if self.by is not None and self.by not in self.measure.by:
            raise BreakdownError(
                f"The measure {self.measure.name} cannot be broken down by {self.by}. It allows: "
                f"{', '.join(allowed)}."
            )
        if self.is_of_campaign and not all(
            one.query.has_campaign for one in self.operands.values()
        ):
            raise BreakdownError(
                f"The measure {self.measure.name} does not belong to campaigns. Leave out the "
                "filters by campaign, line, list and step."
            )
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise PeriodError

    def rows_url(self) -> str:
        """Return the URL path of the list of all records that the figure counts."""
        given = {
            "measure": self.measure.name,
            "by": self.by,
            "from": self.since and format_instant(self.since),
            "to": self.until and format_instant(self.until),
            "bucket": self.bucket,
            "timezone": self.zone,
            "campaign_id": self.campaign_id,
            "line_id": self.line_id,
            "list_id": self.list_id,
            "step": self.step,
            "rules": self.rules_version,
        }
        query = urlencode({name: str(one) for name, one in given.items() if one is not None})
        return f"/v1/insight/rows?{query}"

    def rows_url_of(self, key: str | None, bucket_start: datetime | None, *, total_url: str) -> str:
        """Return the URL path of the list of records that one figure counts.

        Args:
            key: The value of the breakdown, such as a ZIP; None for the records that have no value.
                It is ignored if the request has no breakdown.
            bucket_start: The beginning of the figure's bucket; None if the figures have no buckets.
            total_url: The result of ``rows_url``: the URL path of the list of all records.
        """
        given = {}
        if self.by is not None:
            given["key"] = key or ""
        if bucket_start is not None:
            given["bucket_start"] = format_instant(bucket_start)
        return f"{total_url}&{urlencode(given)}" if given else total_url


@dataclass(frozen=True, kw_only=True)
class CompiledSql:
    """An SQL subquery from which figures are computed, with the values of its parameters.

    Attributes:
        relation: The subquery. Each row is one record, or a sum of several records, with the
            columns ``key``, ``label`` and ``bucket_start`` (see ``select_with_key``).
        values: The values of the parameters, by name.
    """

    relation: str
    values: dict[str, Any]


def compile_records(request: FigureRequest) -> CompiledSql:
    """Return the SQL that selects the records of the requested figures, one row for each record.

    For a quotient of two measures, the column ``part`` says whether a record belongs to the
    numerator or the denominator.
    """
    relations = [
        select_with_key(
            own,
            f"""'{operand}' AS part, b.id, b.kind, b.at, b.counted, {_shown_amount(own)} AS amount,
            b.ripe_at, b.campaign_id, b.step, b.contact_id, b.outcome_id""",
            own.in_period(own.query.sql),
        )
        for operand, own in request.operands.items()
    ]
    return unite(request, relations)


def unite(
    request: FigureRequest,
    relations: list[str],
    *,
    values: dict[str, Any] | None = None,
) -> CompiledSql:
    """Combine queries with UNION ALL; return the SQL and the values of its parameters.

    Args:
        request: The request whose period, time zone, filters and version of the attribution rules
            become values of SQL parameters.
        relations: The queries, each in parentheses.
        values: The values of further SQL parameters, by name.
    """
    relation = " UNION ALL ".join(relations)
    known: dict[str, Any] = {
        "since": request.since,
        "until": request.until,
        "zone": request.zone,
        "all_steps": request.by is Dimension.STEP or request.step is not None,
        "rules_version": request.rules_version,
        **{name: getattr(request, name) for name in _FILTERS},
        **(values or {}),
    }
    return CompiledSql(
        relation=relation,
        values={name: one for name, one in known.items() if f":{name}" in relation},
    )


def amount_of(request: FigureRequest) -> str:
    """Return the SQL expression of the amount of a row; the alias of the row is ``b``.

    The expression is NULL if the measure has no amounts. The row is one record, or the stored sums
    of several records.
    """
    measure = request.measure
    has_amount = measure.is_sum or measure.unit is Unit.SECONDS or request.is_by_share
    return "b.amount" if has_amount else "CAST(NULL AS numeric)"


def _shown_amount(request: FigureRequest) -> str:
    """Return the SQL expression for a record's amount, in cents, seconds or shares."""
    amount = amount_of(request)
    is_time = request.measure.unit is Unit.SECONDS
    return f"CAST({amount} AS numeric) / {MICROSECONDS}" if is_time else amount


def select_with_key(request: FigureRequest, columns: str, source: str) -> str:
    """Return the query that selects ``columns`` from ``source``, with three additional columns.

    - ``key``: The value of the breakdown; NULL without a breakdown.
    - ``label``: The name that users see for the key; NULL if they see the key itself.
    - ``bucket_start``: The beginning of the bucket; NULL without buckets.

    The filters of the request are applied.

    Args:
        columns: SQL in which ``b`` is a row of ``source``.
        source: A query whose rows are records or sums of records.
    """
    breakdown = BreakdownSql(key="CAST(NULL AS text)")
    if request.by is not None:
        breakdown = BREAKDOWNS[request.by]
    filters = [
        condition for name, condition in _FILTERS.items() if getattr(request, name) is not None
    ]
    joins = breakdown.joins
    if filters and _CAMPAIGN_JOIN not in joins:
        joins = f"{_CAMPAIGN_JOIN} {joins}"
    bucket = "CAST(NULL AS timestamptz)"
    if request.bucket is not None:
        bucket = bucket_start_of(request.bucket)
    where = f"WHERE {' AND '.join(filters)}" if filters else ""
    return f"""
        (SELECT {columns},
               nullif({breakdown.key}, '') AS key, CAST({breakdown.label} AS text) AS label,
               {bucket} AS bucket_start
        FROM ({source}) b
        {joins}
        {where})
    """


def bucket_start_of(bucket: Bucket) -> str:
    """Return the SQL expression for the start of the day, week or month of a record.

    In the complete SQL, ``b`` must be the alias of the records.
    """
    return f"date_trunc('{bucket.value}', b.at, CAST(:zone AS text))"
