"""Tables with monthly partitions, what delays a drop, and what an archive contains."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, kw_only=True)
class MonthlyTable:
    """A table partitioned by month, by the time of the id.

    Attributes:
        key: Table of the stored provider ids, over all months.
        key_id: Column of the key table with the row's id.
        provider_id: Column of the provider's id, with the same name in both tables.
        waits: SQL condition of rows that still wait; their month is not dropped.
        archived: Columns of an archive. Those that an erasure clears are left out, so that archives
            need not be searched for a person.
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
    """A partition, or a table that was one.

    Attributes:
        first_day: First day of its last month; the oldest partition also holds everything earlier.
        is_attached: False when it was detached and waits to be archived.
    """

    table: MonthlyTable
    name: str
    first_day: date
    is_attached: bool


def month_of(day: date, *, later: int = 0) -> date:
    """Return the first day of the month ``later`` months after ``day``; negative is earlier."""
    months = day.year * 12 + day.month - 1 + later
    return date(months // 12, months % 12 + 1, 1)
