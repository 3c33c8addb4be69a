"""Which tables lie in months, what holds a month back, and what an archive says of a row."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, kw_only=True)
class MonthlyTable:
    """A table with a partition a month, by the time of the id.

    Attributes:
        key: The table that says which provider's id is stored, over all months.
        key_id: The key's column with the row's id.
        provider_id: The provider's id, by the same name in both tables.
        waits: True of rows with which something still happens: their month is not dropped.
        archived: What an archive keeps of a row. What an erasure takes out of a row is not in it,
            so that nobody has to be searched for in archives.
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
        first_day: Of the month at whose end it ends; the oldest holds what was before, too.
        is_attached: False when it was taken out of its table and waits to be archived.
    """

    table: MonthlyTable
    name: str
    first_day: date
    is_attached: bool


def month_of(day: date, *, later: int = 0) -> date:
    """Return the first day of the month that is so many later, or earlier."""
    months = day.year * 12 + day.month - 1 + later
    return date(months // 12, months % 12 + 1, 1)
