"""Tests of the provider's webhook API. The service's client calls it; the sandbox implements it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.dev.sandbox.support import NOW, PERSON, LocalSandbox, ManualClock, open_sandbox
from tests.domain.provider.openphone.samples import sample

from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.sandbox.sample_events import EVENT_TYPES, SAMPLE_ID
from crm_api.domain.provider.openphone.errors import MismatchedSignatureError, OpenPhoneRefusedError
from crm_api.domain.provider.openphone.facts import HookDelivery
from crm_api.domain.provider.openphone.signature import Verifier

URL = "http://receiver.test/hook"
CONFIG = SandboxConfig(people="silent", own_keys=True, clock=ManualClock())


async def _remove_webhooks(sandbox: LocalSandbox) -> None:
    sandbox.app.workspace.deliverer.hooks.clear()


async def _wait_until_delivered(sandbox: LocalSandbox) -> None:
    """Wait until every delivery has ended."""
    for _ in range(2000):
        if not (await sandbox.stats())["webhooks"]["pending"]:
            return
        await asyncio.sleep(0)
    raise AssertionError("deliveries do not end")


async def _log(sandbox: LocalSandbox, hook_id: str, status: str) -> list[HookDelivery]:
    hooks = sandbox.client().hooks
    long_ago = NOW.replace(year=2020)
    return [one async for one in hooks.deliveries(hook_id, status=status, after=long_ago)]


async def test_key_is_shown_once_and_signs_every_event() -> None:
    async with open_sandbox(CONFIG) as sandbox:
        await _remove_webhooks(sandbox)
        hooks = sandbox.client().hooks
        made = await hooks.create_dated(url=URL, events=["message.received"], label="crm")
        await sandbox.control("/receive", {"from": PERSON, "text": "before"})
        await hooks.update_dated(made.webhook_id, status="enabled")
        (listed,) = await hooks.list_dated()
        await sandbox.control("/receive", {"from": PERSON, "text": "after"})
        (delivery,) = await sandbox.receiver.wait_for(1)

    assert (made.status, listed.status) == ("disabled", "enabled")
    assert made.key is not None
    assert listed.key is None
    Verifier([made.key]).verify(delivery.headers, delivery.body, now=NOW)
    assert delivery.event["data"]["resource"]["text"] == "after"


async def test_rotated_key_signs_and_the_old_one_does_not() -> None:
    async with open_sandbox(CONFIG) as sandbox:
        await _remove_webhooks(sandbox)
        hooks = sandbox.client().hooks
        made = await hooks.create_dated(url=URL, events=["message.received"], label="crm")
        await hooks.update_dated(made.webhook_id, status="enabled")
        key = await hooks.rotate(made.webhook_id)
        await sandbox.control("/receive", {"from": PERSON, "text": "Yes"})
        (delivery,) = await sandbox.receiver.wait_for(1)

    assert key is not None
    assert made.key is not None
    Verifier([key]).verify(delivery.headers, delivery.body, now=NOW)
    with pytest.raises(MismatchedSignatureError):
        Verifier([made.key]).verify(delivery.headers, delivery.body, now=NOW)


async def test_each_webhook_api_lists_only_its_own_webhooks() -> None:
    async with open_sandbox(CONFIG) as sandbox:
        await _remove_webhooks(sandbox)
        hooks = sandbox.client().hooks
        dated = await hooks.create_dated(url=URL, events=["message.received"], label="new")
        legacy = await hooks.create_legacy(
            family="calls", url=URL, events=["call.completed"], label="old"
        )
        listed = await hooks.list_dated(), await hooks.list_legacy()
        await hooks.delete(legacy.webhook_id, is_dated=False)
        await hooks.delete(dated.webhook_id, is_dated=True)
        await hooks.delete(dated.webhook_id, is_dated=True)
        left = await hooks.list_dated(), await hooks.list_legacy()

    assert [[hook.webhook_id for hook in some] for some in listed] == [
        [dated.webhook_id],
        [legacy.webhook_id],
    ]
    assert listed[1][0].key == legacy.key
    assert left == ([], [])


async def test_update_replaces_fields_and_keeps_the_key() -> None:
    async with open_sandbox(CONFIG) as sandbox:
        hooks = sandbox.client().hooks
        await hooks.update_dated(
            "WHsandbox", events=["call.missed"], resourceIds=["PNsandbox2"], url="http://x.test/y"
        )
        (changed,) = await hooks.list_dated()

        with pytest.raises(OpenPhoneRefusedError):
            await hooks.update_dated("WHsandbox", key="whsec_x")
        with pytest.raises(OpenPhoneRefusedError):
            await hooks.update_dated("404", status="enabled")

    assert (changed.events, changed.resource_ids) == (("call.missed",), ("PNsandbox2",))
    assert changed.url == "http://x.test/y"


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
async def test_sample_of_every_type_is_delivered_signed_and_has_a_fixed_id(kind: str) -> None:
    async with open_sandbox(CONFIG) as sandbox:
        event_id = await sandbox.client().hooks.send_test("WHsandbox", kind)
        (delivery,) = await sandbox.receiver.wait_for(1)

    assert event_id == delivery.event["id"] == SAMPLE_ID
    assert delivery.event["type"] == kind
    Verifier([CONFIG.signing_key]).verify(delivery.headers, delivery.body, now=NOW)
    if not kind.startswith(("task.", "integration.")):
        assert delivery.event.keys() == sample(f"2026-03-30/{kind}").keys()


async def test_delivery_log_has_the_outcomes() -> None:
    async with open_sandbox(CONFIG, statuses=[500] * 8) as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "lost"})
        await _wait_until_delivered(sandbox)
        await sandbox.control("/receive", {"from": PERSON, "text": "kept"})
        await _wait_until_delivered(sandbox)
        (failed,) = await _log(sandbox, "WHsandbox", "failed")
        (success,) = await _log(sandbox, "WHsandbox", "success")
        detail = await sandbox.client().hooks.delivery("WHsandbox", failed.delivery_id)
        lost = sandbox.receiver.deliveries[0]

    assert failed.delivery_id == lost.headers["webhook-id"]
    assert failed.event_id == lost.event["id"]
    assert success.event_id != failed.event_id
    assert detail is not None
    assert detail.response_statuses == (500,) * 8
    assert detail.event_id == failed.event_id


async def test_delivery_without_an_answer_has_no_response_status() -> None:
    async with open_sandbox(CONFIG, statuses=[None]) as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "lost"})
        await _wait_until_delivered(sandbox)
        (entry,) = await _log(sandbox, "WHsandbox", "success")
        detail = await sandbox.client().hooks.delivery("WHsandbox", entry.delivery_id)

    assert detail is not None
    assert detail.response_statuses == (200, None)


async def test_failed_delivery_is_sent_again_on_request() -> None:
    async with open_sandbox(CONFIG, statuses=[500] * 8) as sandbox:
        await sandbox.control("/receive", {"from": PERSON, "text": "lost"})
        await _wait_until_delivered(sandbox)
        (failed,) = await _log(sandbox, "WHsandbox", "failed")
        await sandbox.client().hooks.retry("WHsandbox", failed.delivery_id)
        deliveries = await sandbox.receiver.wait_for(9)
        await asyncio.sleep(0)
        stats = await sandbox.stats()
        (success,) = await _log(sandbox, "WHsandbox", "success")

    assert len({delivery.headers["webhook-id"] for delivery in deliveries}) == 1
    assert success.delivery_id == failed.delivery_id
    assert (stats["webhooks"]["ok"], stats["webhooks"]["failed"]) == (1, 0)


async def test_delivery_log_is_read_to_its_end_and_from_an_instant() -> None:
    clock = ManualClock()
    async with open_sandbox(replace(CONFIG, clock=clock)) as sandbox:
        for number in range(60):
            await sandbox.control("/receive", {"from": PERSON, "text": str(number)})
            clock.move(1)
        await _wait_until_delivered(sandbox)
        hooks = sandbox.client().hooks
        whole = await _log(sandbox, "WHsandbox", "success")
        late = [
            one
            async for one in hooks.deliveries(
                "WHsandbox", status="success", after=NOW + timedelta(seconds=49)
            )
        ]

    assert len(whole) == 60
    assert len({one.delivery_id for one in whole}) == 60
    assert whole[0].created_at is not None
    assert whole[-1].created_at is not None
    assert whole[0].created_at > whole[-1].created_at
    assert len(late) == 10
