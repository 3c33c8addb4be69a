"""Record queries, and the tables with precomputed records or sums that can replace them.

A record is one thing that a figure counts: a message, an outcome, a credit, an answer of the office
to a person, or a cost. A record query is SQL whose rows are the records of a measure. All record
queries have the same columns, so that all measures and breakdowns are compiled in the same way:

``id``, ``kind``, ``at``, ``counted``, ``amount``, ``ripe_at``, ``campaign_id``, ``variant``,
``step``, ``contact_id``, ``source``, ``outcome_id``, ``list_id``.

- ``counted``: whether the record counts in the numerator.
- ``ripe_at``: until this instant, the record may still be added to the numerator, and figures
  report it as unripe. A record that can never be unripe has the value ``infinity``.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from crm_api.domain.insight.measures.dimensions import Dimension


class RecordKind(StrEnum):
    """The kind of a record that a figure counts.

    Attributes:
        MESSAGE: A message of a campaign to a person; `id` is the id of the recipient.
        OUTCOME: A result of the work with a person, such as an appointment or a paid invoice.
        CREDIT: The share of an outcome that is credited to a message, or to no message; `id` is the
            id of the credit.
        ANSWER: An answer of the office to a person; `id` is the id of the message.
        COST: A cost that was entered.
    """

    MESSAGE = "message"
    OUTCOME = "outcome"
    CREDIT = "credit"
    ANSWER = "answer"
    COST = "cost"


class Operand(StrEnum):
    """The two parts of a figure that is a quotient, such as the cost per reply.

    Each record that the figure counts is marked with its part: numerator or denominator.
    """

    NUMERATOR = "numerator"
    DENOMINATOR = "denominator"


@dataclass(frozen=True, kw_only=True)
class StoredSums:
    """SQL expressions that compute figures from stored sums instead of single records.

    In the expressions, ``t`` is a row of stored sums, from the table ``insight_tally`` or
    ``insight_person_tally``. Both tables have the same columns for counts.

    Attributes:
        records: The expression for the number of records that a row counts.
        counted: The expression for the number of these records in the numerator of the figure.
        amount: The expression for the sum of the amounts of these records.
        is_first_step: True if only the first message of a campaign to each person counts, and
            follow-ups do not. A filter or a breakdown by step overrides this.
        ripe_after: For how long after its time a record can still be added to the numerator. After
            that, the record is ripe. None if the numerator never changes later.
        summed_records: The query that selects the records that the sums count, one by one. It is
            used for the parts of a period for which the sums cannot be used.
        other_records: The query that selects the records that the sums do not count; None if the
            sums count all records of the measure.
    """

    records: str
    counted: str
    amount: str = "CAST(NULL AS integer)"
    is_first_step: bool = False
    ripe_after: timedelta | None = None
    summed_records: str
    other_records: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordCopies:
    """A table (alias ``st``) with copies of records, which can be read faster than the originals.

    A job copies the records, and adds the place (ZIP, city and source) of the person to each copy.

    Attributes:
        source: The SQL of the table ``st`` and its joins.
        columns: The SQL that selects the columns of a record query from ``st``.
        is_current: The SQL condition for copies that are up to date and in the requested period.
        not_copied: The query for all records without an up-to-date copy: new records, and records
            that changed after they were copied. It reads them from their original tables.
        until: The SQL of the instant before which all records are copied. ``is_current`` and
            ``not_copied`` may use this instant as the parameter ``:stored_until``. None if neither
            of them uses it.
        breakdowns: Limits the figures for which the copies are read. None: no limit. A collection:
            only figures with one of these breakdowns, and without a filter by campaign, phone
            line, list or step. The member None means figures without a breakdown.
    """

    source: str
    columns: str
    is_current: str
    not_copied: str
    until: str | None = None
    breakdowns: Collection[Dimension | None] | None = None

    @property
    def all_records(self) -> str:
        """The query that selects all records.

        It reads the copies of records that are up to date. The other records have no up-to-date
        copy, so they are read from their original tables.
        """
        return self._select("true")

    @property
    def records_without_place(self) -> str:
        """The query that selects the records whose place (ZIP, city and source) is not stored."""
        return self._select("NOT st.is_placed")

    def records_with_place(self, by: str) -> str:
        """Return the query that selects the records for which the person's place is stored.

        Args:
            by: ``zip``, ``city`` or ``source``. The column ``place`` contains the person's ZIP,
                city or source.
        """
        return f"""
        SELECT {self.columns}, st.{by} AS place FROM {self.source}
        WHERE st.is_placed AND {self.is_current}
        """

    def _select(self, where: str) -> str:
        return f"""
        SELECT {self.columns} FROM {self.source} WHERE {where} AND {self.is_current}
        UNION ALL {self.not_copied}
        """


@dataclass(frozen=True, kw_only=True)
class RecordQuery:
    """The SQL whose rows are the records of a measure, and tables that can be read faster instead.

    Attributes:
        sql: The SQL, with the columns that are listed at the top of this module. It contains
            ``$period(column)$`` where the conditions on the period belong. The function
            ``in_period`` inserts these conditions there, so that PostgreSQL can use an index.
        has_campaign: Whether the records belong to a campaign, a variant and a step (the first
            message or a follow-up).
        stored_sums: How to compute figures from stored sums; None if no sums are stored.
        copies: The table with copies of the records; None if there is none.
    """

    sql: str
    has_campaign: bool = True
    stored_sums: StoredSums | None = None
    copies: RecordCopies | None = None


_PERIOD = re.compile(r"\$period\((.*?)\)\$")


def in_period(sql: str, *, since: str | None, until: str | None) -> str:
    """Return the SQL of a record query, limited to the records of a period.

    Each ``$period(column)$`` in the SQL is replaced by the conditions on this column. If ``since``
    or ``until`` is None, its condition is left out. A condition that is always true would have the
    same result, but then the planner of PostgreSQL would expect too few records.

    Args:
        sql: The SQL of a record query.
        since: The SQL of the beginning of the period; None if there is none.
        until: The SQL of the end of the period, exclusive; None if there is none.
    """
    bounds = [(sign, one) for sign, one in ((">=", since), ("<", until)) if one is not None]
    return _PERIOD.sub(
        lambda found: " ".join(f"AND {found[1]} {sign} {one}" for sign, one in bounds), sql
    )
