"""Plans of campaigns and lines, and the hypothesis strategies that draw them."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from hypothesis import strategies as st

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RECIPIENT = "recipient"

WINDOWS = (
    (time(9), time(18)),
    (time(8), time(12)),
    (time(11, 30), time(13, 15)),
    (time(17), time(21)),
    (time(19, 30), time(22)),
    (time(1, 30), time(20)),
)
DAY_SETS = (DAYS[:5], DAYS[5:], ("mon", "wed", "sat"), ("sun",))
TIMEZONES = (None, "America/Los_Angeles", "Europe/Berlin")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Content of a campaign.

    Attributes:
        people: Positions of its recipients in the list of people.
        batch: Size of a batch, and minutes from batch to batch; None spreads the messages evenly.
        frequency_cap: Largest number of messages to a person, in a number of days.
        starts_in: Time from the creation of the campaign to its start; None starts immediately.
        ends_in: Time from the creation of the campaign to its end; None is no end.
        follow_ups: For each follow-up, the hours from the previous message.
    """

    people: frozenset[int]
    window: tuple[time, time] = (time(0), time(23, 59))
    days: tuple[str, ...] = DAYS
    timezone: str | None = RECIPIENT
    daily_limit: int = 125
    batch: tuple[int, int] | None = (100, 15)
    min_days_between: int | None = None
    frequency_cap: tuple[int, int] | None = None
    previously_contacted: str = "send"
    max_attempts: int = 5
    starts_in: timedelta | None = None
    ends_in: timedelta | None = None
    follow_ups: tuple[float, ...] = ()
    variants: int = 1


MOST_PEOPLE = 6
EVERYBODY = frozenset(range(MOST_PEOPLE))
OPEN_DAY = (time(0), time(23, 59))


def _mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    """Return a strategy that draws the usual value twice as often as all others together."""
    return st.sampled_from([*[usual] * 2 * len(others), *others])


def plans() -> st.SearchStrategy[Plan]:
    """Return a strategy for plans; most values are the usual ones, so that messages are sent."""
    return st.builds(
        Plan,
        people=st.just(EVERYBODY) | st.frozensets(st.sampled_from(sorted(EVERYBODY)), min_size=2),
        window=_mostly(OPEN_DAY, *WINDOWS),
        days=_mostly(DAYS, *DAY_SETS),
        timezone=_mostly(RECIPIENT, *TIMEZONES),
        daily_limit=_mostly(125, 1, 2, 3),
        batch=_mostly((100, 15), (1, 15), (2, 60), (3, 240), None, None, None),
        min_days_between=_mostly(None, 1, 2),
        frequency_cap=_mostly(None, (1, 1), (2, 2)),
        previously_contacted=_mostly("send", "skip", "review"),
        max_attempts=_mostly(5, 1, 2),
        starts_in=_mostly(None, timedelta(hours=1), timedelta(hours=20)),
        ends_in=_mostly(None, timedelta(hours=30), timedelta(days=3)),
        follow_ups=st.sampled_from([(), (), (1.0,), (0.5, 6.0), (0.1, 0.2, 0.3), (30.0,)]),
        variants=st.sampled_from([1, 2]),
    )


@dataclass(frozen=True, kw_only=True)
class LinePlan:
    """The settings of the line that sends."""

    timezone: str
    daily_limit: int
    ramp: tuple[int, ...] | None


def line_plans() -> st.SearchStrategy[LinePlan]:
    """Return a strategy for the settings of the line."""
    return st.builds(
        LinePlan,
        timezone=st.sampled_from(["America/New_York", "America/Los_Angeles", "Asia/Tokyo"]),
        daily_limit=_mostly(125, 3, 5),
        ramp=_mostly(None, (1, 2, 4), (2,)),
    )


BEGINNINGS = tuple(
    datetime.fromisoformat(text)
    for text in (
        "2026-11-25T15:00:00+00:00",  # the day before Thanksgiving
        "2026-10-31T18:00:00+00:00",  # the day before the clocks are set back
        "2027-03-13T17:00:00+00:00",  # the day before the clocks are set forward
        "2026-12-24T14:00:00+00:00",
        "2027-02-16T16:00:00+00:00",
        "2027-01-29T23:30:00+00:00",
    )
)
