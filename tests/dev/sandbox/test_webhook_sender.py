import asyncio
from typing import Any

import pytest
from tests.dev.sandbox.support import (
    NOW,
    OTHER,
    OURS,
    PERSON,
    Delivery,
    LocalSandbox,
    ManualClock,
    open_sandbox,
)
from tests.domain.provider.openphone.samples import sample

from crm_api.dev.sandbox.config import SandboxConfig, SigningScheme
from crm_api.domain.provider.openphone.signature import SignatureScheme, Verifier
from crm_api.domain.provider.openphone.wire import parse_event

KEY = SandboxConfig().signing_key


def _config(scheme: SigningScheme, clock: ManualClock | None = None) -> SandboxConfig:
    return SandboxConfig(people="silent", scheme=scheme, clock=clock or ManualClock())


def _verify(delivery: Delivery) -> SignatureScheme:
    return Verifier([KEY]).verify(delivery.headers, delivery.body, now=NOW).scheme


def _keys(node: Any) -> Any:
    """Return the field names of an event. They must be those of the provider's sample."""
    if isinstance(node, dict):
        return {name: _keys(child) for name, child in node.items()}
    if isinstance(node, list):
        return [_keys(child) for child in node[:1] if isinstance(child, dict)]
    return None


async def _send_and_reply(sandbox: LocalSandbox) -> None:
    await sandbox.control("/people", {"number": PERSON, "script": [{"do": "deliver"}]})
    await sandbox.control("/people", {"number": OTHER, "script": [{"do": "fail"}]})
    await sandbox.control("/people", {"number": "+16175550148", "script": [{"do": "undeliver"}]})
    for number in (PERSON, OTHER, "+16175550148"):
        await sandbox.send(number)
    await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})


@pytest.mark.parametrize(
    ("scheme", "count", "expected"),
    [
        (SigningScheme.STANDARD, 4, SignatureScheme.STANDARD),
        (SigningScheme.LEGACY, 2, SignatureScheme.LEGACY),
    ],
)
async def test_events_are_signed_and_have_the_fields_of_the_samples(
    scheme: SigningScheme, count: int, expected: SignatureScheme
) -> None:
    async with open_sandbox(_config(scheme)) as sandbox:
        await _send_and_reply(sandbox)
        deliveries = await sandbox.receiver.wait_for(count)

    folder = "legacy" if scheme is SigningScheme.LEGACY else "2026-03-30"
    for delivery in deliveries:
        assert _verify(delivery) is expected
        like = sample(f"{folder}/{delivery.event['type']}")
        assert _keys(delivery.event) == _keys(like)
        message = parse_event(delivery.event).message
        assert message is not None
        assert message.conversation_id is not None
        assert OURS in {message.from_number, *message.to_numbers}


async def test_legacy_scheme_has_no_events_for_failures() -> None:
    async with open_sandbox(_config(SigningScheme.LEGACY)) as sandbox:
        await _send_and_reply(sandbox)
        await sandbox.receiver.wait_for(2)

    assert sorted(sandbox.receiver.types()) == ["message.delivered", "message.received"]


async def test_alternating_scheme_sends_each_event_once_and_uses_both_schemes() -> None:
    async with open_sandbox(_config(SigningScheme.ALTERNATING)) as sandbox:
        for _ in range(4):
            await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})
        deliveries = await sandbox.receiver.wait_for(4)

    assert {_verify(delivery) for delivery in deliveries} == set(SignatureScheme)
    assert len({delivery.event["id"] for delivery in deliveries}) == 4


@pytest.mark.parametrize("scheme", [SigningScheme.STANDARD, SigningScheme.LEGACY])
async def test_refused_delivery_is_tried_again(scheme: SigningScheme) -> None:
    async with open_sandbox(_config(scheme), statuses=[500, None, 401]) as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})
        deliveries = await sandbox.receiver.wait_for(4)
        stats = await sandbox.stats()

    assert len({delivery.body for delivery in deliveries}) == 1
    assert len({delivery.headers.get("webhook-id") for delivery in deliveries}) == 1
    assert stats["webhooks"]["attempts_failed"] == 3


@pytest.mark.parametrize(
    ("scheme", "is_signed_again"),
    [(SigningScheme.STANDARD, True), (SigningScheme.LEGACY, False)],
)
async def test_only_the_new_scheme_signs_a_retry_again(
    scheme: SigningScheme, *, is_signed_again: bool
) -> None:
    clock = ManualClock(step=60)
    async with open_sandbox(_config(scheme, clock), statuses=[500]) as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})
        first, second = await sandbox.receiver.wait_for(2)

    assert (first.headers != second.headers) is is_signed_again


async def test_delivery_fails_after_eight_attempts() -> None:
    async with open_sandbox(statuses=[500] * 20) as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})
        deliveries = await sandbox.receiver.wait_for(8)
        await asyncio.sleep(0.01)
        stats = await sandbox.stats()

    assert len(deliveries) == 8
    assert (stats["webhooks"]["failed"], stats["webhooks"]["pending"]) == (1, 0)


async def test_call_emits_all_its_events_with_the_fields_of_the_samples() -> None:
    extras = ["recording", "voicemail", "summary", "transcript"]
    for scheme, folder in (
        (SigningScheme.STANDARD, "2026-03-30"),
        (SigningScheme.LEGACY, "legacy"),
    ):
        async with open_sandbox(_config(scheme)) as sandbox:
            await sandbox.control("/calls", {"person": PERSON, "with": extras})
            await sandbox.control("/calls", {"person": PERSON, "answered": False})
            deliveries = await sandbox.receiver.wait_for(10 if folder != "legacy" else 7)

        for delivery in deliveries:
            assert _keys(delivery.event) == _keys(sample(f"{folder}/{delivery.event['type']}"))
            call = parse_event(delivery.event).call
            assert call is not None
            assert call.phone_number_id == "PNsandbox1"


async def test_webhook_gets_only_events_of_its_types_and_lines() -> None:
    async with open_sandbox() as sandbox:
        await sandbox.http.delete("/webhooks/WHsandbox", headers={"quo-api-version": "2026-03-30"})
        made = await sandbox.http.post(
            "/v1/webhooks/messages",
            json={
                "url": "http://receiver.test/hook",
                "events": ["message.received"],
                "resourceIds": ["PNsandbox2"],
            },
        )
        await sandbox.control("/receive", {"from": PERSON, "text": "one"})
        await sandbox.control("/receive", {"from": PERSON, "to": "PNsandbox2", "text": "two"})
        (delivery,) = await sandbox.receiver.wait_for(1)

    assert made.status_code == 201
    assert delivery.event["data"]["object"]["text"] == "two"
