"""What a record query is, and from which tables its records or their sums can be read faster.

A record is one thing that a figure counts: a message, an outcome, a credit, an answer or a cost. A
record query is SQL whose rows are the records of a measure. All record queries have the same
columns, so that all measures and breakdowns are compiled in the same way:

``id``, ``kind``, ``at``, ``counted``, ``amount``, ``ripe_at``, ``campaign_id``, ``variant``,
``step``, ``contact_id``, ``source``, ``outcome_id``, ``list_id``.

- ``counted``: whether the record counts in the numerator.
- ``ripe_at``: the instant from which the record is ripe: it can no longer be added to the
  numerator. Before this instant, figures report the record as unripe. If the value is ``infinity``,
  the record is never reported as unripe.
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
        OUTCOME: An outcome.
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
    """The numerator or the denominator of a quotient of two measures.

    Each record of the quotient belongs to one of them.
    """

    NUMERATOR = "numerator"
    DENOMINATOR = "denominator"


@dataclass(frozen=True, kw_only=True)
class StoredSums:
    """SQL expressions that compute figures from stored sums instead of records.

    In the expressions, ``t`` is a row of ``insight_tally`` or ``insight_person_tally``. Both tables
    have the same columns for counts.

    Attributes:
        records: The expression for the number of records that a row counts.
        counted: The expression for the number of these records in the numerator.
        amount: The expression for the sum of the amounts of these records.
        is_first_step: Whether only messages of the first step count. A filter or a breakdown by
            step overrides this.
        ripe_after: How long after its time a record becomes ripe: it can no longer be added to the
            numerator. None if the numerator never changes later.
        summed_records: The query that selects the same records one by one, with the columns of a
            record query. It is used for the parts of a period for which the sums cannot be used.
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
    """A table (alias ``st``) with copies of records, which is faster to read than the records.

    A job copies the records, and adds the place (ZIP, city and source) of the person to each copy.

    Attributes:
        source: The SQL of the table ``st`` and its joins.
        columns: The SQL that selects the columns of a record query from ``st``.
        is_current: The SQL condition for copies that are up to date and in the period.
        not_copied: The query that selects the records without an up-to-date copy from their
            original tables: new records, and records that changed after they were copied.
        until: The SQL of the instant before which all records are copied. ``is_current`` and
            ``not_copied`` may use this instant as the parameter ``:stored_until``. None if neither
            of them uses it.
        breakdowns: For which figures the copies are read. None: for all figures. A collection: only
            for figures with one of these breakdowns, and only if they have no filter by campaign,
            phone line, list or step. If the collection contains None, the copies are also read for
            figures without a breakdown.
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

        It reads the up-to-date copies. It reads all other records from their original tables.
        """
        return self._select("true")

    @property
    def records_without_place(self) -> str:
        """The query that selects the records whose place (ZIP, city and source) is not stored."""
        return self._select("NOT st.is_placed")

    def records_with_place(self, by: str) -> str:
        """Return the query that selects the records whose place is stored.

        In addition to the columns of a record query, it has the column ``place``: the key of the
        breakdown ``by``, which is ``zip``, ``city`` or ``source``.
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
    """The SQL whose rows are the records of a measure, and the tables that are faster to read.

    Attributes:
        sql: The SQL, with the columns that are listed at the top of this module. It contains
            ``$period(…)$``, which ``in_period`` replaces by the conditions on the period. So these
            conditions are inside the query, where PostgreSQL can use an index for them.
        has_campaign: Whether the records belong to a campaign, variant and step.
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

    Each ``$period(column)$`` in the SQL is replaced by the conditions on this column. A bound that
    is None adds no condition. A condition that is always true would not do: with it, the planner of
    PostgreSQL would expect too few records.

    Args:
        sql: The SQL of a record query.
        since: The SQL of the beginning of the period; None if there is none.
        until: The SQL of the end of the period, exclusive; None if there is none.
    """
    bounds = [(sign, one) for sign, one in ((">=", since), ("<", until)) if one is not None]
    return _PERIOD.sub(
        lambda found: " ".join(f"AND {found[1]} {sign} {one}" for sign, one in bounds), sql
    )
