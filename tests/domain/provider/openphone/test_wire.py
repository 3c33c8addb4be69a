import contextlib
import copy
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.domain.provider.openphone.samples import sample, sample_names

from crm_api.domain.provider.openphone.errors import UnreadableEventError
from crm_api.domain.provider.openphone.facts import CallFacts, EventKind, MessageFacts
from crm_api.domain.provider.openphone.wire import (
    parse_event,
    parse_message,
    parse_phone_number,
    parse_problem,
    parse_webhook,
)

PERSON, OWN_NUMBER = "+16175550123", "+16175550100"
LINE, CONVERSATION = "PNd81fYcQ2", "CN5b1f0c7a9e3d4c62a8f47d10be926c35"
JUNK: tuple[Any, ...] = (
    *(None, 7, "x", True, -1e300),
    *([], {}, [[]], {"a": {"b": 1}}, ["\ud800"]),
)
CALL = "AC747df9905da836742ff24c1c587b59b5"
MISSED_CALL = "ACb60a898d2afd2e7d354177f027ae5195"


def _message(name: str) -> MessageFacts:
    message = parse_event(sample(name)).message
    assert message is not None
    return message


def _call(name: str) -> CallFacts:
    call = parse_event(sample(name)).call
    assert call is not None
    return call


@pytest.mark.parametrize("name", sample_names())
def test_every_sample_of_a_message_or_call_is_read_with_one_payload(name: str) -> None:
    event = parse_event(sample(name))

    is_read = event.type.startswith(("message.", "call."))
    assert sum(payload is not None for payload in (event.message, event.call)) == is_read
    assert (event.kind is EventKind.UNKNOWN) != is_read
    assert event.event_id is not None
    assert event.event_id.startswith("EV")
    assert event.created_at is not None
    assert event.type.count(".") >= 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("legacy/message.received", "Yes, Tuesday at 10 works for me"),
        ("legacy/variants/v4-documented.message.received", "Yes, Tuesday at 10 works for me"),
        ("legacy/variants/v4-mms.message.received", ""),
        ("legacy/variants/v3-app.message.received.stop", "STOP"),
        ("legacy/variants/v3-app.message.received.mms", "photo of the leak"),
        ("legacy/variants/v3-wrapped-in-object.message.received", "STOP"),
        ("2026-03-30/message.received", "Yes, Tuesday at 10 works for me"),
    ],
)
def test_received_message_is_read(name: str, text: str) -> None:
    message = _message(name)

    assert message.direction == "incoming"
    assert message.text == text
    assert message.status == "received"
    assert (message.from_number, message.to_numbers) == (PERSON, (OWN_NUMBER,))


def test_group_message_has_all_recipients() -> None:
    message = _message("legacy/variants/v3-app.message.received.group")

    assert message.to_numbers == (OWN_NUMBER, "+16175550147")


@pytest.mark.parametrize(
    ("name", "conversation"),
    [
        ("legacy/message.received", CONVERSATION),
        ("legacy/variants/v3-app.message.received.stop", CONVERSATION),
        ("2026-03-30/message.received", CONVERSATION),
        ("legacy/variants/v4-documented.message.received", None),
    ],
)
def test_conversation_id_is_read_if_the_event_has_one(name: str, conversation: str | None) -> None:
    message = _message(name)

    assert (message.phone_number_id, message.conversation_id) == (LINE, conversation)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("legacy/message.delivered", "delivered", None),
        ("legacy/variants/v3-app.message.delivered", "delivered", None),
        ("2026-03-30/message.delivered", "delivered", None),
        ("2026-03-30/message.failed", "failed", None),
        ("2026-03-30/message.failed.permanent", "failed", "30006"),
        ("2026-03-30/message.undelivered", "undelivered", "30007"),
    ],
)
def test_report_about_a_sent_message_is_read(name: str, status: str, code: str | None) -> None:
    message = _message(name)

    assert message.direction == "outgoing"
    assert (message.status, message.error_code) == (status, code)
    assert message.from_number == OWN_NUMBER
    assert message.provider_message_id.startswith("AC")
    assert len(message.to_numbers) == 1
    assert message.user_id == "US7hTq2ZbX"


def test_times_and_media_of_a_message_are_read() -> None:
    message = _message("legacy/variants/v4-mms.message.received")

    assert message.created_at == datetime(2026, 11, 20, 15, 7, 30, 702_000, tzinfo=UTC)
    assert [(item.url, item.type) for item in message.media] == [
        ("https://media.example.com/7d1c.jpeg", "image/jpeg")
    ]


