"""Is this silence unusual? Judged by the same stretch of the week in the weeks before; all pure.

The stretch runs from the last event until now. In each week before, it is counted in how many slots
of ten minutes of the very same stretch something came, by the clock on the wall, so that a lunch
hour is compared with lunch hours. Slots, not events: a campaign's hundreds of reports in an hour
say no more about the next hour than a few do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from crm_api.domain.compliance.rules import is_federal_holiday

WEEKS = 8
"""How far back is compared: long enough to tell, short enough to follow a business that changes."""
FEWEST_WEEKS = 4
SLOT = timedelta(minutes=10)
LONGEST = timedelta(days=7)
"""A longer silence is as unusual as one of a week."""
UNUSUAL = 1e-4
"""It is looked hourly, 8,760 times a year, so that chance alone alarms less than once in it."""
WEEK = timedelta(days=7)

Span = tuple[datetime, datetime]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be thought of a silence.

    Attributes:
        counts: Slots in which something came, week by week.
        chance: Of nothing in such a stretch, if all were as usual; None: it cannot be told.
        why_not: Why it cannot be told.
    """

    counts: tuple[int, ...]
    chance: float | None
    why_not: str | None = None

    @property
    def is_unusual(self) -> bool:
        """True when it is worth an alarm."""
        return self.chance is not None and self.chance < UNUSUAL


def earlier_spans(
    since: datetime, now: datetime, *, first_at: datetime | None, zone: str
) -> list[Span]:
    """Return the same stretch in each week before of which there is a record, the last first.

    Args:
        since: When the last event came.
        first_at: When the first one of all came.
        zone: In whose clock a week later is the same hour.
    """
    if first_at is None:
        return []
    begin = max(since, now - LONGEST)
    place = ZoneInfo(zone)
    spans = [(_back(begin, week, place), _back(now, week, place)) for week in range(1, WEEKS + 1)]
    return [(starts, ends) for starts, ends in spans if starts >= first_at]


def judge(counts: Sequence[int], *, now: datetime, zone: str) -> Verdict:
    """Say how unusual it is that nothing came, given what came in the weeks before.

    Of a holiday nothing is said: it has few like it, and those are not seven days back.
    """
    told = tuple(counts)
    if len(told) < FEWEST_WEEKS:
        return Verdict(counts=told, chance=None, why_not="less than four weeks are on record")
    if is_federal_holiday(now.astimezone(ZoneInfo(zone)).date()):
        return Verdict(counts=told, chance=None, why_not="it is a federal holiday")
    return Verdict(counts=told, chance=chance_of_none(told))


def chance_of_none(counts: Sequence[int]) -> float:
    """Return the probability of no slot with an event, after so many in comparable stretches.

    Of Poisson counts with Jeffreys' prior the next one is 0 with ``(n / (n + 1)) ** (sum + 1/2)``:
    what is not known of the mean counts against an alarm. Weeks differ by more than chance (a
    campaign runs or does not), so the sum is divided by how much more the counts vary than
    Poisson's would.
    """
    weeks, total = len(counts), sum(counts)
    if weeks == 0 or total == 0:
        return 1.0
    mean = total / weeks
    spread = sum((count - mean) ** 2 for count in counts) / max(weeks - 1, 1)
    dispersion = max(1.0, spread / mean)
    return float((weeks / (weeks + 1)) ** (total / dispersion + 0.5))


def _back(at: datetime, weeks: int, place: ZoneInfo) -> datetime:
    return (at.astimezone(place) - weeks * WEEK).astimezone(UTC)
