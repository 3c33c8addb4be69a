"""Tests of hostile and malformed webhooks: no event is lost, and no response is a 5xx.

A malformed event with a valid signature is stored if possible, so that a user can inspect it.
"""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    APPLY_SETTINGS,
    OWN_NUMBER,
    PROVIDER_LINE,
    rows,
)
from tests.domain.provider.openphone.samples import sample, sample_names
from tests.factories import make_line

from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_setup.keyring import KeyRing
from crm_api.domain.inbound.webhook_setup.keys import SavedKey
from crm_api.domain.provider.openphone.signature import sign_legacy, sign_standard
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.routers.inbound.receiver import LARGEST_BODY

URL = "/webhooks/openphone"
NEW_KEY = "whsec_YSBzZWNvbmQgc2lnbmluZyBrZXk="
OLD_KEY = "dGhlIGZpcnN0IHNpZ25pbmcga2V5"

FUZZ = hypothesis_settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def stored(engine: AsyncEngine) -> list[dict[str, Any]]:
    async with async_sessionmaker(engine)() as session:
        return await rows(session, "SELECT * FROM webhook_event ORDER BY received_at, id")


def signed(settings: Settings, body: bytes, **options: Any) -> dict[str, str]:
    key = options.pop("key", settings.webhook_secrets()[0])
    return sign_legacy(key, body, at=options.pop("at", clock.now()))


async def post(
    client: httpx.AsyncClient, settings: Settings, body: bytes, **options: Any
) -> httpx.Response:
    return await client.post(URL, content=body, headers=signed(settings, body, **options))


async def apply_all(new_uow: UnitOfWorkFactory) -> None:
    """Apply all stored events, and repeat events that failed, until none is due."""
    while True:
        async with new_uow() as uow:
            if not await webhooks.apply_batch(
                uow, limit=50, now=clock.now() + timedelta(seconds=5), apply_settings=APPLY_SETTINGS
            ):
                return


@pytest.fixture
def two_keys(committed_app: FastAPI) -> None:
    """Set two signing keys, as during a rotation: an old legacy key and a new standard key."""
    committed_app.state.keys = KeyRing([OLD_KEY, NEW_KEY], load=_no_saved_keys)


async def _no_saved_keys() -> list[SavedKey]:
    return []


# The next tests are about signing keys, late deliveries and wrong clocks.


@pytest.mark.usefixtures("two_keys")
async def test_both_signature_schemes_are_accepted_with_their_own_keys(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine
) -> None:
    legacy, dated = b'{"id": "EV1", "type": "x"}', b'{"id": "EV2", "type": "x"}'

    first = await committed_client.post(
        URL, content=legacy, headers=sign_legacy(OLD_KEY, legacy, at=clock.now())
    )
    second = await committed_client.post(
        URL,
        content=dated,
        headers=sign_standard(NEW_KEY, dated, delivery_id="msg_2", at=clock.now()),
    )

    assert (first.status_code, second.status_code) == (200, 200)
    found = {(row["provider_event_id"], row["scheme"]) for row in await stored(committed_db)}
    assert found == {("EV1", "legacy"), ("EV2", "2026-03-30")}


@pytest.mark.usefixtures("two_keys")
async def test_delivery_signed_with_old_and_new_key_is_accepted(
    committed_client: httpx.AsyncClient,
) -> None:
    body = b'{"id": "EV1", "type": "x"}'
    now = clock.now()
    good = sign_standard(NEW_KEY, body, delivery_id="msg_1", at=now)
    other = sign_standard("whsec_c29tZWJvZHkgZWxzZSdz", body, delivery_id="msg_1", at=now)
    headers = good | {
        "webhook-signature": f"{other['webhook-signature']} {good['webhook-signature']}"
    }

    assert (await committed_client.post(URL, content=body, headers=headers)).status_code == 200


async def test_late_retry_with_its_first_timestamp_is_accepted_as_the_same_event(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, settings: Settings
) -> None:
    body = b'{"id": "EV1", "type": "message.received"}'
    first = signed(settings, body, at=clock.now() - timedelta(days=2, hours=23))

    late = await committed_client.post(URL, content=body, headers=first)
    again = await committed_client.post(URL, content=body, headers=first)

    assert (late.status_code, again.status_code) == (200, 200)
    assert len(await stored(committed_db)) == 1


