import itertools
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.provider.openphone.samples import sample, sample_names

from crm_api.domain.messaging.conversations.call_state import began_at, merge_call, rank_status
from crm_api.domain.provider.openphone.facts import ProviderEvent
from crm_api.domain.provider.openphone.wire import parse_event

CALL = "AC747df9905da836742ff24c1c587b59b5"


def events_of(call_id: str, samples: str = "") -> list[ProviderEvent]:
    parsed = [parse_event(sample(name)) for name in sample_names() if name.startswith(samples)]
    return [one for one in parsed if one.call and one.call.provider_call_id == call_id]


EVENTS = events_of(CALL)


def merge_events(events: list[ProviderEvent]) -> tuple[dict[str, Any], tuple[int, str]]:
    facts: dict[str, Any] = {}
    status = (0, "unknown")
    for event in events:
        assert event.call is not None
        facts = merge_call(facts, event.call, event_at=event.created_at)
        status = max(status, rank_status(event.call, event.type))
    return facts, status


def test_samples_contain_many_events_of_one_call() -> None:
    assert len(EVENTS) > 8
    assert len({event.type for event in EVENTS}) > 6


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=6))
def test_events_merge_alike_in_any_order_and_repeated(
    order: list[ProviderEvent], again: list[ProviderEvent]
) -> None:
    assert merge_events(order + again) == merge_events(EVENTS)


def test_events_of_one_api_version_merge_alike_in_every_order() -> None:
    dated = events_of(CALL, "2026-03-30/")

    assert len(dated) == 7
    expected = merge_events(dated)
    assert all(merge_events(list(order)) == expected for order in itertools.permutations(dated))


def test_every_pair_of_events_merges_alike_in_both_orders() -> None:
    for first, second in itertools.permutations(EVENTS, 2):
        assert merge_events([first, second]) == merge_events([second, first])


def test_all_events_together_describe_the_whole_call() -> None:
    facts, status = merge_events(EVENTS)

    assert status == (5, "completed")
    assert began_at(facts) == datetime.fromisoformat("2026-11-20T16:10:00.221Z")
    assert facts["duration_seconds"] == 155
    assert facts["external"] == ["+16175550123"]
    assert facts["own"] == ["+16175550100"]
    assert facts["menu"][0]["name"] == "Estimates"
    assert len(facts["recordings"]) == 2, "a recording that both systems report counts once"
    assert facts["summary"]["next_steps"] == ["Send a revised estimate by Friday."]
    assert len(facts["transcript"]) == 2
    assert facts["is_missed"] is False


@pytest.mark.parametrize("name", ["call.summary.completed", "call.transcript.completed"])
def test_summary_without_its_call_is_dated_by_its_event(name: str) -> None:
    facts, status = merge_events([parse_event(sample(f"2026-03-30/{name}"))])

    assert status == (0, "unknown")
    assert began_at(facts) is not None


def test_missed_call_keeps_its_voicemail() -> None:
    facts, status = merge_events(events_of("ACb60a898d2afd2e7d354177f027ae5195"))

    assert status[0] == 5
    assert facts["is_missed"] is True
    assert facts["has_voicemail"] is True
    assert facts["voicemail"]["transcript"].startswith("Hi, it is Dana")


def test_late_ringing_event_does_not_change_an_answered_call() -> None:
    ringing = parse_event(sample("2026-03-30/call.ringing"))
    completed = parse_event(sample("2026-03-30/call.completed"))

    assert merge_events([completed, ringing])[1] == (5, "answered")
