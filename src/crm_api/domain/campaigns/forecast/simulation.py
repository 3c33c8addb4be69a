"""Simulate the plan of a campaign day by day for a year; later years repeat the first year.

The functions do not read the database or the clock. They calculate with the number of people in
each zone group (people with the same allowed hours), so the computing time does not grow with the
number of recipients.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from math import floor, inf
from zoneinfo import ZoneInfo

from crm_api.domain.campaigns.forecast.day import NOTHING, Cohort, Pace, SharedDay, demand_of
from crm_api.domain.campaigns.forecast.hours import YEAR, Calendar, calendar_for
from crm_api.domain.campaigns.forecast.plan import Outcome, Plan, Waiting
from crm_api.domain.messaging.sends.usage import limit_on

SHOWN_DAYS = 60
"""The number of days for which the result shows the number of messages."""
HORIZON_DAYS = 3652
"""The length of the simulation: ten years. If a campaign finishes later, the finish is None."""
_HOUR, _DAY = 3600.0, 86_400.0
_TINY = 1e-6
_Period = tuple[float, float, float, tuple[int, ...]]
"""A part of a day during which the same groups of people may get messages.

All people of a group have the same allowed hours. The items are: the start of the period; its end;
the latest end of the allowed hours of these groups; the indices of the groups.
"""


def simulate(plan: Plan) -> Outcome:
    """Simulate a plan until its last message, but not beyond the campaign's end or ten years."""
    return _Run(plan).to_the_end()


def calendar_of(plan: Plan) -> Calendar:
    """Return for each day of a year the hours in which the campaign may send to its recipients.

    The hours depend on the zone keys of the recipients. A zone key is a text with the states and
    time zones that are possible for a person.
    """
    zone = ZoneInfo(plan.hours.line_timezone)
    return calendar_for(plan.hours, plan.zone_keys, plan.begins.astimezone(zone).date())


def people_shut_out(plan: Plan) -> float:
    """Return how many of the waiting people cannot get a message on any day of the year.

    The campaign's hours and the legal rules together never allow a message to these people.
    """
    calendar = calendar_of(plan)
    shut = {
        key for key, zone_group in calendar.zone_group_of.items() if zone_group in calendar.shut
    }
    return sum(group.people for group in plan.waiting if group.zone_key in shut)


class _Queue:
    """The waiting people whose messages count for one carrier's budget, or for no budget.

    A carrier's budget is the maximum number of messages a day to the customers of one phone
    company.

    Attributes:
        share: The number of people in the queue, divided by the number of all waiting people.
        daily: The number of messages that the budget allows in a day; infinite without a budget.
        left: The number of messages that the budget still allows on the simulated day.
        cohorts: The waiting people in groups, ordered by ``due_from``. The people of a group wait
            for the same message.
    """

    def __init__(self, share: float, *, daily: float = inf, left: float = inf) -> None:
        self.share, self.daily, self.left = share, daily, left
        self.cohorts: list[Cohort] = []

    def add(self, cohort: Cohort) -> None:
        insort(self.cohorts, cohort, key=lambda one: one.due_from)

    def due(self, zone_groups: Sequence[int], at: float) -> float:
        """Return how many waiting people have a message that is due at an instant.

        Args:
            zone_groups: The indices of the zone groups to count.
            at: The instant, as a Unix timestamp.
        """
        due = (one for one in self.cohorts if one.due_from < at)
        return sum(min(one.waiting(zone_groups), one.due(at)) for one in due)


