"""One day of a forecast: how many texts go between two seconds of it, and when the last one does.

Texts flow, parts of a text are kept so that shares add up, and a rest of less than half a text is
none. The queue is in one order, in which the places are mixed: who stands further ahead goes first,
so a place that was shut meanwhile catches up as soon as it opens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from crm_api.domain.campaigns.forecast.calendar import Segment

NOTHING = 0.5
"""Less than this is no text."""


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """How a day's texts are spread.

    Attributes:
        batch_size: Texts in a batch; None: the day's allowance is spread evenly.
        batch_seconds: From the start of one batch to the start of the next.
        is_spread: False: they go as fast as the rate allows.
    """

    batch_size: int | None = None
    batch_seconds: float = 0
    is_spread: bool = True


@dataclass(frozen=True, kw_only=True)
class DayEnd:
    """What a day brought.

    Attributes:
        sent: Texts that went.
        finished_at: The second of the last text, when nobody waits any more.
    """

    sent: float
    finished_at: float | None = None


class Queue:
    """Who waits for a text, by place.

    Attributes:
        people: How many there were at first.
        shares: The share of these that still waits.
        total: How many wait, all places together.
    """

    def __init__(self, people: Sequence[float]) -> None:
        self.people = list(people)
        self.shares = [1.0 if count > 0 else 0.0 for count in people]
        self.total = sum(people)

    @property
    def waiting(self) -> list[float]:
        """How many wait in each place."""
        return [share * count for share, count in zip(self.shares, self.people, strict=True)]

    def take(self, texts: float, places: Sequence[int]) -> float:
        """Take the foremost of some places out, up to so many; how many there were."""
        shares = self.shares
        ranked = sorted(places, key=shares.__getitem__, reverse=True)
        people = waiting = 0.0
        for rank, place in enumerate(ranked, start=1):
            people += self.people[place]
            waiting += shares[place] * self.people[place]
            following = shares[ranked[rank]] if rank < len(ranked) else 0.0
            if waiting - texts >= following * people:
                return self._lower(ranked[:rank], people, waiting, texts)
        return self._lower(ranked, people, waiting, waiting)

    def _lower(self, places: Sequence[int], people: float, waiting: float, texts: float) -> float:
        """Bring places to one level, at which ``texts`` of those who wait there are out."""
        level = (waiting - texts) / people if people else 0.0
        for place in places:
            self.shares[place] = level if self.people[place] else 0.0
        self.total -= texts
        return texts


def run_day(
    queue: Queue,
    segments: Sequence[Segment],
    *,
    allowance: float,
    begins: float,
    ends: float,
    pacing: Pacing,
    per_second: float,
    eagerness: float = 1.0,
) -> DayEnd:
    """Send what the day allows; the queue becomes shorter.

    Args:
        queue: Who waits.
        segments: The day's.
        allowance: What the caps leave for the day.
        begins: The first second that counts.
        ends: The first that does not.
        pacing: Of the campaign.
        per_second: The rate.
        eagerness: The share of its allowance that the campaign reckons with when the day begins.
    """
    pace = _Pace(pacing, per_second, eagerness)
    sent = 0.0
    for segment in segments:
        start, end = max(segment.start, begins), min(segment.end, ends)
        left = allowance - sent
        if start >= end or left < NOTHING:
            continue
        room = pace.room(start, end, left=left, closes=min(segment.closes, ends))
        texts = queue.take(min(left, room), segment.places)
        if texts <= 0:
            continue
        sent += texts
        finished_at = min(end, pace.take(texts))
        if queue.total < NOTHING:
            return DayEnd(sent=sent, finished_at=finished_at)
    return DayEnd(sent=sent)


class _Pace:
    """How many texts fit into a stretch of time, and when the last of them goes.

    Spread evenly, what is left goes by the time that the places stay open. Where the line is shared
    a campaign begins with its turn, and gets more as others have had theirs: ``eagerness`` below 1.
    """

    def __init__(self, pacing: Pacing, per_second: float, eagerness: float) -> None:
        self._pacing = pacing
        self._per_second = per_second
        self._eagerness = eagerness
        self._start = 0.0
        self._left = 0.0
        self._until_close = 0.0
        self._next_batch = 0.0
        self._batch_left = 0.0

    def room(self, start: float, end: float, *, left: float, closes: float) -> float:
        """Return how many may go in a stretch; ``closes``: of the places open then, the last."""
        self._start, self._left, self._until_close = start, left, closes - start
        most = (end - start) * self._per_second
        size = self._pacing.batch_size
        if size is not None:
            self._next_batch = max(self._next_batch, start)
            batches = ceil((end - self._next_batch) / self._pacing.batch_seconds)
            return min(most, self._batch_left + max(0, batches) * size)
        if not self._pacing.is_spread:
            return most
        rest = max(0.0, (closes - end) / self._until_close)
        gone: float = 1 - rest**self._eagerness
        return min(most, left * gone)

    def take(self, texts: float) -> float:
        """Count texts as gone in the stretch; the second at which the last of them goes."""
        size = self._pacing.batch_size
        if size is not None:
            return self._take_batches(texts, size)
        # The first goes at once, so the last leaves one gap before its stretch is used up.
        before_last = max(0.0, texts - 1)
        seconds = before_last / self._per_second
        if self._pacing.is_spread:
            rest = max(0.0, 1 - before_last / self._left) ** (1 / self._eagerness)
            seconds = max(seconds, self._until_close * (1 - rest))
        return self._start + seconds

    def _take_batches(self, texts: float, size: int) -> float:
        of_new = texts - self._batch_left
        if of_new <= 0:
            self._batch_left -= texts
            return self._start + max(0.0, texts - 1) / self._per_second
        batches = max(1, ceil(of_new / size - 1e-9))
        begins = self._next_batch + (batches - 1) * self._pacing.batch_seconds
        self._next_batch += batches * self._pacing.batch_seconds
        self._batch_left = batches * size - of_new
        in_last = size - self._batch_left
        return begins + max(0.0, floor(in_last + NOTHING) - 1) / self._per_second
