"""Record queries, and the tables with precomputed records or sums that can replace them.

All record queries have the same columns:

``id``, ``kind``, ``at``, ``counted``, ``amount``, ``ripe_at``, ``campaign_id``, ``variant``,
``step``, ``contact_id``, ``source``, ``outcome_id``, ``list_id``.

- ``counted``: whether the record counts in the numerator of a rate.
- ``ripe_at``: the instant from which ``counted`` is final; ``infinity`` for records that are always
  ripe.
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
        MESSAGE: A message to a person. `id` is the id of the recipient, or of the attempt if the
            measure sums costs.
        OUTCOME: A result, such as an appointment or a paid invoice.
        CREDIT: The share of an outcome that is credited to a message, or to no message.
        ANSWER: An answer of a user to a person; `id` identifies the message.
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

    In the SQL expressions, ``t`` is a row of ``insight_tally`` or ``insight_person_tally``.

    Attributes:
        records: SQL expression for the number of records in the row.
        counted: SQL expression for the number of these records that count in the numerator.
        amount: SQL expression for the sum of the amounts of these records.
        is_first_step: True to leave out follow-ups, unless the request has a filter or a breakdown
            by step.
        ripe_after: The age at which a record is ripe; None if every record is ripe.
        summed_records: SQL query for the records in the sums. It is used for periods whose sums
            cannot be used, such as a part of an hour.
        other_records: SQL query for the records that are not in the sums; None if all records are
            in the sums.
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

    A copy also contains the person's place, and is faster to read than the record.

    Attributes:
        source: The SQL of the table, with the alias ``st``, and its joins.
        columns: The SQL that selects the columns of a record query from the table.
        is_current: The SQL condition for up-to-date copies in the requested period.
        not_copied: The query for all records without an up-to-date copy.
        until: SQL expression of the instant before which all records are copied. ``is_current`` and
            ``not_copied`` use this instant as the value of the parameter ``:stored_until``. None if
            they do not have this parameter.
        breakdowns: The breakdowns for which the copies are used; the element None means figures
            without a breakdown. The copies are not used for figures with a filter by campaign,
            line, list or step. If ``breakdowns`` itself is None, all figures use the copies, also
            figures with these filters.
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
    """The SQL that selects the records of a measure, and faster sources of the same data.

    The faster sources are stored sums and copies of records.

    Attributes:
        sql: SQL with the columns that all record queries have. The function ``in_period`` replaces
            each ``$period(column)$`` in it.
        has_campaign: True if the records have a campaign, a variant and a step.
    """

    sql: str
    has_campaign: bool = True
    stored_sums: StoredSums | None = None
    copies: RecordCopies | None = None


_PERIOD = re.compile(r"\$period\((.*?)\)\$")


def in_period(sql: str, *, since: str | None, until: str | None) -> str:
    """Limit a record query to a period, and return its SQL.

    Each ``$period(column)$`` becomes ``AND column >= {since} AND column < {until}``. If ``since``
    or ``until`` is None, its condition is left out.

    Args:
        since: The SQL of the beginning of the period.
        until: The SQL of the end of the period, exclusive.
    """
    bounds = [(sign, one) for sign, one in ((">=", since), ("<", until)) if one is not None]
    return _PERIOD.sub(
        lambda found: " ".join(f"AND {found[1]} {sign} {one}" for sign, one in bounds), sql
    )
