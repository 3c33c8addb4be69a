"""One day of a forecast: what the campaign gets of the line, who is next, and at which pace.

Messages are a continuous quantity: fractions are kept so that shares add up, and a rest of less
than half a message counts as none. Instants are timestamps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil, floor

from crm_api.domain.campaigns.forecast.plan import UNLIMITED, Pacing, Rival
from crm_api.domain.kit.windows import DAYS

NOTHING = 0.5
"""Less than this counts as no message."""
_LEAST = 0.05
"""The smallest eagerness: with a smaller one, all messages would be sent in one rush at night."""
Demand = tuple[float, int]
"""What a group of campaigns would take of a day, and how many campaigns it is."""


class Cohort:
    """People who wait for one step and become due one after the other in a period.

    Attributes:
        step: 0 is the first message.
        due_from: When the first of them is due.
        due_until: When the last of them is due.
        people: How many there were at first, by place.
        shares: The share of ``people`` that still waits, by place, from 0 to 1.
        size: How many there were at first, in all places.
        total: How many of them wait.
    """

    def __init__(self, step: int, due_from: float, due_until: float, *, places: int) -> None:
        self.step, self.due_from, self.due_until = step, due_from, due_until
        self.people = [0.0] * places
        self.shares = [0.0] * places
        self.total = self.size = 0.0

    def add(self, place: int, texts: float) -> None:
        """Add people to a place; its share moves towards 1, because all of them still wait."""
        waiting = self.shares[place] * self.people[place] + texts
        self.people[place] += texts
        self.shares[place] = waiting / self.people[place] if self.people[place] else 0.0
        self.total += texts
        self.size += texts

    def waiting(self, places: Iterable[int]) -> float:
        """Return how many wait in these places."""
        return sum(self.shares[place] * self.people[place] for place in places)

    @property
    def last_due(self) -> float:
        """When the last of those whom ``take`` removed became due."""
        share = 1 - self.total / self.size if self.size else 1.0
        return self.due_from + (self.due_until - self.due_from) * share

    def due(self, at: float) -> float:
        """Return how many of those who wait are due at an instant."""
        if at >= self.due_until:
            return self.total
        not_due = self.size * (self.due_until - at) / (self.due_until - self.due_from)
        return max(0.0, self.total - not_due)

    def take(self, texts: float, places: Sequence[int]) -> list[tuple[int, float]]:
        """Remove up to ``texts`` people; return how many of each place.

        The cohort mixes all places in one order. The person furthest ahead is next, so a place that
        was closed catches up as soon as it opens.
        """
        shares = self.shares
        open_places = [place for place in places if shares[place] > 0]
        ranked = sorted(open_places, key=shares.__getitem__, reverse=True)
        people = waiting = 0.0
        rank, level = 0, 0.0
        for rank, place in enumerate(ranked, start=1):
            people += self.people[place]
            waiting += shares[place] * self.people[place]
            following = shares[ranked[rank]] if rank < len(ranked) else 0.0
            if waiting - texts >= following * people:
                level = (waiting - texts) / people if people else 0.0
                break
        removed = []
        for place in ranked[:rank]:
            count = (shares[place] - level) * self.people[place]
            if count > 0:
                shares[place] = level
                self.total -= count
                removed.append((place, count))
        return removed


class Pace:
    """How many messages fit into a period, and when the last of them leaves.

    With even spreading, all messages left are sent by the time that the places close. On a shared
    line a campaign begins with its fair share, and gets more when others are done: then
    ``eagerness`` is below 1.
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
        """Return how many fit into a period; ``closes`` is when the last open place closes."""
        self._start, self._left, self._until_close = start, left, closes - start
        most = (end - start) * self._per_second
        size = self._pacing.batch_size
        if size is not None:
            self._next_batch = max(self._next_batch, start)
            batches = ceil((end - self._next_batch) / self._pacing.batch_seconds)
            return min(most, left, self._batch_left + max(0, batches) * size)
        if not self._pacing.is_spread:
            return min(most, left)
        rest = max(0.0, (closes - end) / self._until_close)
        gone: float = 1 - rest**self._eagerness
        return min(most, left * gone)

    def take(self, texts: float) -> float:
        """Count messages as sent in the period; return when the last one leaves."""
        size = self._pacing.batch_size
        if size is not None:
            return self._take_batches(texts, size)
        # The first is sent at once, so the last leaves one gap before its period is used up.
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


@dataclass(frozen=True, kw_only=True)
class SharedDay:
    """What a line allows on a day, and who wants it.

    Attributes:
        room: Messages that the line allows.
        is_ramp: ``room`` is less than the line's daily limit because of its ramp plan.
        own: Messages that the campaign would take.
        demands: What its rivals would take.
        is_active: Someone is due on the day, in hours that are open.
    """

    room: float
    is_ramp: bool
    own: float
    demands: Sequence[Demand]
    is_active: bool

    @property
    def allowance(self) -> float:
        """What the campaign gets."""
        return _fair_share(self.room, self.own, self.demands)[0]

    @property
    def eagerness(self) -> float:
        """The share of its allowance that the campaign expects when the day begins.

        It shares the line with all active campaigns. What these leave unused shows only later.
        """
        takers = 1 + sum(campaigns for wanted, campaigns in self.demands if wanted > 0)
        turn, allowance = min(self.own, self.room / takers), self.allowance
        return min(1.0, max(_LEAST, turn / allowance)) if allowance > 0 else 1.0

    @property
    def limit(self) -> str:
        """The rule that decides the allowance."""
        if self.allowance >= self.own and self.room > self.own:
            return "campaign_daily_limit"
        alone = min(self.own, self.room)
        if self.own < self.room or _fair_share(self.room, alone, self.demands)[0] < alone:
            return "other_campaigns"
        return "line_ramp" if self.is_ramp else "line_daily_limit"

    def sent_by_rivals(self, sent: float) -> list[float]:
        """Return what each group of rivals sends if the campaign sends ``sent``."""
        _, most = _fair_share(self.room, min(self.own, sent), self.demands)
        return [min(wanted, most * campaigns) for wanted, campaigns in self.demands]


def demand_of(rival: Rival, waiting: float, on: date, *, is_first: bool) -> Demand:
    """Return what a rival would take of a day.

    Args:
        waiting: Its messages to come.
        on: The day.
        is_first: The day is today.
    """
    is_shut = (
        DAYS[on.weekday()] not in rival.days
        or (rival.first is not None and on < rival.first)
        or (rival.last is not None and on > rival.last)
        or (is_first and rival.is_over_today)
    )
    used = rival.used_today if is_first else 0
    wanted = 0.0 if is_shut else max(0.0, min(waiting, rival.daily_limit - used))
    return wanted, rival.campaigns


def _fair_share(room: float, own: float, demands: Sequence[Demand]) -> tuple[float, float]:
    """Return what the campaign gets, and the most that any single campaign gets."""
    turns = sorted([(own, 1), *demands], key=lambda demand: demand[0] / demand[1])
    takers = sum(campaigns for _, campaigns in turns)
    for wanted, campaigns in turns:
        most = room / takers
        if wanted > most * campaigns:
            return min(own, most), most
        room -= wanted
        takers -= campaigns
    return own, UNLIMITED