class _Run:
    """The state of one simulation. Instants are Unix timestamps."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._calendar = calendar_of(plan)
        self._begins = plan.begins.timestamp()
        self._ends = inf if plan.ends is None else plan.ends.timestamp()
        self._rivals = [float(rival.waiting) for rival in plan.rivals]
        self._ramp_started_on = plan.ramp_started_on
        self._is_cut_by_hours = any(delay < timedelta(days=1) for delay in plan.follow_ups)
        limited = [one for one in plan.carriers if one.daily < plan.campaign_limit]
        self._queues = [
            _Queue(one.share, daily=floor(one.daily), left=floor(one.left_today)) for one in limited
        ]
        self._queues.append(_Queue(1 - sum(one.share for one in limited)))
        for queue in self._queues:
            self._fill(queue)
        self._follow_ups: dict[tuple[_Queue, int], Cohort] = {}
        self._sent: list[float] = []
        self._limited: Counter[str] = Counter()

    def to_the_end(self) -> Outcome:
        """Simulate one day after the other until the plan ends, and return the result."""
        if self._is_done(inf):
            return Outcome(finish=self._plan.begins)
        starts, finish = self._calendar.starts, None
        is_endless = self._ends == inf and people_shut_out(self._plan) >= NOTHING
        # Some people can never get a message, and the campaign has no end date, so the simulation
        # would never finish. Only the days that the result shows are simulated.
        days = SHOWN_DAYS if is_endless else YEAR
        for day in range(days):
            if finish is not None or starts[day] >= self._ends:
                break
            finish = self._run_day(day)
        left = self._left()
        if finish is None and len(self._sent) == YEAR:
            finish = self._repeat_years(left)
        return self._outcome(finish, left)

    def _fill(self, queue: _Queue) -> None:
        """Add the waiting people to a queue, in groups (cohorts).

        The people of a cohort wait for the same step and become due in the same period. Each person
        counts as ``plan.workload`` messages. ``plan.workload`` may be more than 1, because some
        messages are sent twice.
        """
        cohorts: dict[object, Cohort] = {}
        for group in self._plan.waiting:
            texts = group.people * self._plan.workload * queue.share
            key = (group.step, *self._due(group))
            if key not in cohorts:
                cohorts[key] = self._cohort(*key)
            cohorts[key].add(self._calendar.zone_group_of[group.zone_key], texts)
        for cohort in cohorts.values():
            queue.add(cohort)

    def _cohort(self, step: int, due_from: float, due_until: float) -> Cohort:
        return Cohort(step, due_from, due_until, zone_groups=self._calendar.zone_groups)

    def _due(self, group: Waiting) -> tuple[float, float]:
        """Return when the first and the last person of a group may get their message."""
        begins = self._plan.begins
        first = max(begins, group.due_from or begins, *group.held_until.values())
        return first.timestamp(), max(first, group.due_until or first).timestamp()

    def _run_day(self, day: int) -> float | None:
        """Simulate one day.

        Returns:
            When the last message of the campaign was sent; None if people still wait.
        """
        starts, tomorrow = self._calendar.starts[day : day + 2]
        ends = min(tomorrow, self._ends)
        periods = list(self._periods(day, max(starts, self._begins), ends))
        waits = any(one.due_from < ends for queue in self._queues for one in queue.cohorts)
        shared = self._share(day, is_active=bool(periods) and waits)
        allowance, sent, finish = shared.allowance, 0.0, None
        pace = Pace(self._plan.pacing, self._plan.per_second, shared.eagerness)
        for period in periods:
            start, end, closes, _ = period
            left = allowance - sent
            if left < NOTHING or finish is not None:
                break
            texts, last_at = self._send(
                pace, period, pace.room(start, end, left=left, closes=closes)
            )
            sent += texts
            if texts and self._is_done(last_at):
                finish = last_at
        self._end_day(day, shared, sent)
        return finish

    def _periods(self, day: int, begins: float, ends: float) -> Iterator[_Period]:
        """Divide the allowed hours of a day into periods.

        A new period begins at each instant at which the set of allowed zone groups changes, or at
        which people become due. If a follow-up has a delay of less than a day, a new period also
        begins each hour.
        """
        starts = self._calendar.starts[day]
        cuts = {
            one.due_from
            for queue in self._queues
            for one in queue.cohorts
            if begins < one.due_from < ends
        }
        if self._is_cut_by_hours:
            cuts |= {starts + hour * _HOUR for hour in range(25)}
        for segment in self._calendar.days[day]:
            start, end = max(begins, starts + segment.start), min(ends, starts + segment.end)
            closes = min(ends, starts + segment.closes)
            inside = sorted(at for at in cuts if start < at < end)
            for one, other in pairwise([start, *inside, end]):
                if one < other:
                    yield one, other, closes, segment.zone_groups

    def _share(self, day: int, *, is_active: bool) -> SharedDay:
        """Return how the campaign shares the limit of its line with other campaigns on a day.

        Args:
            day: The number of the day in the simulation, from 0.
            is_active: True if the simulated campaign can send on the day.
        """
        plan, on = self._plan, self._calendar.first + timedelta(days=day)
        own, used, others = plan.campaign_limit, 0, plan.others_a_day
        if day == 0:
            # The messages outside campaigns are assumed to be spread evenly over a day. On the
            # first day, only the messages of its remaining part are still to be sent.
            others *= max(0.0, 1 - (self._begins - self._calendar.starts[0]) / _DAY)
            own, used = max(0, own - plan.campaign_used), plan.line_used
        limit = limit_on(plan.ramp_plan, self._ramp_started_on, plan.line_limit, on)
        rivals = zip(plan.rivals, self._rivals, strict=True)
        return SharedDay(
            room=max(0.0, limit - others - used),
            is_ramp=limit < plan.line_limit,
            own=own if is_active else 0.0,
            demands=[demand_of(rival, waiting, on, is_first=day == 0) for rival, waiting in rivals],
            is_active=is_active,
        )

    def _end_day(self, day: int, shared: SharedDay, sent: float) -> None:
        for position, texts in enumerate(shared.sent_by_rivals(sent)):
            self._rivals[position] -= texts
        if shared.is_active and sent > shared.allowance - NOTHING:
            self._limited[shared.limit] += 1
        if sent and self._ramp_started_on is None:
            self._ramp_started_on = self._calendar.first + timedelta(days=day)
        # The value is rounded to remove the errors of floating-point additions, so that equal days
        # have equal values.
        self._sent.append(round(sent, 6))
        self._follow_ups.clear()
        for queue in self._queues:
            queue.left = queue.daily
            queue.cohorts = [one for one in queue.cohorts if one.total > _TINY]

    def _send(self, pace: Pace, period: _Period, room: float) -> tuple[float, float]:
        """Simulate a period in which the pacing allows ``room`` messages.

        Returns:
            The number of messages that are sent in the period, and when the last message is sent.
        """
        start, end, _, zone_groups = period
        taken = [
            (queue, cohort, removed)
            for queue, texts in self._divide(room, zone_groups, end)
            for cohort, removed in self._take(queue, texts, zone_groups, end)
        ]
        sent = sum(count for _, _, removed in taken for _, count in removed)
        if not sent:
            return 0.0, start
        # Some people become due only during the period, after its start. No message is sent before
        # its person is due. So the time of the last message is the later of two times: the time
        # that the pacing gives, and the time at which the last of these people becomes due.
        due_at = max(cohort.last_due for _, cohort, _ in taken)
        last_at = min(end, max(pace.take(sent), due_at))
        for queue, cohort, removed in taken:
            self._follow_up(queue, cohort.step + 1, removed, start, last_at)
        return sent, last_at

    def _divide(
        self, room: float, zone_groups: Sequence[int], end: float
    ) -> Iterator[tuple[_Queue, float]]:
        """Divide ``room`` messages among the queues, in proportion to the people who are due.

        A queue contains the people whose messages count for the same carrier's budget, or for no
        budget. A queue with a budget gets no more messages than the budget still allows on the day.
        """
        if len(self._queues) == 1:
            yield self._queues[0], room
            return
        due = {queue: queue.due(zone_groups, end) for queue in self._queues}
        total = sum(due.values())
        for queue in sorted(due, key=lambda one: one.left / max(due[one], _TINY)):
            if due[queue] > _TINY:
                texts = min(queue.left, due[queue], room * due[queue] / total)
                room, total, queue.left = room - texts, total - due[queue], queue.left - texts
                yield queue, texts

    @staticmethod
    def _take(
        queue: _Queue, texts: float, zone_groups: Sequence[int], end: float
    ) -> Iterator[tuple[Cohort, list[tuple[int, float]]]]:
        """Remove people from a queue, in the order in which they became due.

        Args:
            texts: The maximum number of messages to the removed people. A person counts as
                ``plan.workload`` messages.

        Yields:
            Each cohort (people who wait for the same message) from which people were removed, with
            a list of pairs: the index of a zone group, and the number of messages to the removed
            people of this zone group.
        """
        for cohort in queue.cohorts:
            if texts < _TINY or cohort.due_from >= end:
                return
            removed = cohort.take(min(texts, cohort.due(end)), zone_groups)
            texts -= sum(count for _, count in removed)
            if removed:
                yield cohort, removed

    def _follow_up(
        self,
        queue: _Queue,
        step: int,
        sent: Sequence[tuple[int, float]],
        first_at: float,
        last_at: float,
    ) -> None:
        """Add people who got a message, except those who reply, to a group for the next step.

        People who begin to wait for the same step on the same day form one group (a cohort).
        """
        plan = self._plan
        if step > len(plan.follow_ups):
            return
        delay = plan.follow_ups[step - 1].total_seconds()
        cohort = self._follow_ups.get((queue, step))
        if cohort is None:
            cohort = self._cohort(step, first_at + delay, last_at + delay)
            self._follow_ups[queue, step] = cohort
            queue.add(cohort)
        cohort.due_until = last_at + delay
        for zone_group, count in sent:
            cohort.add(zone_group, count * (1 - plan.reply_share))

    def _is_done(self, at: float) -> bool:
        """Return whether the campaign has sent all its messages by an instant.

        The result is False if people still wait, or if people become due after the instant.
        """
        waiting = 0.0
        for queue in self._queues:
            for cohort in queue.cohorts:
                waiting += cohort.total
                is_due_later = cohort.due_until > at and cohort.size >= NOTHING
                if waiting >= NOTHING or (is_due_later and cohort.total > _TINY):
                    return False
        return True

    def _left(self) -> list[float]:
        """Return the number of people who still wait, by the step for which they wait."""
        left = [0.0] * (1 + len(self._plan.follow_ups))
        for queue in self._queues:
            for cohort in queue.cohorts:
                left[cohort.step] += cohort.total
        return left

    def _repeat_years(self, left: list[float]) -> float | None:
        """Simulate the years after the first year.

        A day has at most as many messages as the same day of the first year.

        Args:
            left: For each step, the number of messages that are not sent in the first year. The
                function changes this list.

        Returns:
            When the last message is sent. None if the campaign ends before the last message, or if
            the last message is more than ten years away.
        """
        plan, calendar = self._plan, self._calendar
        zone = ZoneInfo(plan.hours.line_timezone)
        latest = max(one.due_until for queue in self._queues for one in queue.cohorts)
        if not any(self._sent):
            return latest if latest > calendar.starts[-1] else None
        delays = plan.follow_ups[next(step for step, texts in enumerate(left) if texts) :]
        for day in range(YEAR, HORIZON_DAYS):
            on = calendar.first + timedelta(days=day)
            starts = datetime.combine(on, time(), zone).timestamp()
            if starts >= self._ends:
                return None
            room = self._sent[day % YEAR]
            for step, waiting in enumerate(left):
                texts = min(waiting, room)
                room -= texts
                left[step] -= texts
                if step < len(plan.follow_ups):
                    left[step + 1] += texts * (1 - plan.reply_share)
            self._sent.append(self._sent[day % YEAR] - room)
            if sum(left) < NOTHING:
                closes = starts + calendar.days[day % YEAR][-1].end
                return max(latest, closes + sum(delays, timedelta()).total_seconds())
        return None

    def _outcome(self, finish: float | None, left: Sequence[float]) -> Outcome:
        plan, first = self._plan, self._calendar.first
        horizon = self._calendar.starts[0] + HORIZON_DAYS * _DAY
        is_cut = (finish or inf) > self._ends and self._ends < horizon
        ended = None if finish is None or finish > horizon else datetime.fromtimestamp(finish, UTC)
        waiting = next((texts for texts in left if texts >= NOTHING), 0.0)
        return Outcome(
            finish=plan.ends if is_cut else ended,
            not_reached=max(1, round(waiting / plan.workload)) if is_cut else 0,
            unsent=sum(texts * plan.texts_from(step) for step, texts in enumerate(left)),
            per_day=[
                (first + timedelta(days=day), round(texts))
                for day, texts in enumerate(self._sent[:SHOWN_DAYS])
                if texts
            ],
            sending_days=sum(texts > 0 for texts in self._sent),
            limited_days=self._limited,
        )
