import itertools
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.provider.openphone.samples import sample, sample_names

from crm_api.domain.messaging.conversations.call_documents import began_at, merge_call, rank_status
from crm_api.domain.provider.openphone.facts import ProviderEvent
from crm_api.domain.provider.openphone.wire import parse_event

CALL = "AC747df9905da836742ff24c1c587b59b5"


def events_of(call_id: str) -> list[ProviderEvent]:
    parsed = [parse_event(sample(name)) for name in sample_names()]
    return [one for one in parsed if one.call and one.call.provider_call_id == call_id]


EVENTS = events_of(CALL)


def outcome(events: list[ProviderEvent]) -> tuple[dict[str, Any], tuple[int, str]]:
    known: dict[str, Any] = {}
    status = (0, "unknown")
    for event in events:
        assert event.call is not None
        known = merge_call(known, event.call, event_at=event.created_at)
        status = max(status, rank_status(event.call, event.type))
    return known, status


def test_the_samples_report_one_call_in_many_ways() -> None:
    assert len(EVENTS) > 8
    assert len({event.type for event in EVENTS}) > 6


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=6))
def test_order_and_repetition_do_not_matter(
    order: list[ProviderEvent], again: list[ProviderEvent]
) -> None:
    assert outcome(order + again) == outcome(EVENTS)


def test_events_of_one_system_give_the_same_call_in_every_order() -> None:
    dated = [event for event in EVENTS if event.api_version == "2026-03-30"]

    assert len(dated) == 7
    expected = outcome(dated)
    assert all(outcome(list(order)) == expected for order in itertools.permutations(dated))


def test_every_pair_commutes() -> None:
    for first, second in itertools.permutations(EVENTS, 2):
        assert outcome([first, second]) == outcome([second, first])


def test_what_is_known_in_the_end() -> None:
    known, status = outcome(EVENTS)

    assert status == (5, "completed")
    assert began_at(known) == datetime.fromisoformat("2026-11-20T16:10:00.221Z")
    assert known["duration_seconds"] == 155
    assert known["external"] == ["+16175550123"]
    assert known["own"] == ["+16175550100"]
    assert known["menu"][0]["name"] == "Estimates"
    assert len(known["recordings"]) == 2, "the one that both systems report counts once"
    assert known["summary"]["next_steps"] == ["Send a revised estimate by Friday."]
    assert len(known["transcript"]) == 2
    assert known["is_missed"] is False


@pytest.mark.parametrize("name", ["call.summary.completed", "call.transcript.completed"])
def test_a_summary_alone_is_a_stub_placed_by_its_event(name: str) -> None:
    known, status = outcome([parse_event(sample(f"2026-03-30/{name}"))])

    assert status == (0, "unknown")
    assert began_at(known) is not None


def test_a_missed_call_with_its_voicemail() -> None:
    known, status = outcome(events_of("ACb60a898d2afd2e7d354177f027ae5195"))

    assert status[0] == 5
    assert known["is_missed"] is True
    assert known["has_voicemail"] is True
    assert known["voicemail"]["transcript"].startswith("Hi, it is Dana")


def test_a_late_ringing_does_not_take_an_answered_call_back() -> None:
    ringing = parse_event(sample("2026-03-30/call.ringing"))
    completed = parse_event(sample("2026-03-30/call.completed"))

    assert outcome([completed, ringing])[1] == (5, "answered")
