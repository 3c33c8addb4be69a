"""Compute, for one day of a forecast, how many messages a campaign sends, to whom, and how fast.

Counts of messages and people may be fractions; less than half a message counts as no message.
Instants are Unix timestamps. Zone keys with the same allowed hours form a zone group.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from math import ceil, floor

from crm_api.domain.campaigns.forecast.plan import UNLIMITED, Pacing, Rival
from crm_api.domain.kit.windows import DAYS

NOTHING = 0.5
"""A number of messages below this is treated as zero."""
_LEAST = 0.05
"""The lower limit of ``SharedDay.eagerness``. With a lower value, all messages would be sent in the
last minutes of a day."""
Demand = tuple[float, int]
"""Two numbers: the messages that a group of campaigns wants to send on a day, and the campaigns in
the group."""


class Cohort:
    """People who wait for the same message, divided into zone groups (people with the same hours).

    The people become due at a constant rate between ``due_from`` and ``due_until``.

    Attributes:
        step: 0 for the first message, 1 for the first follow-up, and so on.
        people: For each zone group, the number of people that were added to it.
        shares: For each zone group, the fraction of its people who still wait, from 0 to 1.
        size: The number of people that were added to all zone groups.
        total: The number of people who still wait in all zone groups.
    """

    def __init__(self, step: int, due_from: float, due_until: float, *, zone_groups: int) -> None:
        self.step, self.due_from, self.due_until = step, due_from, due_until
        self.people = [0.0] * zone_groups
        self.shares = [0.0] * zone_groups
        self.total = self.size = 0.0

    def add(self, zone_group: int, texts: float) -> None:
        """Put more waiting people into a zone group (people with the same sending hours).

        Args:
            zone_group: The index of the zone group.
            texts: The number of people. Each of them waits for one message.
        """
        waiting = self.shares[zone_group] * self.people[zone_group] + texts
        self.people[zone_group] += texts
        self.shares[zone_group] = (
            waiting / self.people[zone_group] if self.people[zone_group] else 0.0
        )
        self.total += texts
        self.size += texts

    def waiting(self, zone_groups: Iterable[int]) -> float:
        """Return how many people of the given zone groups still wait for a message.

        Args:
            zone_groups: The indices of the zone groups.
        """
        return sum(self.shares[zone_group] * self.people[zone_group] for zone_group in zone_groups)

    @property
    def last_due(self) -> float:
        """When the last person removed by ``take()`` became due; inexact if ``shares`` differ."""
        share = 1 - self.total / self.size if self.size else 1.0
        return self.due_from + (self.due_until - self.due_from) * share

    def due(self, at: float) -> float:
        """Return the number of waiting people whose message is due at an instant."""
        if at >= self.due_until:
            return self.total
        not_due = self.size * (self.due_until - at) / (self.due_until - self.due_from)
        return max(0.0, self.total - not_due)

    def take(self, texts: float, zone_groups: Sequence[int]) -> list[tuple[int, float]]:
        """Remove up to ``texts`` waiting people from the given groups, earliest due first.

        People of all groups become due in the same period, at a constant rate. So the people who
        became due first are in the group with the largest share of waiting people.

        Args:
            zone_groups: The indices of the zone groups.

        Returns:
            Pairs: the index of a group, and the number of people that were removed from this group.
        """
        shares = self.shares
        waiting_groups = [zone_group for zone_group in zone_groups if shares[zone_group] > 0]
        ranked = sorted(waiting_groups, key=shares.__getitem__, reverse=True)
        people = waiting = 0.0
        rank, level = 0, 0.0
        for rank, zone_group in enumerate(ranked, start=1):
            people += self.people[zone_group]
            waiting += shares[zone_group] * self.people[zone_group]
            following = shares[ranked[rank]] if rank < len(ranked) else 0.0
            if waiting - texts >= following * people:
                level = (waiting - texts) / people if people else 0.0
                break
        removed = []
        for zone_group in ranked[:rank]:
            count = (shares[zone_group] - level) * self.people[zone_group]
            if count > 0:
                shares[zone_group] = level
                self.total -= count
                removed.append((zone_group, count))
        return removed


class Pace:
    """Computes, for a forecast, how fast a campaign sends its messages within a day.

    For each period of the day, call ``room()``, and then ``take()`` with the number of messages
    that the campaign sends.

    ``eagerness`` is used only if ``Pacing.is_spread`` is True. It is the sending rate at the
    beginning of the day, divided by the mean rate of the day.
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
        """Return how many messages the campaign can send in a period.

        Only the pacing, the provider's rate limit and ``left`` are considered.

        Args:
            left: The number of messages that the campaign may still send on the day.
            closes: The end of the allowed hours; the latest end if people have different hours.
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
        """Record that the campaign sends ``texts`` messages in a period.

        The period is the one for which the method ``room()`` was last called.

        If the campaign sends in batches, the messages are subtracted from the current batch, and
        then from new batches.

        Returns:
            The time at which the last of these messages is sent.
        """
        size = self._pacing.batch_size
        if size is not None:
            return self._take_batches(texts, size)
        # The first message is sent immediately, so there are n - 1 pauses between n messages.
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
    """A day on which a campaign shares the limit of its line with other campaigns.

    Attributes:
        room: The number of messages that all these campaigns together may send on the day.
        is_ramp: True if the line's ramp plan (the limits of its first days) sets a lower limit than
            the usual daily limit.
        own: The number of messages that this campaign would send if it were alone on the line.
        demands: For each group of other campaigns: the messages that it would send, and the number
            of its campaigns.
        is_active: True if the campaign has open hours, and a message is due before the day ends.
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
        """How fast the campaign begins the day, compared with its mean rate of the day.

        The value is from 0.05 to 1. With 0.5, the campaign begins at half of its mean rate. The
        campaign becomes faster when other campaigns on the line have sent all their messages.
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

        The result has one number for each group of campaigns in ``demands``, in the same order.

        Args:
            sent: The number of messages that this campaign sends on the day.
        """
        _, most = _fair_share(self.room, min(self.own, sent), self.demands)
        return [min(wanted, most * campaigns) for wanted, campaigns in self.demands]


def demand_of(rival: Rival, waiting: float, on: date, *, is_first: bool) -> Demand:
    """Return how many messages a group of other campaigns would send on a day.

    Args:
        waiting: The number of messages that the group still has to send.
        is_first: True if the day is the first day of the simulation.

    Returns:
        The number of messages, and the number of campaigns in the group.
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
    """Divide the messages that a line may send on a day fairly among its campaigns.

    Each campaign gets as many messages as it wants, up to a maximum that is the same for all.

    Args:
        own: The number of messages that the simulated campaign wants to send.
        demands: As in ``SharedDay``.

    Returns:
        The number of messages that the simulated campaign gets, and the maximum per campaign. The
        maximum is ``UNLIMITED`` if every campaign gets as many messages as it wants.
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
