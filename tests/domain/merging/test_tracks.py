"""Which track of a campaign goes on, as a decision about rows."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from crm_api.domain.merging.tracks import Member, Verdict, judge

SENT_AT = datetime(2026, 11, 25, tzinfo=UTC)
CAMPAIGN = UUID(int=1)
PEOPLE = [UUID(int=100 + place) for place in range(4)]


def row(key: int, owner: int, status: str, *, step: int = 0, is_sent: bool = False) -> Member:
    return Member(
        id=UUID(int=1000 + key),
        campaign_id=CAMPAIGN,
        step=step,
        contact_id=PEOPLE[owner],
        phone=f"n{owner}",
        status=status,
        sent_at=SENT_AT if is_sent or status in {"sent", "delivered"} else None,
    )


def judged(*rows: Member) -> Verdict:
    return judge(rows, heads={one: one for one in PEOPLE}, order=PEOPLE, phone="n0")


def keys(ids: list[UUID]) -> list[int]:
    return [one.int - 1000 for one in ids]


@pytest.mark.parametrize("status", ["pending", "review", "held"])
def test_what_waits_for_the_only_duplicate_follows(status: str) -> None:
    assert keys(judged(row(1, 1, status)).following) == [1]


@pytest.mark.parametrize("status", ["sent", "delivered", "skipped", "cancelled", "failed"])
def test_what_is_over_moves_and_keeps_its_number(status: str) -> None:
    verdict = judged(row(1, 1, status))

    assert (keys(verdict.moved), verdict.following) == ([1], [])


@pytest.mark.parametrize("status", ["pending", "skipped", "failed", "sent", "unknown"])
def test_a_duplicate_waits_no_more_where_the_primary_is_already(status: str) -> None:
    verdict = judged(row(1, 0, status), row(2, 1, "pending"))

    assert keys(verdict.skipped) == [2]
    assert verdict.moved == verdict.following == []


@pytest.mark.parametrize("status", ["sending", "unknown", "sent", "delivered"])
def test_the_primary_waits_no_more_where_a_duplicate_may_have_been_texted(status: str) -> None:
    verdict = judged(row(1, 0, "pending"), row(2, 1, status))

    assert keys(verdict.skipped) == [1]


def test_a_text_that_never_left_for_a_duplicate_does_not_stand_in_the_way() -> None:
    never_left = judged(row(1, 0, "pending"), row(2, 1, "failed"))
    failed_on_its_way = judged(row(1, 0, "pending"), row(2, 1, "failed", is_sent=True))

    assert keys(never_left.skipped) == []
    assert keys(failed_on_its_way.skipped) == [1]


def test_two_under_way_get_no_other_try() -> None:
    verdict = judged(row(1, 0, "unknown"), row(2, 1, "sending"))

    assert sorted(keys(verdict.ended)) == [1, 2]


def test_the_furthest_track_goes_on_and_takes_the_primarys_place_where_it_is_free() -> None:
    verdict = judged(row(1, 0, "pending"), row(2, 1, "sent"), row(3, 1, "pending", step=1))

    assert keys(verdict.skipped) == [1]
    assert keys(verdict.following) == [3]


def test_a_track_that_waits_goes_before_one_that_is_over() -> None:
    verdict = judged(row(1, 1, "skipped"), row(2, 2, "pending"))

    assert keys(verdict.following) == [2]


def test_rows_of_others_who_have_one_of_the_numbers_stay() -> None:
    other = row(1, 3, "sent")

    verdict = judge([other], heads={PEOPLE[0]: PEOPLE[0]}, order=PEOPLE[:1], phone="n0")

    assert verdict == Verdict()
