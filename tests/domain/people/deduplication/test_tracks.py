"""After a merge, one track (the recipients of a contact in a campaign) continues."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from crm_api.domain.people.deduplication.tracks import Member, TrackVerdict, judge_tracks

SENT_AT = datetime(2026, 11, 25, tzinfo=UTC)
CAMPAIGN = UUID(int=1)
PEOPLE = [UUID(int=100 + position) for position in range(4)]


def make_member(
    key: int, owner: int, status: str, *, step: int = 0, is_sent: bool = False
) -> Member:
    return Member(
        id=UUID(int=1000 + key),
        campaign_id=CAMPAIGN,
        step=step,
        contact_id=PEOPLE[owner],
        phone=f"n{owner}",
        status=status,
        sent_at=SENT_AT if is_sent or status in {"sent", "delivered"} else None,
    )


def judge(*rows: Member) -> TrackVerdict:
    return judge_tracks(rows, heads={one: one for one in PEOPLE}, order=PEOPLE, phone="n0")


def read_keys(ids: list[UUID]) -> list[int]:
    return [one.int - 1000 for one in ids]


@pytest.mark.parametrize("status", ["pending", "review", "held"])
def test_waiting_recipient_of_the_only_duplicate_moves_to_the_primarys_number(status: str) -> None:
    assert read_keys(judge(make_member(1, 1, status)).following) == [1]


@pytest.mark.parametrize("status", ["sent", "delivered", "skipped", "cancelled", "failed"])
def test_finished_recipient_moves_and_keeps_its_number(status: str) -> None:
    verdict = judge(make_member(1, 1, status))

    assert (read_keys(verdict.moved), verdict.following) == ([1], [])


@pytest.mark.parametrize("status", ["pending", "skipped", "failed", "sent", "unknown"])
def test_a_waiting_duplicate_is_skipped_if_the_primary_has_the_step(status: str) -> None:
    verdict = judge(make_member(1, 0, status), make_member(2, 1, "pending"))

    assert read_keys(verdict.skipped) == [2]
    assert verdict.moved == verdict.following == []


@pytest.mark.parametrize("status", ["sending", "unknown", "sent", "delivered"])
def test_the_waiting_primary_is_skipped_if_a_duplicate_may_have_got_the_message(
    status: str,
) -> None:
    verdict = judge(make_member(1, 0, "pending"), make_member(2, 1, status))

    assert read_keys(verdict.skipped) == [1]


def test_a_message_never_sent_to_a_duplicate_does_not_skip_the_primary() -> None:
    never_sent = judge(make_member(1, 0, "pending"), make_member(2, 1, "failed"))
    failed_after_sending = judge(
        make_member(1, 0, "pending"), make_member(2, 1, "failed", is_sent=True)
    )

    assert read_keys(never_sent.skipped) == []
    assert read_keys(failed_after_sending.skipped) == [1]


def test_two_recipients_being_sent_to_get_no_other_attempt() -> None:
    verdict = judge(make_member(1, 0, "unknown"), make_member(2, 1, "sending"))

    assert sorted(read_keys(verdict.ended)) == [1, 2]


def test_the_furthest_track_continues_and_takes_free_steps_of_the_primary() -> None:
    verdict = judge(
        make_member(1, 0, "pending"),
        make_member(2, 1, "sent"),
        make_member(3, 1, "pending", step=1),
    )

    assert read_keys(verdict.skipped) == [1]
    assert read_keys(verdict.following) == [3]


def test_a_waiting_track_has_priority_over_a_finished_one() -> None:
    verdict = judge(make_member(1, 1, "skipped"), make_member(2, 2, "pending"))

    assert read_keys(verdict.following) == [2]


def test_recipients_of_other_contacts_with_one_of_the_numbers_are_not_changed() -> None:
    other = make_member(1, 3, "sent")

    verdict = judge_tracks([other], heads={PEOPLE[0]: PEOPLE[0]}, order=PEOPLE[:1], phone="n0")

    assert verdict == TrackVerdict()
