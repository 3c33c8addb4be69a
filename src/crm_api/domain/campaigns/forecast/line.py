"""The days of a line in a forecast: what it allows, and what of that one campaign gets."""

from collections.abc import Sequence
from datetime import date, timedelta

from crm_api.domain.campaigns.forecast.plan import Plan, Rival
from crm_api.domain.lines.allowance import limit_on
from crm_api.domain.windows import DAYS

UNLIMITED = 1_000_000_000
"""More than any plan sends."""
_LEAST = 0.05
"""Of its allowance a campaign begins with no less: a smaller share ends in one rush at night."""


def fair_share(room: float, own: float, rivals: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Share a day's texts out as campaigns that take turns get them.

    Args:
        room: What the line allows.
        own: What the campaign would take.
        rivals: The same of the others, each with the number of campaigns that it stands for.

    Returns:
        What the campaign gets, and what each single campaign gets at the most.
    """
    turns = sorted([(own, 1), *rivals], key=lambda rival: rival[0] / rival[1])
    takers = sum(campaigns for _, campaigns in turns)
    for wanted, campaigns in turns:
        most = room / takers
        if wanted > most * campaigns:
            return min(own, most), most
        room -= wanted
        takers -= campaigns
    return own, UNLIMITED


class LineDays:
    """What is left of the line, day by day, while other campaigns send on it too."""

    def __init__(self, plan: Plan, *, first: date) -> None:
        self._plan = plan
        self._first = first
        self._rivals = plan.rivals
        self._limit = UNLIMITED if plan.line_limit is None else plan.line_limit
        self._ramp_started_on = plan.ramp_started_on
        self.waiting = [float(rival.waiting) for rival in plan.rivals]

    def room(self, day: int) -> float:
        """Return how many texts the line allows on a day, counted from the first."""
        on = self._first + timedelta(days=day)
        return limit_on(self._plan.ramp_plan, self._ramp_started_on, self._limit, on)

    def begin_ramp(self, day: int) -> None:
        """Let the plan of a new line begin with the first text."""
        if self._ramp_started_on is None:
            self._ramp_started_on = self._first + timedelta(days=day)

    def share(self, day: int, *, room: float, own: float) -> tuple[float, float]:
        """Return what the campaign gets of a day, and the part it gets of a further text."""
        rivals = self._demands(day)
        got, _ = fair_share(room, own, rivals)
        if got >= own:
            return got, 0.0
        more, _ = fair_share(room + 1, own, rivals)
        return got, more - got

    def limit_of(self, day: int, *, room: float, own: float) -> str:
        """Name the limit that decides what the campaign gets of a day."""
        rivals = self._demands(day)
        if fair_share(room, own, rivals)[0] >= own and room > own:
            return "campaign_daily_limit"
        if own < room or fair_share(room, min(own, room), rivals)[0] < min(own, room):
            return "other_campaigns"
        return "line_ramp" if self.room(day) < self._limit else "line_daily_limit"

    def eagerness(self, day: int, *, room: float, own: float, allowance: float) -> float:
        """Return the share of its allowance that a campaign reckons with when the day begins.

        It shares the line's rest with all who send; what these leave it learns as the day goes by.
        """
        takers = 1 + sum(campaigns for wanted, campaigns in self._demands(day) if wanted > 0)
        turn = min(own, room / takers)
        return min(1.0, max(_LEAST, turn / allowance)) if allowance > 0 else 1.0

    def take(self, day: int, *, room: float, own: float) -> float:
        """Let the others send on a day; how many texts they sent."""
        demands = self._demands(day)
        _, most = fair_share(room, own, demands)
        sent = 0.0
        for position, (wanted, campaigns) in enumerate(demands):
            texts = min(wanted, most * campaigns)
            self.waiting[position] -= texts
            sent += texts
        return sent

    def is_steady(self, day: int) -> bool:
        """Tell whether the plan of a new line is over."""
        plan, started_on = self._plan.ramp_plan, self._ramp_started_on
        if not plan:
            return True
        on = self._first + timedelta(days=day)
        return started_on is not None and (on - started_on).days >= len(plan)

    def next_change(self, day: int, *, horizon: int) -> int:
        """Return the next day on which another campaign begins or ends."""
        days = [
            (change - self._first).days
            for rival in self._rivals
            for change in (rival.first, rival.last and rival.last + timedelta(days=1))
            if change is not None
        ]
        return min((change for change in days if change > day), default=horizon)

    def _demands(self, day: int) -> list[tuple[float, int]]:
        on = self._first + timedelta(days=day)
        return [
            (self._demand(rival, waiting, on, is_first=day == 0), rival.campaigns)
            for rival, waiting in zip(self._rivals, self.waiting, strict=True)
        ]

    @staticmethod
    def _demand(rival: Rival, waiting: float, on: date, *, is_first: bool) -> float:
        is_shut = (
            DAYS[on.weekday()] not in rival.days
            or (rival.first is not None and on < rival.first)
            or (rival.last is not None and on > rival.last)
            or (is_first and rival.is_over_today)
        )
        if is_shut:
            return 0.0
        used = rival.used_today if is_first else 0
        return max(0.0, min(waiting, rival.daily_limit - used))
