"""Record queries, and the tables with precomputed records or sums that can replace them.

A record is one thing that a figure counts, such as a message, an outcome or a cost. A record query
is SQL that selects the records of a measure. All record queries have the same columns:

``id``, ``kind``, ``at``, ``counted``, ``amount``, ``ripe_at``, ``campaign_id``, ``variant``,
``step``, ``contact_id``, ``source``, ``outcome_id``, ``list_id``.

- ``counted``: whether the record counts in the numerator of a rate. In the reply rate, for
  example, a message with a reply counts.
- ``ripe_at``: the instant from which ``counted`` is final. Before this instant, the record is
  called unripe: ``counted`` may still change. Exception: a record with ``infinity`` is always
  ripe; its ``counted`` never changes.
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
        MESSAGE: A message to a person; `id` is the id of the recipient. In a figure of costs, `id`
            is the id of the attempt to send the message.
        OUTCOME: A result of the work with a person, such as an appointment or a paid invoice.
        CREDIT: The share of an outcome that is credited to a message, or to no message; `id` is the
            id of the credit.
        ANSWER: An answer of a user to a person; `id` is the id of the message.
        COST: A cost that was entered.
    """

    MESSAGE = "message"
    OUTCOME = "outcome"
    CREDIT = "credit"
    ANSWER = "answer"
    COST = "cost"


class Operand(StrEnum):
    """The part of a quotient in which a record counts: numerator or denominator.

    For example, in the cost per reply, a cost counts in the numerator, and a reply in the
    denominator.
    """

    NUMERATOR = "numerator"
    DENOMINATOR = "denominator"


@dataclass(frozen=True, kw_only=True)
class StoredSums:
    """How to compute a figure from stored sums, which are faster to read than single records.

    In the SQL expressions, ``t`` is a row of ``insight_tally`` or ``insight_person_tally``. Such a
    row counts the records of a period, such as a day.

    Attributes:
        records: SQL expression for the number of records in the row.
        counted: SQL expression for the number of these records that count in the numerator.
        amount: SQL expression for the sum of the amounts of these records.
        is_first_step: True if only first messages count, not follow-ups. But if the request has a
            filter or a breakdown by step, the request decides which steps count.
        ripe_after: How long the result of a record may still change, for example because a reply
            arrives. None if the result never changes.
        summed_records: SQL query for the single records that the sums include. It is used where a
            sum covers too much time. For example, a sum of a whole day does not help for half an
            hour.
        other_records: SQL query for the records that the sums do not include; None if all records
            are in the sums.
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
    """A table with copies of records, and the SQL that reads it.

    A record is one thing that a figure counts, such as a message. A job copies the records. Each
    copy also contains the place of the person: ZIP, city and source. The copies can be read faster
    than the original records.

    Attributes:
        source: The SQL of the table and its joins. The table has the alias ``st``.
        columns: The SQL that selects the columns of a record query from the table.
        is_current: The SQL condition for up-to-date copies in the requested period.
        not_copied: The query for all records without an up-to-date copy. It reads the original
            tables.
        until: SQL expression of an instant. All records before this instant are copied. The SQL in
            ``is_current`` and ``not_copied`` gets the instant as the parameter ``:stored_until``.
            None if the parameter is not used.
        breakdowns: If None, all figures use the copies. Otherwise, only figures with one of these
            breakdowns, and without a filter by campaign, phone line, list or step, use them. The
            element None is for figures without a breakdown.
    """

    source: str
    columns: str
    is_current: str
    not_copied: str
    until: str | None = None
    breakdowns: Collection[Dimension | None] | None = None

    @property
    def all_records(self) -> str:
        """The SQL that selects all records (the things that a figure counts).

        Records with an up-to-date copy are read from the table of copies. All other records are
        read from the original tables.
        """
        return self._select("true")

    @property
    def records_without_place(self) -> str:
        """The query for all records that ``records_with_place`` does not select.

        Some of these records have an up-to-date copy in which the person's place (ZIP, city and
        source) is not stored yet. The others have no up-to-date copy.
        """
        return self._select("NOT st.is_placed")

    def records_with_place(self, by: str) -> str:
        """Return the query that reads the up-to-date copies in which the person's place is stored.

        The place is the ZIP, the city and the source.

        Args:
            by: The part of the place that the query returns in the column ``place``: ``zip``,
                ``city`` or ``source``.
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
    """SQL that selects the records of a measure, and stored sums or copies that are read faster.

    A record is one thing that a figure counts, such as a message.

    Attributes:
        sql: The SQL. The beginning of this module lists its columns. The function ``in_period``
            replaces each ``$period(column)$`` in the SQL by the conditions on the period.
        has_campaign: True if the records belong to campaigns. Then they also have a variant and a
            step (the first message or a follow-up).
        stored_sums: How to compute figures from stored sums; None if no sums are stored.
        copies: The table with copies of the records; None if there is none.
    """

    sql: str
    has_campaign: bool = True
    stored_sums: StoredSums | None = None
    copies: RecordCopies | None = None


_PERIOD = re.compile(r"\$period\((.*?)\)\$")


def in_period(sql: str, *, since: str | None, until: str | None) -> str:
    """Limit a record query to a period, and return its SQL.

    A record query selects the records that a figure counts, such as messages. Each
    ``$period(column)$`` in its SQL is replaced by conditions on this column. For example,
    ``$period(at)$`` becomes ``AND at >= {since} AND at < {until}``. If ``since`` or ``until`` is
    None, its condition is left out.

    Args:
        sql: The SQL of a record query.
        since: The SQL of the beginning of the period; None if there is none.
        until: The SQL of the end of the period, exclusive; None if there is none.
    """
    bounds = [(sign, one) for sign, one in ((">=", since), ("<", until)) if one is not None]
    return _PERIOD.sub(
        lambda found: " ".join(f"AND {found[1]} {sign} {one}" for sign, one in bounds), sql
    )
