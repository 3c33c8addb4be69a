from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Receive, Scope, Send
from tests.conftest import NOW
from tests.domain.inbound.webhook_setup.support import (
    URL,
    NewUow,
    RegistrarHarness,
    registrar_harness,
)
from tests.factories import make_line

from crm_api.domain.inbound.webhook_setup.comparing import NEEDED, WELCOME, Fault
from crm_api.domain.inbound.webhook_setup.keys import OVERLAP
from crm_api.domain.inbound.webhook_setup.provider_webhooks import (
    AddressNotPublicError,
    KeyNotShownError,
    WebhookMissingError,
)
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError
from crm_api.domain.provider.openphone.hooks import LEGACY_FAMILIES
from crm_api.domain.provider.openphone.signature import SignatureScheme

EVENTS = sorted(NEEDED[SignatureScheme.STANDARD])


async def _faults(harness: RegistrarHarness) -> set[Fault]:
    return {finding.fault for finding in (await harness.registrar.look()).findings}


async def test_first_registration_saves_the_key_and_is_complete(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        before = await _faults(harness)
        report = await harness.registrar.register()
        after = await _faults(harness)
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()
        (key,) = await harness.saved_keys()

    assert (before, after) == ({Fault.MISSING}, set())
    assert (hook.url, hook.status) == (URL, "enabled")
    assert hook.events == NEEDED[SignatureScheme.STANDARD] | WELCOME
    assert (key.webhook_id, key.key) == (hook.id, hook.key)
    assert "key is saved" in report[0]
    assert hook.key not in " ".join(report)


async def test_registering_again_changes_nothing(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register()
        (first,) = await harness.saved_keys()
        report = await harness.registrar.register()
        saved = await harness.saved_keys()
        hooks = list(harness.sandbox.workspace.deliverer.hooks)

    assert len(hooks) == 1
    assert saved == [first]
    assert "needs no change" in report[0]


async def test_webhook_whose_key_was_not_saved_is_adopted(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        lost = await harness.hooks.create_dated(url=URL, events=EVENTS, label="crm-api")
        before = await _faults(harness)
        report = await harness.registrar.register()
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()
        (key,) = await harness.saved_keys()

    assert before == {Fault.DISABLED, Fault.KEY_UNKNOWN}
    assert key.key == hook.key != lost.key
    assert hook.status == "enabled"
    assert "Adopted" in report[0]


async def test_disabled_and_incomplete_webhook_is_repaired_and_keeps_its_events(
    new_uow: NewUow,
) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register()
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()
        hook.status, hook.resource_ids = "disabled", frozenset({"PNother"})
        hook.events = frozenset({"message.received", "integration.created"})
        before = await _faults(harness)
        await harness.registrar.register()
        after = await _faults(harness)
        saved = await harness.saved_keys()

    assert before == {Fault.DISABLED, Fault.EVENTS_MISSING}
    assert after == set()
    assert hook.status == "enabled"
    assert hook.events is not None
    assert hook.events >= {"integration.created", *EVENTS}
    assert len(saved) == 1


async def test_missing_lines_are_found_and_added(new_uow: NewUow, session: AsyncSession) -> None:
    await make_line(session, phone_number_id="PNsandbox1")
    await session.commit()
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register()
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()
        hook.resource_ids = frozenset({"PNsandbox2"})
        found = await harness.registrar.look()
        await harness.registrar.register()

    assert [finding.fault for finding in found.findings] == [Fault.LINES_MISSING]
    assert hook.resource_ids is None


async def test_foreign_webhooks_are_reported_and_not_changed(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        other = await harness.hooks.create_dated(
            url="https://elsewhere.example/hook", events=EVENTS, label="x"
        )
        report = await harness.registrar.register()
        hooks = harness.sandbox.workspace.deliverer.hooks

    assert f"Webhook {other.webhook_id} points to another address" in report[-1]
    assert hooks[other.webhook_id].status == "disabled"
    assert len(hooks) == 2


@pytest.mark.parametrize("written", [URL + "/", "https://CRM.Example.com:443/webhooks/openphone"])
async def test_address_is_recognised_in_each_spelling(new_uow: NewUow, written: str) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.hooks.create_dated(url=written, events=EVENTS, label="x")
        found = await harness.registrar.look()

    assert len(found.ours) == 1
    assert found.foreign == ()


async def test_key_of_the_settings_is_taken_as_the_webhooks_key(new_uow: NewUow) -> None:
    """Test that a key in the settings is used, although the registrar cannot check it.

    A new key would surprise the user who entered the present key.
    """
    async with registrar_harness(new_uow) as harness:
        made = await harness.hooks.create_dated(url=URL, events=EVENTS, label="by hand")
        await harness.with_settings_keys(made.key or "").register()
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()

    assert hook.key == made.key
    assert hook.status == "enabled"


async def test_rotation_saves_the_new_key_and_keeps_the_old_key_for_a_while(
    new_uow: NewUow,
) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register()
        (old,) = await harness.saved_keys()
        report = await harness.registrar.rotate()
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()
        both = await harness.saved_keys()
        later = await harness.saved_keys(now=NOW + OVERLAP + timedelta(seconds=1))

    assert [key.key for key in both] == [old.key, hook.key]
    assert both[0].retire_at == NOW + OVERLAP
    assert [key.key for key in later] == [hook.key]
    assert not any(key.key in " ".join(report) for key in both)


async def test_rotation_without_a_webhook_names_the_command(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        with pytest.raises(WebhookMissingError, match="crm-api webhooks register"):
            await harness.registrar.rotate()


async def test_legacy_registration_makes_four_webhooks_and_saves_their_keys(
    new_uow: NewUow,
) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register_legacy()
        after = await _faults(harness)
        hooks = harness.sandbox.workspace.deliverer.hooks
        saved = await harness.saved_keys()
        again = await harness.registrar.register_legacy()

    assert after == set()
    assert len(hooks) == len(LEGACY_FAMILIES) == len(saved)
    assert {key.key for key in saved} == {hook.key for hook in hooks.values()}
    assert all("needs no change" in sentence for sentence in again)


async def test_legacy_webhooks_of_an_earlier_system_are_adopted_with_their_keys(
    new_uow: NewUow,
) -> None:
    async with registrar_harness(new_uow) as harness:
        made = await harness.hooks.create_legacy(
            family="messages",
            url=URL,
            events=sorted(LEGACY_FAMILIES["messages"]),
            label="an earlier system",
        )
        await harness.registrar.register_legacy()
        hooks = harness.sandbox.workspace.deliverer.hooks
        saved = await harness.saved_keys()

    assert made.webhook_id in hooks
    assert made.key in {key.key for key in saved}
    assert len(hooks) == 4


async def test_legacy_webhook_that_cannot_be_changed_is_replaced(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register_legacy()
        hooks = harness.sandbox.workspace.deliverer.hooks
        broken = next(hook for hook in hooks.values() if "call.ringing" in (hook.events or ()))
        broken.status = "disabled"
        before = await harness.registrar.look()
        report = await harness.registrar.register_legacy()
        saved = await harness.saved_keys()

    assert [finding.repair for finding in before.findings] == ["crm-api webhooks register --legacy"]
    assert broken.id not in hooks
    assert len(hooks) == 4
    assert any(f"instead of {broken.id}" in sentence for sentence in report)
    assert {key.webhook_id for key in saved if key.is_current} == set(hooks)


async def test_webhooks_that_the_plan_lacks_are_reported_and_not_a_fault(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as source:

        async def small_plan(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "POST" and scope["path"].startswith("/v1/webhooks/call-"):
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
            await source.sandbox(scope, receive, send)

        async with registrar_harness(new_uow, transport=httpx.ASGITransport(small_plan)) as harness:
            report = await harness.registrar.register_legacy()
            after = await _faults(harness)

    assert [sentence.startswith("Not registered: call-") for sentence in report] == [
        False,
        False,
        True,
        True,
    ]
    assert after == set()


async def test_events_that_the_plan_lacks_are_not_a_fault(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register()
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()
        hook.events = NEEDED[SignatureScheme.STANDARD]

        assert await _faults(harness) == set()


async def test_deleted_legacy_webhook_is_found(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register_legacy()
        hooks = harness.sandbox.workspace.deliverer.hooks
        gone = next(hook for hook in hooks.values() if "message.received" in (hook.events or ()))
        del hooks[gone.id]
        (finding,) = (await harness.registrar.look()).findings

    assert finding.fault is Fault.EVENTS_MISSING
    assert "message.delivered, message.received" in finding.sentence


async def test_both_schemes_can_be_registered_and_are_rotated_together(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register()
        await harness.registrar.register_legacy()
        found = await harness.registrar.look()
        before = {hook.key for hook in harness.sandbox.workspace.deliverer.hooks.values()}
        await harness.registrar.rotate()
        after = {hook.key for hook in harness.sandbox.workspace.deliverer.hooks.values()}
        saved = await harness.saved_keys()

    assert len(found.ours) == 5
    assert not before & after
    assert {key.key for key in saved if key.is_current} == after
    assert {key.key for key in saved} == before | after


async def test_provider_with_legacy_webhooks_only_is_reported(new_uow: NewUow) -> None:
    async with registrar_harness(new_uow) as source:

        async def old_host(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope["path"].startswith("/v1/"):
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
            await source.sandbox(scope, receive, send)

        async with registrar_harness(new_uow, transport=httpx.ASGITransport(old_host)) as harness:
            (finding,) = (await harness.registrar.look()).findings
            with pytest.raises(WebhookMissingError, match="--legacy"):
                await harness.registrar.register()
            await harness.registrar.register_legacy()
            after = await _faults(harness)

    assert finding.repair == "crm-api webhooks register --legacy"
    assert after == set()


async def test_provider_that_refuses_optional_events_is_asked_for_the_needed_ones(
    new_uow: NewUow,
) -> None:
    requested: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        if request.method == "POST" and request.url.path == "/webhooks":
            requested.append(request.content)
            if b"task." in request.content:
                return httpx.Response(400, json={"title": "Bad Request", "message": "events"})
            made = {"id": "7", "url": URL, "events": EVENTS, "key": "whsec_c2VjcmV0LWtleS0x"}
            return httpx.Response(201, json={"data": made})
        return httpx.Response(200, json={"data": {}})

    async with registrar_harness(new_uow, transport=httpx.MockTransport(answer)) as harness:
        await harness.registrar.register()
        (key,) = await harness.saved_keys()

    assert len(requested) == 2
    assert key.key == "whsec_c2VjcmV0LWtleS0x"


async def test_key_that_is_not_returned_is_made_by_a_rotation(new_uow: NewUow) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        if request.url.path == "/webhooks":
            return httpx.Response(201, json={"data": {"id": "7", "url": URL, "events": EVENTS}})
        if request.url.path == "/webhooks/7/rotate":
            return httpx.Response(200, json={"data": {"key": "whsec_c2VjcmV0LWtleS0x"}})
        return httpx.Response(200, json={"data": {}})

    async with registrar_harness(new_uow, transport=httpx.MockTransport(answer)) as harness:
        await harness.registrar.register()
        (key,) = await harness.saved_keys()

    assert key.webhook_id == "7"


@pytest.mark.parametrize("key", [None, "whsec_", "not base64!"])
async def test_unusable_key_is_never_saved(new_uow: NewUow, key: str | None) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        made = {"id": "7", "url": URL, "events": EVENTS, "key": key}
        return httpx.Response(201, json={"data": made if request.url.path == "/webhooks" else {}})

    async with registrar_harness(new_uow, transport=httpx.MockTransport(answer)) as harness:
        with pytest.raises(KeyNotShownError) as caught:
            await harness.registrar.register()
        saved = await harness.saved_keys()

    assert saved == []
    assert key is None or key == "whsec_" or key not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, OpenPhoneBusyError), (429, OpenPhoneBusyError), (403, OpenPhoneRefusedError)],
)
async def test_refused_change_raises_an_error_of_the_provider_client(
    new_uow: NewUow, status: int, error: type[Exception]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        return httpx.Response(status, text="<html>no</html>")

    async with registrar_harness(new_uow, transport=httpx.MockTransport(answer)) as harness:
        with pytest.raises(error):
            await harness.registrar.register()


@pytest.mark.parametrize(
    "url", ["http://crm.example.com/webhooks/openphone", "https://127.0.0.1/webhooks/openphone"]
)
async def test_address_that_the_provider_cannot_reach_is_refused(new_uow: NewUow, url: str) -> None:
    async with registrar_harness(new_uow, url=url) as harness:
        with pytest.raises(AddressNotPublicError, match="CRM_PUBLIC_URL"):
            await harness.registrar.register()
        with pytest.raises(AddressNotPublicError):
            await harness.registrar.register_legacy()
        allowed = replace(harness.registrar, is_real=False)
        await allowed.register()


async def test_keys_are_stored_encrypted_and_not_in_the_audit_log(
    new_uow: NewUow, session: AsyncSession
) -> None:
    async with registrar_harness(new_uow) as harness:
        await harness.registrar.register()
        await harness.registrar.rotate()
        (hook,) = harness.sandbox.workspace.deliverer.hooks.values()
    sealed = (await session.execute(text("SELECT sealed FROM webhook_key"))).scalars().all()
    rows = await session.execute(text("SELECT action, detail::text FROM audit_log ORDER BY id"))
    audit = rows.all()

    bare = hook.key.removeprefix("whsec_").encode()
    assert len(sealed) == 2
    assert not any(bare in one or hook.key.encode() in one for one in sealed)
    assert [row.action for row in audit] == ["register_webhook", "rotate_webhook_key"]
    assert not any(hook.key in row.detail for row in audit)
