"""Measure when messages, events and requests are again as fast as before the fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.traffic import Incoming, Outcome, Request, Traffic

RATE_OVER_SECONDS = 5.0
"""The rate of messages before the fault is measured over this time."""
AGAIN_OVER_SECONDS = 4.0
RATE_SHARE = 0.8
"""Share of the earlier rate that must be reached. It is less than 1, because the jobs that send
messages have short pauses between them."""
WITHIN_SECONDS = 2.0
TIME_FACTOR = 2.0
"""An event or a request is fast enough if it takes at most ``WITHIN_SECONDS``, or at most
``TIME_FACTOR`` times the longest time before the fault."""
APPLIED_IN_A_ROW = 4
ANSWERED_IN_A_ROW = 10


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Seconds from the end of a fault until each kind of work was as fast as before.

    A value is None if the work is not as fast yet.
    """

    messages: float | None
    webhooks: float | None
    api: float | None
    longest_gap: float
    """The longest time in which no message was sent, since the beginning of the fault."""

    @property
    def seconds(self) -> float | None:
        """The seconds until messages, webhooks and requests were as fast as before.

        The value is None if one of these is not as fast yet.
        """
        found = [self.messages, self.webhooks, self.api]
        return None if None in found else max(one for one in found if one is not None)


def rate_before(traffic: Traffic, begun_at: float) -> float:
    """Return the number of messages per second before the fault."""
    first = begun_at - RATE_OVER_SECONDS
    return sum(first <= at < begun_at for at in traffic.sent_at) / RATE_OVER_SECONDS


def measure(traffic: Traffic, *, begun_at: float, ended_at: float, now: float) -> Recovery:
    """Return when messages, webhooks and requests were again as fast as before the fault."""
    rate, first = rate_before(traffic, begun_at), begun_at - RATE_OVER_SECONDS
    return Recovery(
        messages=_since(_rate_again(traffic.sent_at, rate=rate, after=ended_at, now=now), ended_at),
        webhooks=_since(
            _applied_again(
                traffic.incoming,
                after=ended_at,
                within=_within(
                    [
                        _waited(one, begun_at)
                        for one in traffic.incoming
                        if first <= one.at < begun_at
                    ]
                ),
            ),
            ended_at,
        ),
        api=_since(
            _answered_again(
                traffic.requests,
                after=ended_at,
                within=_within(
                    [one.took for one in traffic.requests if first <= one.at < begun_at]
                ),
            ),
            ended_at,
        ),
        longest_gap=_longest_gap(traffic.sent_at, begun_at, now),
    )


def _within(before: Sequence[float]) -> float:
    """Return how many seconds an event may take until it is applied, or a request may take.

    ``before`` has the durations before the fault.
    """
    return max(WITHIN_SECONDS, TIME_FACTOR * max(before, default=0.0))


def _waited(one: Incoming, until: float) -> float:
    return (one.applied_at or until) - one.at


def _since(at: float | None, ended_at: float) -> float | None:
    return None if at is None else max(0.0, at - ended_at)


def _rate_again(sent_at: Sequence[float], *, rate: float, after: float, now: float) -> float | None:
    """Return when messages were sent at the earlier rate again; None if they were not."""
    enough = rate * AGAIN_OVER_SECONDS * RATE_SHARE
    for begin in (after, *(at for at in sent_at if at >= after)):
        if begin + AGAIN_OVER_SECONDS > now:
            return None
        if sum(begin <= at < begin + AGAIN_OVER_SECONDS for at in sent_at) >= enough:
            return begin
    return None


def _applied_again(incoming: Sequence[Incoming], *, after: float, within: float) -> float | None:
    """Return the arrival time of the first message of a series that was applied in time.

    A series is ``APPLIED_IN_A_ROW`` consecutive messages, each of which was applied within the
    given time. Return None if there was no such series.
    """
    row: list[Incoming] = []
    for one in (one for one in incoming if one.at >= after):
        is_soon = one.applied_at is not None and one.applied_at - one.at <= within
        row = [*row, one] if is_soon else []
        if len(row) == APPLIED_IN_A_ROW:
            return row[0].at
    return None


def _answered_again(requests: Sequence[Request], *, after: float, within: float) -> float | None:
    row: list[Request] = []
    for one in sorted((one for one in requests if one.at >= after), key=lambda one: one.at):
        is_well = one.outcome is Outcome.ANSWERED and one.took <= within
        row = [*row, one] if is_well else []
        if len(row) == ANSWERED_IN_A_ROW:
            return row[0].at
    return None


def _longest_gap(sent_at: Sequence[float], since: float, until: float) -> float:
    points = [since, *sorted(at for at in sent_at if since <= at < until), until]
    return max(later - earlier for earlier, later in pairwise(points))