async def test_event_from_two_webhooks_of_the_provider_is_stored_once(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, settings: Settings
) -> None:
    body = b'{"id": "EV1", "type": "message.received"}'
    key = settings.webhook_secrets()[0]
    for delivery in ("msg_1", "msg_2"):
        headers = sign_standard(key, body, delivery_id=delivery, at=clock.now())
        assert (await committed_client.post(URL, content=body, headers=headers)).status_code == 200

    assert len(await stored(committed_db)) == 1


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_timestamp_wrong_by_ten_minutes_is_refused_and_raises_an_alert(
    committed_app: FastAPI,
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    settings: Settings,
    minutes: int,
) -> None:
    body = json.dumps(sample("2026-03-30/message.received")).encode()
    key, off = settings.webhook_secrets()[0], clock.now() + timedelta(minutes=minutes)

    refused = await committed_client.post(
        URL, content=body, headers=sign_standard(key, body, delivery_id="msg_1", at=off)
    )
    await committed_app.state.refusals.flush()
    retried = await committed_client.post(
        URL, content=body, headers=sign_standard(key, body, delivery_id="msg_1", at=clock.now())
    )

    assert (refused.status_code, refused.json()["code"]) == (401, "signature_stale")
    assert retried.status_code == 200, "the provider's next retry, after the clock is corrected"
    assert len(await stored(committed_db)) == 1
    async with async_sessionmaker(committed_db)() as session:
        (alert,) = await rows(session, "SELECT kind, subject, detail FROM alert")
    assert (alert["kind"], alert["subject"]) == ("webhook_refused", "signature_stale")
    assert "Check the clock of the database" in alert["detail"]


# The next tests send malformed events that have a valid signature.


