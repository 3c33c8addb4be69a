"""Pacing: how many texts of a campaign may be claimed now, and when the next ones.

All of it is pure. The state is a campaign's row of ``campaign_pace``, read and written by claims
under the line's lock. Nothing is made up for by a rush: after a standstill what is left of the day
is spread over what is left of the window.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

STEP = timedelta(seconds=1)
"""Texts that fall due within a step are claimed together: a fast campaign claims in batches."""
CATCH_UP = timedelta(minutes=2)
"""A look at the queue may come so late, two ticks, and still be made up for at once."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Where a campaign stands; ``batch_left`` is read only when it sends in batches."""

    next_at: datetime
    batch_left: int = 0


@dataclass(frozen=True, kw_only=True)
class Even:
    """Spread what the day still allows over what is left of the window.

    Attributes:
        jitter: Factor of the next distance, around 1: no two days look alike.
        sharers: Campaigns that share the line's day now, this one included.
    """

    jitter: float = 1.0
    sharers: int = 1


@dataclass(frozen=True, kw_only=True)
class Burst:
    """Batches of ``size``, one every ``interval`` from start to start."""

    size: int
    interval: timedelta


Pacing = Even | Burst


@dataclass(frozen=True, kw_only=True)
class Room:
    """What the caps leave now.

    Attributes:
        line_left: Texts that the line may still send today, all campaigns together.
        campaign_left: Texts that the campaign may still send today.
        ends_at: When the window closes, or the line's day ends if that is earlier.
    """

    line_left: int
    campaign_left: int
    ends_at: datetime

    @property
    def left(self) -> int:
        """What both caps leave; never negative."""
        return max(0, min(self.line_left, self.campaign_left))


def waits_until(pacing: Pacing, pace: Pace | None, now: datetime) -> datetime | None:
    """Return when the pace allows the next text; None when that is now."""
    if pace is None or now >= pace.next_at:
        return None
    if isinstance(pacing, Burst) and pace.batch_left > 0:
        return None
    return pace.next_at


def quota(pacing: Pacing, pace: Pace | None, room: Room, now: datetime) -> int:
    """Return how many texts may be claimed now."""
    if waits_until(pacing, pace, now) is not None:
        return 0
    if isinstance(pacing, Burst):
        fresh = pace is None or now >= pace.next_at
        return min(room.left, pacing.size if fresh or pace is None else pace.batch_left)
    share = _share(pacing, room)
    if share <= 0:
        return 0
    distance = _distance(share, room, now)
    if distance <= timedelta(0):
        return share
    late = min(now - pace.next_at, CATCH_UP) if pace is not None else timedelta(0)
    return min(share, 1 + math.floor((late + STEP) / distance))


def advance(pacing: Pacing, pace: Pace | None, room: Room, *, taken: int, now: datetime) -> Pace:
    """Return the pace after ``taken`` texts were claimed out of this room."""
    if isinstance(pacing, Burst):
        if pace is None or now >= pace.next_at:
            return Pace(next_at=now + pacing.interval, batch_left=max(0, pacing.size - taken))
        return Pace(next_at=pace.next_at, batch_left=max(0, pace.batch_left - taken))
    start = max(pace.next_at, now - CATCH_UP) if pace is not None else now
    distance = _distance(max(1, _share(pacing, room)), room, now)
    return Pace(next_at=start + taken * distance * pacing.jitter)


def _share(pacing: Even, room: Room) -> int:
    """What this campaign may count on today: the line's rest is for all that send now."""
    return max(0, min(room.campaign_left, math.ceil(room.line_left / max(1, pacing.sharers))))


def _distance(share: int, room: Room, now: datetime) -> timedelta:
    return max(timedelta(0), room.ends_at - now) / share