@pytest.mark.parametrize(
    ("name", "status", "answered_by"),
    [
        ("legacy/call.completed", "completed", "US7hTq2ZbX"),
        ("2026-03-30/call.completed", "answered", None),
        ("2026-03-30/call.answered", None, "US7hTq2ZbX"),
        ("legacy/call.ringing", "ringing", None),
        ("2026-03-30/call.ringing", None, None),
    ],
)
def test_stages_of_a_call_are_read(name: str, status: str | None, answered_by: str | None) -> None:
    call = _call(name)

    assert call.provider_call_id == CALL
    assert (call.status, call.answered_by, call.direction) == (status, answered_by, "incoming")
    assert (call.external, call.own) == ((PERSON,), (OWN_NUMBER,))
    assert (call.phone_number_id, call.conversation_id) == (LINE, CONVERSATION)
    assert call.created_at == datetime(2026, 11, 20, 16, 10, 0, 221_000, tzinfo=UTC)
    assert not call.is_missed


@pytest.mark.parametrize("name", ["legacy/call.completed", "2026-03-30/call.completed"])
def test_duration_and_end_of_a_call_are_read(name: str) -> None:
    call = _call(name)

    assert call.duration_seconds == 155
    assert call.answered_at == datetime(2026, 11, 20, 16, 10, 6, tzinfo=UTC)
    assert call.completed_at == datetime(2026, 11, 20, 16, 12, 41, tzinfo=UTC)


def test_outgoing_call_has_its_parties_in_reverse_order() -> None:
    event = sample("legacy/call.completed")
    event["data"]["object"] |= {"direction": "outgoing", "participants": [OWN_NUMBER, PERSON]}

    call = parse_event(event).call

    assert call is not None
    assert (call.external, call.own) == ((PERSON,), (OWN_NUMBER,))


def test_call_without_participants_keeps_its_conversation() -> None:
    call = _call("legacy/variants/v4-empty-participants.call.completed")

    assert (call.external, call.own) == ((), ())
    assert call.conversation_id == CONVERSATION
    assert call.is_missed


def test_missed_call_is_incoming() -> None:
    call = _call("2026-03-30/call.missed")

    assert call.is_missed
    assert call.direction == "incoming"
    assert call.provider_call_id == MISSED_CALL


def test_forwarding_and_menu_choice_of_a_call_are_read() -> None:
    forwarded, chosen = _call("2026-03-30/call.forwarded"), _call("2026-03-30/call.menu.selected")

    assert (forwarded.forwarded_from, forwarded.forwarded_to) == (OWN_NUMBER, "+16175550188")
    assert (chosen.menu_selection, chosen.menu_selection_name) == ("1", "Estimates")


@pytest.mark.parametrize(
    "name",
    [
        "legacy/call.recording.completed",
        "legacy/variants/v3-app.call.recording.completed",
        "2026-03-30/call.recording.completed",
    ],
)
def test_recording_of_a_call_is_read(name: str) -> None:
    (recording,) = _call(name).recordings

    assert recording.url.startswith("https://recordings.example.com/")
    assert recording.type == "audio/mpeg"
    assert recording.duration_seconds == 153


def test_voicemail_of_both_schemes_belongs_to_the_call() -> None:
    old = _call("legacy/variants/v3-app.call.completed.voicemail")
    new = _call("2026-03-30/call.voicemail.completed")

    assert old.provider_call_id == new.provider_call_id == MISSED_CALL
    assert old.voicemail is not None
    assert new.voicemail is not None
    assert old.voicemail.url == "https://recordings.example.com/vm-a1e0.mp3"
    assert old.is_missed
    assert new.voicemail.id == "VMq2Lr8sTn"
    assert new.voicemail.transcript is not None
    assert parse_event(sample("2026-03-30/call.voicemail.completed")).kind is (
        EventKind.CALL_VOICEMAIL
    )


@pytest.mark.parametrize(
    "name",
    [
        "legacy/call.summary.completed",
        "legacy/variants/v4-documented.call.summary.completed",
        "2026-03-30/call.summary.completed",
    ],
)
def test_summary_under_each_type_name_is_read(name: str) -> None:
    event = parse_event(sample(name))

    assert (event.type, event.kind) == ("call.summary.completed", EventKind.CALL_SUMMARY)
    assert event.call is not None
    assert event.call.provider_call_id == CALL
    assert event.call.processing_status == "completed"
    assert event.call.summary == ("Dana asked whether the estimate includes gutter removal.",)
    assert event.call.next_steps == ("Send a revised estimate by Friday.",)


