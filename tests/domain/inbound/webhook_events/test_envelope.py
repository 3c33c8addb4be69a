import json

import pytest

from crm_api.domain.inbound.webhook_events.envelope import (
    MalformedEventError,
    ReceivedEvent,
    as_text,
    read_event,
)


def read(body: bytes, *, delivery_id: str | None = None) -> ReceivedEvent:
    return read_event(body, scheme="legacy", delivery_id=delivery_id)


def test_payload_is_stored_unchanged() -> None:
    body = b'{"id": "EV1",  "type":"message.received", "n": 1.50}'

    event = read(body)

    assert (event.provider_event_id, event.type, event.payload) == (
        "EV1",
        "message.received",
        body.decode(),
    )


def test_id_and_type_of_a_wrapped_event_are_read() -> None:
    event = read(b'{"object": {"id": "EV2", "type": "call.ringing"}}')

    assert (event.provider_event_id, event.type) == ("EV2", "call.ringing")


@pytest.mark.parametrize(
    ("alias", "name"),
    [("callSummary", "call.summary.completed"), ("callTranscript", "call.transcript.completed")],
)
def test_documented_type_names_become_the_names_on_the_wire(alias: str, name: str) -> None:
    assert read(json.dumps({"id": "EV1", "type": alias}).encode()).type == name


@pytest.mark.parametrize("body", [b"{}", b'{"type": 7}', b'{"type": ""}', b'{"type": null}'])
def test_event_without_a_type_has_the_type_unknown(body: bytes) -> None:
    assert read(body).type == "unknown"


def test_delivery_id_replaces_a_missing_event_id() -> None:
    assert read(b'{"type": "x"}', delivery_id="msg_1").provider_event_id == "msg_1"


def test_hash_of_the_body_replaces_missing_ids() -> None:
    first, again, other = read(b'{"a": 1}'), read(b'{"a": 1}'), read(b'{"a": 2}')

    assert first.provider_event_id.startswith("sha256:")
    assert first.provider_event_id == again.provider_event_id != other.provider_event_id


def test_id_too_long_for_an_index_is_hashed() -> None:
    event = read(json.dumps({"id": "E" * 5000, "type": "x"}).encode())

    assert len(event.provider_event_id) < 100


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (rb"a\u0000b", "a\ufffdb"),
        (rb"half \ud83d", "half \ufffd"),
        (rb"pair \ud83d\ude00", "pair \U0001f600"),
        (rb"not \\u0000", "not \\u0000"),
    ],
)
def test_characters_that_the_database_cannot_store_are_replaced(written: bytes, kept: str) -> None:
    event = read(b'{"id": "EV1", "type": "x", "text": "' + written + b'"}')

    assert json.loads(event.payload)["text"] == kept


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'"text"', b"null", b"{", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000],
)
def test_body_that_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedEventError):
        read(body)


def test_event_with_a_number_beyond_floats_is_stored_as_text() -> None:
    event = read(b'{"id": "EV1", "type": "x", "n": 1e999}')

    assert json.loads(event.payload) == {"raw": '{"id": "EV1", "type": "x", "n": 1e999}'}


def test_any_payload_can_be_stored_as_text() -> None:
    event = as_text(read(b'{"id": "EV1"}'))

    assert json.loads(event.payload) == {"raw": '{"id": "EV1"}'}
