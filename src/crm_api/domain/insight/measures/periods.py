"""Periods of the kept sums, in UTC, and the names of their bounds in SQL."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from crm_api.domain.insight.measures.bases import in_period

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Period:
    """A period from ``since`` until ``until``, exclusive."""

    since: datetime
    until: datetime


@dataclass(kw_only=True)
class Values:
    """The instants to bind to an SQL statement, by parameter name, such as ``numerator_2``."""

    part: str
    found: dict[str, Any] = field(default_factory=dict)

    def name(self, value: datetime) -> str:
        """Store an instant under a new parameter name. Return the SQL expression with this name."""
        name = f"{self.part}_{len(self.found)}"
        self.found[name] = value
        return f"CAST(:{name} AS timestamptz)"


def floor_time(at: datetime, unit: timedelta) -> datetime:
    """Return the beginning of the hour or the day of an instant."""
    return at - (at - _EPOCH) % unit


def ceil_time(at: datetime, unit: timedelta) -> datetime:
    """Return the first beginning of an hour or a day at or after an instant."""
    return at + (_EPOCH - at) % unit


def floor_month(at: datetime) -> datetime:
    """Return the beginning of the month of an instant."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def ceil_month(at: datetime) -> datetime:
    """Return the first beginning of a month at or after an instant."""
    begun = floor_month(at)
    return begun if begun == at else floor_month(begun + 32 * DAY)


def between(rows: str, period: Period, values: Values) -> str:
    """Return the SQL query of a ``Base``, limited to a period."""
    return in_period(rows, since=values.name(period.since), until=values.name(period.until))
