"""A day's messages are spread evenly over the window, or sent in batches."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from crm_api.domain.messaging.sends.pacing import (
    CATCH_UP,
    Burst,
    Even,
    Pace,
    Pacing,
    Room,
    advance,
    quota,
    waits_until,
)

OPENS = datetime(2026, 11, 25, 14, 0, tzinfo=UTC)
CLOSES = OPENS + timedelta(hours=9)


def room(left: int, *, ends_at: datetime = CLOSES, line_left: int = 10_000_000) -> Room:
    return Room(line_left=line_left, campaign_left=left, ends_at=ends_at)


def send_times(
    make: Pacing, *, allowance: int, opens: datetime = OPENS, closes: datetime = CLOSES
) -> list[datetime]:
    """Simulate a claim whenever the pace allows one; return the times of the messages."""
    times: list[datetime] = []
    pace: Pace | None = None
    now = opens
    while now < closes and len(times) < allowance:
        now = max(now, waits_until(make, pace, now) or now)
        if now >= closes:
            break
        left = room(allowance - len(times), ends_at=closes)
        taken = quota(make, pace, left, now)
        assert taken > 0
        pace = advance(make, pace, left, taken=taken, now=now)
        times += [now] * taken
    return times


def test_even_pace_sends_one_message_every_four_minutes_and_nineteen_seconds() -> None:
    times = send_times(Even(), allowance=125)

    gaps = {round((later - earlier).total_seconds()) for earlier, later in pairwise(times)}
    assert len(times) == 125
    assert times[0] == OPENS
    assert gaps == {259}


def test_even_pace_spreads_the_remaining_messages_over_the_remaining_window() -> None:
    times = send_times(Even(), allowance=30, opens=CLOSES - timedelta(hours=1))

    assert len(times) == 30
    assert times[15] == CLOSES - timedelta(minutes=30)


@pytest.mark.parametrize("allowance", [1, 7, 125, 5_000])
@pytest.mark.parametrize("minutes", [1, 60, 540])
def test_even_pace_with_jitter_uses_the_whole_day(allowance: int, minutes: int) -> None:
    chance = random.Random(allowance + minutes)  # noqa: S311 - repeatable, no secret
    closes = OPENS + timedelta(minutes=minutes)
    times: list[datetime] = []
    pace: Pace | None = None
    now = OPENS
    while now < closes:
        make = Even(jitter=chance.uniform(0.5, 1.5))
        left = room(allowance - len(times), ends_at=closes)
        taken = quota(make, pace, left, now)
        if taken:
            pace = advance(make, pace, left, taken=taken, now=now)
            times += [now] * taken
        now = max(now + timedelta(milliseconds=100), waits_until(make, pace, now) or now)

    assert allowance - 1 <= len(times) <= allowance
    assert allowance < 5 or times[len(times) // 2] - OPENS > (closes - OPENS) * 0.25


def test_jitter_makes_distances_differ() -> None:
    left = room(100)
    first = advance(Even(jitter=0.5), None, left, taken=1, now=OPENS)
    second = advance(Even(jitter=1.5), None, left, taken=1, now=OPENS)

    assert second.next_at - OPENS == 3 * (first.next_at - OPENS)


def test_standstill_is_not_followed_by_a_burst() -> None:
    late = OPENS + timedelta(hours=3)

    taken = quota(Even(), Pace(next_at=OPENS), room(100), late)

    assert taken == 1


def test_messages_keep_their_distance_right_after_a_standstill() -> None:
    late = OPENS + timedelta(hours=3)
    left = room(100)

    pace = advance(Even(), Pace(next_at=OPENS), left, taken=1, now=late)

    distance = (CLOSES - late) / 100
    assert pace.next_at == late - CATCH_UP + distance


def test_late_claim_takes_the_messages_of_the_missed_time() -> None:
    distance = timedelta(hours=9) / 3_240  # 10 s between messages
    late = OPENS + CATCH_UP

    taken = quota(Even(), Pace(next_at=OPENS), room(3_240, ends_at=late + 3_240 * distance), late)

    assert taken == 13


def test_fast_campaign_claims_the_messages_of_one_second_together() -> None:
    left = room(9 * 3600 * 50)

    taken = quota(Even(), None, left, OPENS)
    pace = advance(Even(), None, left, taken=taken, now=OPENS)

    assert taken == 51
    assert pace.next_at - OPENS == 51 * timedelta(milliseconds=20)


def test_campaigns_share_what_the_line_has_left() -> None:
    alone = advance(Even(), None, room(500, line_left=100), taken=1, now=OPENS)
    in_company = advance(Even(sharers=2), None, room(500, line_left=100), taken=1, now=OPENS)

    assert in_company.next_at - OPENS == 2 * (alone.next_at - OPENS)


def test_even_pace_ends_its_day_with_the_lines_day() -> None:
    """Test a window that stays open over midnight, when a new daily allowance begins."""
    midnight = OPENS + timedelta(hours=1)

    pace = advance(Even(), None, room(4, ends_at=midnight), taken=1, now=OPENS)

    assert pace.next_at == OPENS + timedelta(minutes=15)


@pytest.mark.parametrize(("line_left", "campaign_left"), [(0, 10), (10, 0), (-3, 10), (10, -3)])
def test_quota_is_zero_when_a_cap_is_used_up(line_left: int, campaign_left: int) -> None:
    left = Room(line_left=line_left, campaign_left=campaign_left, ends_at=CLOSES)

    assert quota(Even(), None, left, OPENS) == 0
    assert quota(Burst(size=5, interval=timedelta(minutes=1)), None, left, OPENS) == 0


@pytest.mark.parametrize(
    ("minutes", "batch_left", "may"),
    [(-1, 0, 20), (0, 3, 20), (1, 0, 0), (1, 8, 8), (29, 8, 8)],
)
def test_batch_continues_until_it_is_used_up_and_the_next_starts_full(
    minutes: int, batch_left: int, may: int
) -> None:
    batches = Burst(size=20, interval=timedelta(minutes=30))
    pace = Pace(next_at=OPENS + timedelta(minutes=minutes), batch_left=batch_left)

    assert quota(batches, pace, room(1000), OPENS) == may
    assert (waits_until(batches, pace, OPENS) is None) == (may > 0)


def test_batches_start_an_interval_apart() -> None:
    batches = Burst(size=20, interval=timedelta(minutes=30))

    times = send_times(batches, allowance=50)

    assert [times.count(OPENS + timedelta(minutes=minutes)) for minutes in (0, 30, 60)] == [
        20,
        20,
        10,
    ]


def test_partly_used_batch_continues() -> None:
    batches = Burst(size=20, interval=timedelta(minutes=30))

    pace = advance(batches, None, room(100), taken=12, now=OPENS)
    later = advance(batches, pace, room(88), taken=5, now=OPENS + timedelta(minutes=1))

    assert pace == Pace(next_at=OPENS + timedelta(minutes=30), batch_left=8)
    assert later == Pace(next_at=OPENS + timedelta(minutes=30), batch_left=3)
