"""Compute, for one day of a forecast, how many messages a campaign sends, to whom, and how fast.

Counts of messages and people may be fractions: when a count is divided, the parts are not rounded.
Less than half a message counts as no message. Instants are Unix timestamps. A zone key consists of
the states and the time zones that are possible for a person. A place is a group of zone keys with
the same hours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from math import ceil, floor

from crm_api.domain.campaigns.forecast.plan import UNLIMITED, Pacing, Rival
from crm_api.domain.kit.windows import DAYS

NOTHING = 0.5
"""A number of messages below this counts as none."""
_LEAST = 0.05
"""The lower limit of ``SharedDay.eagerness``. With a lower value, all messages would be sent in the
last minutes of a day."""
Demand = tuple[float, int]
"""How many messages a group of campaigns wants to send on a day, and the number of campaigns."""


class Cohort:
    """People who wait for the same message, and become due at a constant rate in one period.

    A place is a group of people to whom messages may be sent at the same hours.

    Attributes:
        step: 0 for the first message, 1 for the first follow-up, and so on.
        due_from: When the first of these people becomes due.
        due_until: When the last of these people becomes due.
        people: The number of people that ``add`` has added to each place.
        shares: The fraction, from 0 to 1, of the people of each place who still wait.
        size: The number of people that were added to all places.
        total: The number of people who still wait in all places.
    """

    def __init__(self, step: int, due_from: float, due_until: float, *, places: int) -> None:
        self.step, self.due_from, self.due_until = step, due_from, due_until
        self.people = [0.0] * places
        self.shares = [0.0] * places
        self.total = self.size = 0.0

    def add(self, place: int, texts: float) -> None:
        """Add ``texts`` people, who each wait for one message, to the group number ``place``.

        A place is a group of people who may get messages in the same hours.
        """
        waiting = self.shares[place] * self.people[place] + texts
        self.people[place] += texts
        self.shares[place] = waiting / self.people[place] if self.people[place] else 0.0
        self.total += texts
        self.size += texts

    def waiting(self, places: Iterable[int]) -> float:
        """Return how many people still wait in these places.

        A place is a group of states and time zones in which messages are allowed at the same hours.
        """
        return sum(self.shares[place] * self.people[place] for place in places)

    @property
    def last_due(self) -> float:
        """The due time of the person that ``take`` removed last."""
        share = 1 - self.total / self.size if self.size else 1.0
        return self.due_from + (self.due_until - self.due_from) * share

    def due(self, at: float) -> float:
        """Return the number of waiting people who are due at an instant."""
        if at >= self.due_until:
            return self.total
        not_due = self.size * (self.due_until - at) / (self.due_until - self.due_from)
        return max(0.0, self.total - not_due)

    def take(self, texts: float, places: Sequence[int]) -> list[tuple[int, float]]:
        """Remove up to ``texts`` waiting people from these places, earliest due first.

        The people in one place have the same sending hours, and become due at a constant rate. So
        the people who have been due longest are in the place where the largest share of people
        still waits. People are removed from this place first. When its share is as low as the
        second largest share, people are removed from both places. Then the place with the third
        largest share is added, and so on.

        Returns:
            Pairs of a place and the number of people that were removed there.
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
    """Computes how many messages a campaign sends in a period, and when the last of them is sent.

    The pacing of the campaign decides how the messages of a day are spread. If they are spread
    evenly, the last one is sent when the hours for messages end for the last people.

    ``eagerness`` is the sending rate at the beginning of the day, divided by the mean rate of the
    day. It is above 0 and at most 1. With 1, the rate is constant. With a smaller value, the
    campaign sends slowly at first, while other campaigns use the same line, and faster later.
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
        """Return how many messages may be sent in a period, if only the pacing limits them.

        Args:
            start: The start of the period.
            end: The end of the period.
            left: The number of messages that the campaign may still send on the day.
            closes: When the hours for messages end for the last of the people who may get messages
                in the period.
        """
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
        """Return when the last of the next ``texts`` messages is sent.

        The messages are sent in the period for which ``room`` was called last. If the campaign
        sends in batches, the messages are subtracted from what is left of the batches.
        """
        size = self._pacing.batch_size
        if size is not None:
            return self._take_batches(texts, size)
        # The first message is sent at once, so n messages have n - 1 gaps.
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
    """A day on which a campaign and other campaigns share the messages that a line may send.

    Attributes:
        room: The number of messages that the line may send.
        is_ramp: True if the ramp plan of the line makes ``room`` lower than the line's daily limit.
        own: The number of messages that this campaign would send if it were alone on the line.
        demands: For each group of other campaigns on the line: the number of messages that the
            group would send, and the number of its campaigns.
        is_active: True if the day has open hours and the message of at least one person is due
            before the day ends.
    """

    room: float
    is_ramp: bool
    own: float
    demands: Sequence[Demand]
    is_active: bool

    @cached_property
    def allowance(self) -> float:
        """The number of messages that the campaign may send on the day."""
        return _fair_share(self.room, self.own, self.demands)[0]

    @property
    def eagerness(self) -> float:
        """The sending rate at the start of the day, divided by the mean rate of the day.

        The value is from 0.05 to 1. At the start of the day, all active campaigns on the line send
        equally fast. When another campaign has sent all its messages, this campaign sends faster.
        So its rate at the start may be below its mean rate.
        """
        takers = 1 + sum(campaigns for wanted, campaigns in self.demands if wanted > 0)
        turn, allowance = min(self.own, self.room / takers), self.allowance
        return min(1.0, max(_LEAST, turn / allowance)) if allowance > 0 else 1.0

    @property
    def limit(self) -> str:
        """The rule that limits the campaign's messages on the day, such as ``line_daily_limit``."""
        if self.allowance >= self.own and self.room > self.own:
            return "campaign_daily_limit"
        alone = min(self.own, self.room)
        if self.own < self.room or _fair_share(self.room, alone, self.demands)[0] < alone:
            return "other_campaigns"
        return "line_ramp" if self.is_ramp else "line_daily_limit"

    def sent_by_rivals(self, sent: float) -> list[float]:
        """Return how many messages the other campaigns on the line send on the day.

        Similar campaigns are grouped. The result has one number for each group, in the order of
        ``demands``.

        Args:
            sent: The number of messages that this campaign sends on the day.
        """
        _, most = _fair_share(self.room, min(self.own, sent), self.demands)
        return [min(wanted, most * campaigns) for wanted, campaigns in self.demands]


def demand_of(rival: Rival, waiting: float, on: date, *, is_first: bool) -> Demand:
    """Return the demand of a group of other campaigns on a day, as two numbers.

    The first number is how many messages the group would send on the day. The second number is how
    many campaigns are in the group.

    Args:
        rival: The group of campaigns.
        waiting: The number of messages that the group still has to send.
        on: The day.
        is_first: True if the day is today.
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
    """Divide ``room`` fairly: each campaign gets what it wants, up to the same maximum.

    Returns:
        The number of messages that this campaign gets, and the maximum per campaign. The maximum is
        ``UNLIMITED`` if every campaign gets what it wants.
    """
    turns = sorted([(own, 1), *demands], key=lambda demand: demand[0] / demand[1])
    takers = sum(campaigns for _, campaigns in turns)
    for wanted, campaigns in turns:
        most = room / takers
        if wanted > most * campaigns:
            return min(own, most), most
        room -= wanted
        takers -= campaigns
    return own, UNLIMITED
