"""Compute how many messages a campaign may claim now, and when it may claim more.

``Even`` spreads the messages over the day, also after a long pause. ``Burst`` sends batches at
All functions are pure. The state of a campaign's pacing is a row in the table ``campaign_pace``.
Only a transaction with a lock on the line writes this row.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

STEP = timedelta(seconds=1)
"""Messages that become due within this time are claimed together, so that a fast campaign claims
batches and not single messages."""
CATCH_UP = timedelta(minutes=2)
"""If messages are claimed (reserved for sending) late, this much of the delay (two runs of the job)
is corrected at once: the messages of this time are claimed together. After a longer delay, the
remaining late messages are spread over the rest of the day."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The stored state of a campaign's pacing: when it may claim messages again.

    Attributes:
        next_at: ``Even``: when the next message may be claimed. ``Burst``: when the next batch
            begins.
        batch_left: ``Burst``: how many messages of the current batch may be claimed before
            ``next_at``.
    """

    next_at: datetime
    batch_left: int = 0


@dataclass(frozen=True, kw_only=True)
class Even:
    """Pacing that spreads the messages of a day evenly over the time that is left.

    Attributes:
        jitter: A random factor near 1 that multiplies the wait until the next message.
        sharers: The number of campaigns that share the line's daily limit, including this one.
    """

    jitter: float = 1.0
    sharers: int = 1


@dataclass(frozen=True, kw_only=True)
class Burst:
    """Pacing that sends a batch of ``size`` messages every ``interval``."""

    size: int
    interval: timedelta


Pacing = Even | Burst


@dataclass(frozen=True, kw_only=True)
class Room:
    """What is left of the daily limits of a line and a campaign.

    Attributes:
        line_left: Messages that the line may still send today for all campaigns; may be negative.
        campaign_left: Messages that the campaign may still send today; may be negative.
        ends_at: When the hours for sending end or the line's day ends, whichever is earlier.
    """

    line_left: int
    campaign_left: int
    ends_at: datetime

    @property
    def left(self) -> int:
        """The smaller of ``line_left`` and ``campaign_left``, but at least 0."""
        return max(0, min(self.line_left, self.campaign_left))


def waits_until(pacing: Pacing, pace: Pace | None, now: datetime) -> datetime | None:
    """Return when the pacing allows the next message; None if a message is allowed now.

    The pacing of a campaign spreads its messages over the day, or sends them in batches.
    """
    if pace is None or now >= pace.next_at:
        return None
    if isinstance(pacing, Burst) and pace.batch_left > 0:
        return None
    return pace.next_at


def quota(pacing: Pacing, pace: Pace | None, room: Room, now: datetime) -> int:
    """Return how many messages the campaign may claim (reserve for sending) now.

    The result is at most what is left of the daily limits. The pacing can make it smaller, so that
    the messages are spread evenly over the day or sent in batches.
    """
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
    """Return the new state of a campaign's pacing after ``taken`` messages were claimed.

    To claim messages is to reserve them for sending. The pacing spreads the messages over the day,
    or sends them in batches.

    Args:
        room: What was left of the daily limits before the claim.
    """
    if isinstance(pacing, Burst):
        if pace is None or now >= pace.next_at:
            return Pace(next_at=now + pacing.interval, batch_left=max(0, pacing.size - taken))
        return Pace(next_at=pace.next_at, batch_left=max(0, pace.batch_left - taken))
    start = max(pace.next_at, now - CATCH_UP) if pace is not None else now
    distance = _distance(max(1, _share(pacing, room)), room, now)
    return Pace(next_at=start + taken * distance * pacing.jitter)


def _share(pacing: Even, room: Room) -> int:
    """Return how many messages are left for this campaign today.

    Each active campaign of the line gets an equal part of the messages that the line may still
    send. The result is not more than what is left of the campaign's own daily limit.
    """
    return max(0, min(room.campaign_left, math.ceil(room.line_left / max(1, pacing.sharers))))


def _distance(share: int, room: Room, now: datetime) -> timedelta:
    return max(timedelta(0), room.ends_at - now) / share