@pytest.mark.parametrize(
    "name",
    [
        "legacy/call.transcript.completed",
        "legacy/variants/v4-documented.call.transcript.completed",
        "2026-03-30/call.transcript.completed",
    ],
)
def test_transcript_under_each_type_name_is_read(name: str) -> None:
    event = parse_event(sample(name))

    assert (event.type, event.kind) == ("call.transcript.completed", EventKind.CALL_TRANSCRIPT)
    assert event.call is not None
    ours, theirs = event.call.dialogue
    assert (ours.user_id, ours.start) == ("US7hTq2ZbX", 0.41)
    assert theirs.identifier == PERSON


def test_unknown_type_has_no_payload() -> None:
    event = parse_event({"id": "EV1", "type": "integration.moved", "data": {}})

    assert event.kind is EventKind.UNKNOWN
    assert (event.message, event.call) == (None, None)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "type"),
        ([], "type"),
        ({"id": "EV1"}, "type"),
        ({"type": "message.received"}, "data"),
        ({"type": "message.received", "data": {"object": {"text": "x"}}}, "no id"),
        ({"type": "message.received", "data": {"object": {"id": "AC1"}}}, "no time"),
        (
            {
                "type": "message.received",
                "createdAt": "2026-11-20T15:00:00Z",
                "data": {"object": {"id": "AC1"}},
            },
            "no sender",
        ),
        ({"type": "call.completed", "data": {"object": {"status": "x"}}}, "no call id"),
    ],
)
def test_unusable_event_is_refused_with_the_reason(payload: object, reason: str) -> None:
    with pytest.raises(UnreadableEventError, match=reason):
        parse_event(payload)


def test_text_that_the_database_cannot_store_is_cleaned() -> None:
    event = sample("2026-03-30/message.received")
    event["data"]["resource"]["text"] = "a\x00b \ud83d"

    message = parse_event(event).message

    assert message is not None
    assert message.text == "ab ?"


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from _paths(child, (*path, key))


@pytest.mark.parametrize("name", sample_names())
def test_event_with_a_value_of_a_wrong_type_is_read_or_refused(name: str) -> None:
    """Test that a value of a wrong type raises only our own error, or no error.

    Each value of the sample is replaced in turn.
    """
    chosen = random.Random(name)  # noqa: S311 - repeatable
    original = sample(name)
    for path in _paths(original):
        for junk in JUNK:
            event = copy.deepcopy(original)
            spot = event
            for key in path[:-1]:
                spot = spot[key]
            spot[path[-1]] = junk
            if chosen.random() < 0.3:
                event["unknown"] = {"new": ["field"]}
            with contextlib.suppress(UnreadableEventError):
                parse_event(event)


def test_listed_message_is_read() -> None:
    message = parse_message(
        {
            "id": "AC1",
            "to": [PERSON],
            "from": OWN_NUMBER,
            "text": "Hi",
            "phoneNumberId": None,
            "conversationId": "CN1",
            "direction": "outgoing",
            "userId": None,
            "status": "queued",
            "createdAt": "2026-11-20T15:00:00.000Z",
            "updatedAt": "2026-11-20T15:00:01.000Z",
        }
    )

    assert (message.status, message.to_numbers, message.user_id) == ("queued", (PERSON,), None)
    assert message.updated_at == datetime(2026, 11, 20, 15, 0, 1, tzinfo=UTC)


def test_own_line_and_webhook_are_read() -> None:
    line = parse_phone_number(
        {
            "id": "PN1",
            "number": "+1 617 555 0100",
            "name": "Main",
        }
    )
    hook = parse_webhook(
        {"id": "WH1", "url": "https://x.example", "key": "secret", "events": ["call.ringing"]}
    )

    assert (line.number, line.name) == (OWN_NUMBER, "Main")
    assert hook.events == ("call.ringing",)
    assert "secret" not in repr(hook)


@pytest.mark.parametrize("parse", [parse_phone_number, parse_webhook])
def test_item_without_an_id_is_unreadable(parse: Any) -> None:
    with pytest.raises(UnreadableEventError):
        parse({"name": "x"})


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        ({"message": "No credits", "code": "0200402", "status": 402}, "0200402", "No credits"),
        ({"error": {"message": "Unauthorized", "key": "auth", "trace": "t"}}, None, "Unauth"),
        ({"title": "Not Found", "message": "gone", "docs": "d"}, None, "gone"),
        ({"message": "Bad number +1 (617) 555-0123"}, None, "Bad number …"),
        (None, None, "HTTP 400"),
        ("<html>", None, "HTTP 400"),
    ],
)
def test_error_in_each_shape_is_read(body: object, code: str | None, detail: str) -> None:
    problem = parse_problem(400, body)

    assert problem.code == code
    assert problem.detail.startswith(detail)
