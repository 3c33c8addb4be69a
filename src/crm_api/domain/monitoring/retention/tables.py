"""The tables with monthly partitions, and which of their columns an archive contains."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, kw_only=True)
class MonthlyTable:
    """A table with one partition per month. The time in the id of a row decides its month.

    Attributes:
        name: The name of the table.
        key: The name of a second table, which keeps the provider's ids unique over all months.
        key_id: The column of the second table that has the id of the row.
        provider_id: The column with the provider's id; it has this name in both tables.
        waits: The SQL condition of rows with unfinished work. A month with such a row is not
            dropped.
        archived: The columns of an archive. Columns that an erasure clears are left out, so
            archives have nothing that must be erased.
    """

    name: str
    key: str
    key_id: str
    provider_id: str
    waits: str
    archived: tuple[str, ...]


WEBHOOK_EVENT = MonthlyTable(
    name="webhook_event",
    key="webhook_event_key",
    key_id="event_id",
    provider_id="provider_event_id",
    waits="status IN ('pending', 'failed')",
    archived=(
        "id",
        "provider_event_id",
        "delivery_id",
        "scheme",
        "type",
        "status",
        "attempts",
        "error_code",
        "received_at",
        "processed_at",
        "encode(sha256(convert_to(payload::text, 'UTF8')), 'hex') AS payload_sha256",
    ),
)
ACTIVITY = MonthlyTable(
    name="activity",
    key="activity_key",
    key_id="activity_id",
    provider_id="openphone_id",
    waits="status IN ('queued', 'sending', 'unknown')",
    archived=(
        "id",
        "kind",
        "direction",
        "origin",
        "line_id",
        "conversation_id",
        "contact_id",
        "campaign_id",
        "openphone_id",
        "user_id",
        "status",
        "rank",
        "error_code",
        "occurred_at",
        "created_at",
        "updated_at",
    ),
)
TABLES = (WEBHOOK_EVENT, ACTIVITY)


@dataclass(frozen=True, slots=True)
class Month:
    """The rows of one month: a partition, or a separate table after it was detached.

    Attributes:
        table: The table to which the month belongs.
        name: The name of the partition.
        first_day: The first day of the month. The oldest partition also has all earlier rows.
        is_attached: False if the month was detached and waits to be archived.
    """

    table: MonthlyTable
    name: str
    first_day: date
    is_attached: bool


def month_of(day: date, *, later: int = 0) -> date:
    """Return the first day of the month that is ``later`` months after the month of ``day``.

    A negative number means earlier months.
    """
    months = day.year * 12 + day.month - 1 + later
    return date(months // 12, months % 12 + 1, 1)
