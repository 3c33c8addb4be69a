"""When a campaign will be done: its plan run through, day by day, weeks at once where they repeat.

All of it is pure. The line's day is shared out as the claim shares it: the campaigns on a line take
turns until their own limits or recipients are used up. Nobody is looked at singly, so a million
recipients cost as much as a thousand; what counts is days and places.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import inf
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns.forecast.calendar import HORIZON_DAYS, WEEK, Calendar, calendar_for
from crm_api.domain.campaigns.forecast.day import NOTHING, Queue, run_day
from crm_api.domain.campaigns.forecast.line import UNLIMITED, LineDays
from crm_api.domain.campaigns.forecast.plan import Outcome, Plan, Step
from crm_api.domain.campaigns.forecast.repeats import Mark, Sums

SHOWN_DAYS = 60
"""Days that are run through one by one, and shown."""
YEAR = 52 * WEEK
_DAY_SECONDS = 86_400


def simulate(plan: Plan) -> Outcome:
    """Run a plan through to its end.

    Steps follow each other: a follow-up is due later than every first text, so the queue takes it
    after them. It ends no earlier than its delay after the last text of the step before.
    """
    return _Run(plan, calendar_of(plan)).to_the_end()


def calendar_of(plan: Plan) -> Calendar:
    """Work out the days of a plan; plans with the same begin, hours and places share it."""
    zone = ZoneInfo(plan.hours.line_timezone)
    return calendar_for(plan.hours, plan.zone_keys, plan.begins.astimezone(zone).date())


class _Run:
    """A plan under way: the day and second that were reached, and what is left of today."""

    def __init__(self, plan: Plan, calendar: Calendar) -> None:
        self._plan = plan
        self._calendar = calendar
        self._line = LineDays(plan, first=calendar.first)
        self._day = 0
        self._second = self._seconds_into(0, plan.begins)
        # Of the line's other texts of today, the rest of the day brings its part.
        self._others = plan.others_a_day * max(0.0, 1 - self._second / _DAY_SECONDS)
        self._campaign_used = float(plan.campaign_used)
        self._line_used = float(plan.line_used)
        self._last_day = HORIZON_DAYS
        if plan.ends is not None:
            self._last_day = min(HORIZON_DAYS, self._day_of(plan.ends) + 1)
        self._per_day: dict[int, float] = {}
        self._sums = Sums()
        self._marks: dict[int, Mark] = {}

    def to_the_end(self) -> Outcome:
        """Run one step after the other."""
        plan = self._plan
        people = left = [0.0] * self._calendar.places
        begun = finish = plan.begins
        ended: datetime | None = finish
        for step in plan.steps:
            carried = [count * (1 - plan.reply_share) for count in people]
            known = self._places(step.waiting)
            people = [a + b for a, b in zip(carried, known, strict=True)]
            if sum(people) < NOTHING:
                continue
            begun, not_before = _due(step, begun, finish, carries=sum(carried) >= NOTHING)
            self._wait_until(begun)
            queue = Queue([count * plan.workload for count in people])
            ended = self._send(queue)
            left = queue.waiting
            if ended is not None and ended < not_before:
                self._wait_until(not_before)
                ended = self._next_opening(people)
            if ended is None:
                break
            finish = ended
        return self._outcome(ended, left)

    def _outcome(self, ended: datetime | None, left: list[float]) -> Outcome:
        plan = self._plan
        is_cut = ended is None and self._last_day < HORIZON_DAYS
        return Outcome(
            finish=plan.ends if is_cut else ended,
            not_reached=max(1, round(sum(left) / plan.workload)) if is_cut else 0,
            left=left if ended is None else (),
            per_day=[
                (self._calendar.first + timedelta(days=day), round(texts))
                for day, texts in sorted(self._per_day.items())
                if day < SHOWN_DAYS
            ],
            sending_days=self._sums.sending_days,
            limited_days=self._sums.limited,
            others_weight=self._sums.squeezed / max(1.0, self._sums.sending_days),
        )

    def _send(self, queue: Queue) -> datetime | None:
        """Send to those who wait, who become none; the instant of the last text.

        None when the horizon or the campaign's end comes first.
        """
        self._marks.clear()
        last_day = self._last_day
        if self._is_endless(queue):
            # Nothing to find out any more: only the days to be shown are run.
            last_day = min(last_day, SHOWN_DAYS)
        while self._day < last_day:
            if self._day >= SHOWN_DAYS:
                self._jump(queue)
            finished_at = self._send_today(queue)
            if finished_at is not None:
                self._second = finished_at
                return self._instant(finished_at)
            self._next_day()
        return None

    def _is_endless(self, queue: Queue) -> bool:
        """Tell whether no horizon is far enough: too many people, or some where it never opens."""
        shut = self._calendar.shut_places
        if sum(queue.people[place] for place in shut) >= NOTHING:
            return True
        limits = [self._plan.campaign_limit, self._plan.line_limit]
        most = min([limit for limit in limits if limit is not None], default=UNLIMITED)
        return queue.total > (HORIZON_DAYS - self._day) * most

    def _send_today(self, queue: Queue) -> float | None:
        plan, day = self._plan, self._day
        segments = self._calendar.segments(day)
        closes = segments[-1].end if segments else 0.0
        most = UNLIMITED if plan.campaign_limit is None else plan.campaign_limit
        own = max(0.0, most - self._campaign_used) if self._second < closes else 0.0
        room = max(0.0, self._line.room(day) - self._others - self._line_used)
        allowance, weight = self._line.share(day, room=room, own=own)
        ended = run_day(
            queue,
            segments,
            allowance=allowance,
            begins=self._second,
            ends=inf if plan.ends is None else self._seconds_into(day, plan.ends),
            pacing=plan.pacing,
            per_second=plan.per_second,
            eagerness=self._line.eagerness(day, room=room, own=own, allowance=allowance),
        )
        others = self._line.take(day, room=room, own=min(own, ended.sent))
        self._campaign_used += ended.sent
        self._line_used += ended.sent + others
        if self._second < closes:
            is_full = ended.sent > allowance - NOTHING
            limit = self._line.limit_of(day, room=room, own=own) if is_full else None
            self._sums.add(ended.sent, limit, weight)
        if ended.sent:
            self._per_day[day] = self._per_day.get(day, 0.0) + ended.sent
            self._line.begin_ramp(day)
        return ended.finished_at

    def _next_day(self) -> None:
        self._day += 1
        self._second = self._campaign_used = self._line_used = 0.0
        self._others = self._plan.others_a_day

    def _wait_until(self, at: datetime) -> None:
        """Let time pass, in which the others on the line go on."""
        target = min(self._last_day, self._day_of(at))
        while self._day < target:
            room = max(0.0, self._line.room(self._day) - self._others - self._line_used)
            self._line.take(self._day, room=room, own=0.0)
            self._next_day()
        if self._day < self._last_day:
            self._second = max(self._second, self._seconds_into(self._day, at))

    def _next_opening(self, people: list[float]) -> datetime | None:
        """Return the next instant at which somebody of these may be texted."""
        while self._day < self._last_day:
            for segment in self._calendar.segments(self._day):
                is_wanted = any(people[place] >= NOTHING for place in segment.places)
                at = self._instant(max(segment.start, self._second))
                ends = self._plan.ends
                if is_wanted and self._second < segment.end and (ends is None or at < ends):
                    return at
            self._next_day()
        return None

    def _jump(self, queue: Queue) -> None:
        """Pass over whole years, or weeks, that bring what the last one brought."""
        for days in (YEAR, WEEK):
            mark = self._marks.get(days)
            if mark is not None and self._day - mark.day < days:
                continue
            line = self._line
            self._marks[days] = Mark(self._day, queue.shares, line.waiting, self._sums)
            if mark is None or not line.is_steady(mark.day):
                continue
            limit = min(self._last_day - 1, line.next_change(mark.day, horizon=HORIZON_DAYS))
            limit = min(limit, self._calendar.alike_until(mark.day, years=days == YEAR))
            times = mark.repeats(queue, line.waiting, most=(limit - self._day) // days)
            if times >= 1:
                mark.repeat(times, queue, line.waiting, self._sums)
                self._day += times * days
                del self._marks[days]
                return

    def _places(self, people: Mapping[str, float]) -> list[float]:
        places = [0.0] * self._calendar.places
        for key, count in people.items():
            places[self._calendar.groups[key]] += count
        return places

    def _day_of(self, at: datetime) -> int:
        return (self._calendar.on(at) - self._calendar.first).days

    def _instant(self, second: float) -> datetime:
        return self._calendar.starts_at(self._day) + timedelta(seconds=second)

    def _seconds_into(self, day: int, at: datetime) -> float:
        return (at - self._calendar.starts_at(day)).total_seconds()


def _due(
    step: Step, begun: datetime, finish: datetime, *, carries: bool
) -> tuple[datetime, datetime]:
    """Return when a step's first text is due, and its last.

    Args:
        step: The step.
        begun: When the step before began.
        finish: When it ended.
        carries: Somebody comes from the step before.
    """
    first = max(finish, step.first_due or finish)
    last = max(finish, step.last_due or finish)
    if not carries:
        return first, last
    if not step.waiting:
        first = max(finish, begun + step.after)
    return first, max(last, finish + step.after)