@pytest.mark.parametrize("cut", [1, 10, 100, -1])
async def test_truncated_json_is_malformed(
    committed_client: httpx.AsyncClient, committed_db: AsyncEngine, settings: Settings, cut: int
) -> None:
    body = json.dumps(sample("legacy/message.received")).encode()[:cut]

    answer = await post(committed_client, settings, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert await stored(committed_db) == []


NESTED = {
    "arrays": b'{"id": "EV1", "type": "x", "a": ' + b"[" * 400_000 + b"]" * 400_000 + b"}",
    "objects": b'{"id": "EV1", "type": "x", "a": ' + b'{"a":' * 120_000 + b"1" + b"}" * 120_001,
    "unclosed": b'{"a": ' + b"[" * (LARGEST_BODY - 6),
    "only brackets": b"[" * LARGEST_BODY,
    "wide": b'{"id": "EV1", "type": "x", "a": [' + b"1," * 500_000 + b"1]}",
    "keys": json.dumps({"id": "EV1", "type": "x"} | {f"k{i}": 1 for i in range(60_000)}).encode(),
    "a long text": b'{"id": "EV1", "type": "message.received", "t": "' + b"x" * 1_000_000 + b'"}',
}


@pytest.mark.parametrize("name", NESTED)
async def test_every_body_of_one_mebibyte_is_stored_or_refused(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    name: str,
) -> None:
    answer = await post(committed_client, settings, NESTED[name])
    good = await post(committed_client, settings, b'{"id": "EVgood", "type": "x"}')
    await apply_all(committed_uow)

    assert answer.status_code in {200, 400}
    assert good.status_code == 200
    kept = {row["provider_event_id"] for row in await stored(committed_db)}
    assert kept == {"EVgood"} | ({"EV1"} if answer.status_code == 200 else set())


MALFORMED_EVENTS: list[Any] = [
    {},
    {"type": "message.received"},
    {"type": ["message.received"], "id": {"a": 1}, "data": []},
    {"type": "message.received", "id": "EV1", "data": None},
    {"type": "message.received", "id": 7, "data": {"resource": "AC1"}},
    {"type": "call.completed", "id": "EV1", "data": {"resource": {"id": []}}},
    {
        "type": "call.summary.completed",
        "id": "",
        "data": {"resource": {"callId": [], "summary": 1}},
    },
    {"object": {"object": {"type": "message.received"}}},
    {"type": "x" * 5000, "id": "y" * 5000},
    {"type": "message.received", "id": "a\0b", "data": {"resource": {"text": "\ud83d"}}},
    {"id": "EV1", "type": "message.received", "createdAt": "yesterday"},
]


@pytest.mark.parametrize("payload", MALFORMED_EVENTS, ids=range(len(MALFORMED_EVENTS)))
async def test_signed_malformed_event_is_stored_without_harm(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    payload: Any,
) -> None:
    await _add_line(committed_db)
    good = json.dumps(sample("2026-03-30/message.received")).encode()

    answer = await post(committed_client, settings, json.dumps(payload).encode())
    await post(committed_client, settings, good)
    await apply_all(committed_uow)

    malformed, other = await stored(committed_db)
    assert answer.status_code == 200
    assert malformed["status"] in {"failed", "ignored"}
    assert (malformed["status"] == "failed") == bool(malformed["error_code"])
    assert other["status"] == "processed"


async def _add_line(engine: AsyncEngine) -> None:
    async with async_sessionmaker(engine, expire_on_commit=False)() as session:
        await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
        await session.commit()


async def test_unknown_values_are_stored_unchanged(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
) -> None:
    await _add_line(committed_db)
    message = sample("2026-03-30/message.delivered")
    message["data"]["resource"] |= {"status": "teleported", "newField": {"a": [1]}}
    call = sample("2026-03-30/call.completed")
    call["data"]["resource"]["status"] = "beamed"
    unknown = {"id": "EV3", "type": "message.teleported.twice", "data": message["data"]}
    for payload in (message, call, unknown, {"id": "EV4", "type": "fax.received", "data": {}}):
        await post(committed_client, settings, json.dumps(payload).encode())

    await apply_all(committed_uow)

    statuses = [row["status"] for row in await stored(committed_db)]
    async with async_sessionmaker(committed_db)() as session:
        found = await rows(session, "SELECT kind, status FROM activity ORDER BY kind")
    assert statuses == ["processed", "processed", "processed", "ignored"]
    assert found == [
        {"kind": "call", "status": "beamed"},
        {"kind": "message", "status": "teleported"},
    ]


@pytest.mark.parametrize("sender", ["72345", "INFO-DESK", "anonymous", "+1", "+16175", "☎", "  "])
async def test_sender_that_is_not_a_number_is_stored_without_a_contact(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    sender: str,
) -> None:
    await _add_line(committed_db)
    payload = sample("2026-03-30/message.received")
    payload["data"]["resource"]["text"] = "STOP"
    payload["data"]["context"]["senderIdentifier"] = sender
    await post(committed_client, settings, json.dumps(payload).encode())

    await apply_all(committed_uow)

    (event,) = await stored(committed_db)
    async with async_sessionmaker(committed_db)() as session:
        contacts = await rows(session, "SELECT * FROM contact")
        texts = await rows(session, "SELECT phone FROM activity")
    assert contacts == []
    if sender.strip():
        assert (event["status"], texts) == ("processed", [{"phone": sender}])
    else:
        assert (event["status"], event["error_code"]) == ("failed", "unreadable_event")


async def test_event_of_an_unknown_line_waits_until_the_line_is_known(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
) -> None:
    payload = sample("2026-03-30/call.completed")
    del payload["data"]["context"]["participants"]
    await post(committed_client, settings, json.dumps(payload).encode())
    await apply_all(committed_uow)
    (before,) = await stored(committed_db)

    await _add_line(committed_db)
    answer = await committed_client.post(
        "/v1/webhook-events/replay", json={"error_code": "line_unknown"}
    )
    await apply_all(committed_uow)

    (after,) = await stored(committed_db)
    assert (before["status"], before["error_code"]) == ("failed", "line_unknown")
    assert answer.json()["replayed"] == 1
    assert (after["status"], after["error_code"]) == ("processed", None)


# The next tests send random events, bytes and headers.

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([NOW.isoformat(), OWN_NUMBER, PROVIDER_LINE, "AC1", "incoming"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(
    ["message.received", "message.delivered", "call.completed", "call.ringing", "callSummary"]
) | st.text(max_size=30)
EVENTS = st.fixed_dictionaries(
    {},
    optional={"id": JSON, "type": TYPES | JSON, "createdAt": JSON, "data": JSON, "object": JSON},
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "openphone-signature",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "content-type",
            "content-length",
            "x-forwarded-for",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
)


def paths_of(value: Any, *, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, one in inner:
        found.append((*path, key))
        if isinstance(one, dict | list):
            found += paths_of(one, path=(*path, key))
    return found


@st.composite
def mutated_samples(draw: st.DrawFn) -> dict[str, Any]:
    """Generate a sample event of the provider with some values replaced or removed."""
    event = sample(draw(st.sampled_from(sample_names())))
    for _ in range(draw(st.integers(1, 4))):
        paths = paths_of(event)
        if not paths:
            break
        *parents, last = draw(st.sampled_from(paths))
        target: Any = event
        for step in parents:
            target = target[step]
        if isinstance(target, dict) and draw(st.booleans()):
            del target[last]
        else:
            target[last] = draw(JSON)
    return event


def _encoded(text: str) -> bytes:
    return text.encode()


async def _post_and_apply(
    client: httpx.AsyncClient,
    engine: AsyncEngine,
    new_uow: UnitOfWorkFactory,
    settings: Settings,
    body: bytes,
) -> httpx.Response:
    answer = await post(client, settings, body)
    await apply_all(new_uow)
    if answer.status_code == 200:
        statuses = {row["status"] for row in await stored(engine)}
        assert statuses <= {"processed", "ignored", "failed"}
        assert statuses
    return answer


@FUZZ
@given(event=EVENTS | mutated_samples())
async def test_signed_events_of_any_shape_are_stored_and_get_a_final_status(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    event: dict[str, Any],
) -> None:
    body = json.dumps(event).encode()

    answer = await _post_and_apply(committed_client, committed_db, committed_uow, settings, body)

    assert answer.status_code == 200, answer.text


@FUZZ
@given(body=st.binary(max_size=400) | st.text(max_size=200).map(_encoded))
async def test_signed_bytes_of_any_kind_are_stored_or_malformed(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: UnitOfWorkFactory,
    settings: Settings,
    body: bytes,
) -> None:
    answer = await _post_and_apply(committed_client, committed_db, committed_uow, settings, body)

    assert answer.status_code in {200, 400}


@FUZZ
@given(headers=HEADERS, body=st.binary(max_size=100))
async def test_headers_of_any_kind_are_refused(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    headers: dict[str, str],
    body: bytes,
) -> None:
    answer = await committed_client.post(URL, content=body, headers=headers)

    assert answer.status_code in {400, 401, 413}
    assert await stored(committed_db) == []
