"""Compute how many messages of a campaign may be claimed now, and when the next ones.

All functions are pure. The state is the campaign's row of ``campaign_pace``, which only claims read
and write, under the line's lock. A pause is not followed by a rush: what is left of the day is
spread over what is left of the window.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

STEP = timedelta(seconds=1)
"""Messages that are due within one step are claimed together, so a fast campaign claims batches."""
CATCH_UP = timedelta(minutes=2)
"""Delay of a claim that is made up for at once: two runs of the job."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The stored pace of a campaign.

    Attributes:
        next_at: When the next message, or the next batch, may be claimed.
        batch_left: Messages left in the current batch; used only by ``Burst``.
    """

    next_at: datetime
    batch_left: int = 0


@dataclass(frozen=True, kw_only=True)
class Even:
    """Spread the messages that are left today over what is left of the window.

    Attributes:
        jitter: Factor of the time to the next message, around 1, so that no two days are alike.
        sharers: Number of campaigns that share the line's limit now, including this one.
    """

    jitter: float = 1.0
    sharers: int = 1


@dataclass(frozen=True, kw_only=True)
class Burst:
    """Send batches of ``size`` messages; a batch starts every ``interval``."""

    size: int
    interval: timedelta


Pacing = Even | Burst


@dataclass(frozen=True, kw_only=True)
class Room:
    """What the caps leave now.

    Attributes:
        line_left: Messages that the line may still send today, for all campaigns; may be negative.
        campaign_left: Messages that the campaign may still send today; may be negative.
        ends_at: When the window closes or the line's day ends, whichever is earlier.
    """

    line_left: int
    campaign_left: int
    ends_at: datetime

    @property
    def left(self) -> int:
        """Messages that both caps allow; never negative."""
        return max(0, min(self.line_left, self.campaign_left))


def waits_until(pacing: Pacing, pace: Pace | None, now: datetime) -> datetime | None:
    """Return when the pace allows the next message; None if it allows one now."""
    if pace is None or now >= pace.next_at:
        return None
    if isinstance(pacing, Burst) and pace.batch_left > 0:
        return None
    return pace.next_at


def quota(pacing: Pacing, pace: Pace | None, room: Room, now: datetime) -> int:
    """Return how many messages may be claimed now."""
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
    """Return the new pace after ``taken`` messages were claimed.

    Args:
        room: What the caps left before the claim.
    """
    if isinstance(pacing, Burst):
        if pace is None or now >= pace.next_at:
            return Pace(next_at=now + pacing.interval, batch_left=max(0, pacing.size - taken))
        return Pace(next_at=pace.next_at, batch_left=max(0, pace.batch_left - taken))
    start = max(pace.next_at, now - CATCH_UP) if pace is not None else now
    distance = _distance(max(1, _share(pacing, room)), room, now)
    return Pace(next_at=start + taken * distance * pacing.jitter)


def _share(pacing: Even, room: Room) -> int:
    """Return the messages left for this campaign today; active campaigns share the line's rest."""
    return max(0, min(room.campaign_left, math.ceil(room.line_left / max(1, pacing.sharers))))


def _distance(share: int, room: Room, now: datetime) -> timedelta:
    return max(timedelta(0), room.ends_at - now) / share
