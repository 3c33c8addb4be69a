"""What a week or a year of a forecast brought, and how often it may be repeated."""

from crm_api.domain.campaigns.forecast.day import Queue

JUMP_SHARE = 0.9
"""Of what waits in a place no more than this is taken off in one jump: the end is run through."""


class Sums:
    """What the days of a run add up to.

    Attributes:
        sending_days: Days on which texts went.
        squeezed: By how many texts a further one of the line's others would have set each back.
        limited: Days on which a limit was used up, by the rule that set it.
    """

    def __init__(self) -> None:
        self.sending_days = 0.0
        self.squeezed = 0.0
        self.limited: dict[str, float] = {}

    def add(self, sent: float, limit: str | None, weight: float) -> None:
        """Count a day: whether texts went, and the limit that was used up."""
        if sent:
            self.sending_days += 1
            self.squeezed += weight
        if limit is not None:
            self.limited[limit] = self.limited.get(limit, 0.0) + 1

    def copy(self) -> "Sums":
        """Keep what they are now."""
        copied = Sums()
        copied.sending_days, copied.squeezed = self.sending_days, self.squeezed
        copied.limited = dict(self.limited)
        return copied

    def repeat(self, times: int, before: "Sums") -> None:
        """Add what came since ``before`` so many times more."""
        self.sending_days += times * (self.sending_days - before.sending_days)
        self.squeezed += times * (self.squeezed - before.squeezed)
        for limit, days in self.limited.items():
            self.limited[limit] = days + times * (days - before.limited.get(limit, 0.0))


class Mark:
    """Where a run stood on a day."""

    def __init__(self, day: int, shares: list[float], rivals: list[float], sums: Sums) -> None:
        self.day = day
        self._shares = list(shares)
        self._rivals = list(rivals)
        self._sums = sums.copy()

    def repeats(self, queue: Queue, rivals: list[float], *, most: int) -> int:
        """Return how many more such times change nobody's turn: no place, no rival is used up."""
        times = float(most)
        for before, now in zip(self._shares, queue.shares, strict=True):
            if before > now:
                times = min(times, JUMP_SHARE * now / (before - now))
        for before, now in zip(self._rivals, rivals, strict=True):
            if before > now:
                times = min(times, now / (before - now) - 1)
        return max(0, int(times))

    def repeat(self, times: int, queue: Queue, rivals: list[float], sums: Sums) -> None:
        """Take off what so many more such times bring."""
        for place, before in enumerate(self._shares):
            queue.shares[place] -= times * (before - queue.shares[place])
        queue.total = sum(queue.waiting)
        for position, before in enumerate(self._rivals):
            rivals[position] -= times * (before - rivals[position])
        sums.repeat(times, self._sums)
