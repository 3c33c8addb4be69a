from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Receive, Scope, Send
from tests.conftest import NOW
from tests.domain.inbound.webhook_setup.support import URL, NewUow, Setup, setup
from tests.factories import make_line

from crm_api.domain.inbound.webhook_setup.comparing import NEEDED, WELCOME, Fault
from crm_api.domain.inbound.webhook_setup.errors import (
    AddressNotPublicError,
    KeyNotShownError,
    WebhookMissingError,
)
from crm_api.domain.inbound.webhook_setup.keys import OVERLAP
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneRefusedError
from crm_api.domain.provider.openphone.hooks import LEGACY_FAMILIES
from crm_api.domain.provider.openphone.signature import SignatureScheme

EVENTS = sorted(NEEDED[SignatureScheme.STANDARD])


async def _faults(at: Setup) -> set[Fault]:
    return {finding.fault for finding in (await at.registrar.look()).findings}


async def test_first_registration_saves_the_key_and_is_complete(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        before = await _faults(at)
        said = await at.registrar.register()
        after = await _faults(at)
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()
        (key,) = await at.saved()

    assert (before, after) == ({Fault.MISSING}, set())
    assert (hook.url, hook.status) == (URL, "enabled")
    assert hook.events == NEEDED[SignatureScheme.STANDARD] | WELCOME
    assert (key.webhook_id, key.key) == (hook.id, hook.key)
    assert "key is saved" in said[0]
    assert hook.key not in " ".join(said)


async def test_registering_again_changes_nothing(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register()
        (first,) = await at.saved()
        said = await at.registrar.register()
        saved = await at.saved()
        hooks = list(at.sandbox.workspace.deliverer.hooks)

    assert len(hooks) == 1
    assert saved == [first]
    assert "needs no change" in said[0]


async def test_what_was_cut_off_before_its_key_was_saved_is_adopted(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        lost = await at.hooks.create_dated(url=URL, events=EVENTS, label="crm-api")
        before = await _faults(at)
        said = await at.registrar.register()
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()
        (key,) = await at.saved()

    assert before == {Fault.DISABLED, Fault.KEY_UNKNOWN}
    assert key.key == hook.key != lost.key
    assert hook.status == "enabled"
    assert "Adopted" in said[0]


async def test_disabled_and_incomplete_one_is_repaired_and_keeps_what_it_has(
    new_uow: NewUow,
) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register()
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()
        hook.status, hook.resource_ids = "disabled", frozenset({"PNother"})
        hook.events = frozenset({"message.received", "integration.created"})
        before = await _faults(at)
        await at.registrar.register()
        after = await _faults(at)
        saved = await at.saved()

    assert before == {Fault.DISABLED, Fault.EVENTS_MISSING}
    assert after == set()
    assert hook.status == "enabled"
    assert hook.events is not None
    assert hook.events >= {"integration.created", *EVENTS}
    assert len(saved) == 1


async def test_lines_that_are_left_out_are_found_and_taken_in(
    new_uow: NewUow, session: AsyncSession
) -> None:
    await make_line(session, phone_number_id="PNsandbox1")
    await session.commit()
    async with setup(new_uow) as at:
        await at.registrar.register()
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()
        hook.resource_ids = frozenset({"PNsandbox2"})
        found = await at.registrar.look()
        await at.registrar.register()

    assert [finding.fault for finding in found.findings] == [Fault.LINES_MISSING]
    assert hook.resource_ids is None


async def test_foreign_webhooks_are_reported_and_left(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        other = await at.hooks.create_dated(
            url="https://elsewhere.example/hook", events=EVENTS, label="x"
        )
        said = await at.registrar.register()
        hooks = at.sandbox.workspace.deliverer.hooks

    assert f"Webhook {other.webhook_id} points to another address" in said[-1]
    assert hooks[other.webhook_id].status == "disabled"
    assert len(hooks) == 2


@pytest.mark.parametrize("written", [URL + "/", "https://CRM.Example.com:443/webhooks/openphone"])
async def test_address_is_known_however_it_is_written(new_uow: NewUow, written: str) -> None:
    async with setup(new_uow) as at:
        await at.hooks.create_dated(url=written, events=EVENTS, label="x")
        found = await at.registrar.look()

    assert len(found.ours) == 1
    assert found.foreign == ()


async def test_given_key_is_taken_to_be_the_webhooks(new_uow: NewUow) -> None:
    """Whether it is cannot be known; a new key would surprise the person who set this one."""
    async with setup(new_uow) as at:
        made = await at.hooks.create_dated(url=URL, events=EVENTS, label="by hand")
        await at.given(made.key or "").register()
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()

    assert hook.key == made.key
    assert hook.status == "enabled"


async def test_rotation_saves_the_new_key_and_keeps_the_old_for_a_while(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register()
        (old,) = await at.saved()
        said = await at.registrar.rotate()
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()
        both = await at.saved()
        later = await at.saved(now=NOW + OVERLAP + timedelta(seconds=1))

    assert [key.key for key in both] == [old.key, hook.key]
    assert both[0].retire_at == NOW + OVERLAP
    assert [key.key for key in later] == [hook.key]
    assert not any(key.key in " ".join(said) for key in both)


async def test_rotation_without_a_webhook_names_the_command(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        with pytest.raises(WebhookMissingError, match="crm-api webhooks register"):
            await at.registrar.rotate()


async def test_legacy_needs_four_and_saves_their_keys(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register_legacy()
        after = await _faults(at)
        hooks = at.sandbox.workspace.deliverer.hooks
        saved = await at.saved()
        again = await at.registrar.register_legacy()

    assert after == set()
    assert len(hooks) == len(LEGACY_FAMILIES) == len(saved)
    assert {key.key for key in saved} == {hook.key for hook in hooks.values()}
    assert all("needs no change" in sentence for sentence in again)


async def test_legacy_ones_of_an_earlier_system_are_adopted_with_their_keys(
    new_uow: NewUow,
) -> None:
    async with setup(new_uow) as at:
        made = await at.hooks.create_legacy(
            family="messages",
            url=URL,
            events=sorted(LEGACY_FAMILIES["messages"]),
            label="an earlier system",
        )
        await at.registrar.register_legacy()
        hooks = at.sandbox.workspace.deliverer.hooks
        saved = await at.saved()

    assert made.webhook_id in hooks
    assert made.key in {key.key for key in saved}
    assert len(hooks) == 4


async def test_legacy_one_that_cannot_be_changed_is_replaced(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register_legacy()
        hooks = at.sandbox.workspace.deliverer.hooks
        broken = next(hook for hook in hooks.values() if "call.ringing" in (hook.events or ()))
        broken.status = "disabled"
        before = await at.registrar.look()
        said = await at.registrar.register_legacy()
        saved = await at.saved()

    assert [finding.repair for finding in before.findings] == ["crm-api webhooks register --legacy"]
    assert broken.id not in hooks
    assert len(hooks) == 4
    assert any(f"instead of {broken.id}" in sentence for sentence in said)
    assert {key.webhook_id for key in saved if key.is_current} == set(hooks)


async def test_what_the_plan_lacks_is_reported_and_no_fault(new_uow: NewUow) -> None:
    async with setup(new_uow) as source:

        async def small_plan(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "POST" and scope["path"].startswith("/v1/webhooks/call-"):
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
            await source.sandbox(scope, receive, send)

        async with setup(new_uow, transport=httpx.ASGITransport(small_plan)) as at:
            said = await at.registrar.register_legacy()
            after = await _faults(at)

    assert [sentence.startswith("Not registered: call-") for sentence in said] == [
        False,
        False,
        True,
        True,
    ]
    assert after == set()


async def test_events_that_the_plan_lacks_are_not_missed(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register()
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()
        hook.events = NEEDED[SignatureScheme.STANDARD]

        assert await _faults(at) == set()


async def test_one_of_four_that_is_gone_is_found(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register_legacy()
        hooks = at.sandbox.workspace.deliverer.hooks
        gone = next(hook for hook in hooks.values() if "message.received" in (hook.events or ()))
        del hooks[gone.id]
        (finding,) = (await at.registrar.look()).findings

    assert finding.fault is Fault.EVENTS_MISSING
    assert "message.delivered, message.received" in finding.sentence


async def test_both_schemes_at_once_are_sound_and_rotated_together(new_uow: NewUow) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register()
        await at.registrar.register_legacy()
        found = await at.registrar.look()
        before = {hook.key for hook in at.sandbox.workspace.deliverer.hooks.values()}
        await at.registrar.rotate()
        after = {hook.key for hook in at.sandbox.workspace.deliverer.hooks.values()}
        saved = await at.saved()

    assert len(found.ours) == 5
    assert not before & after
    assert {key.key for key in saved if key.is_current} == after
    assert {key.key for key in saved} == before | after


async def test_provider_with_legacy_webhooks_only_says_so(new_uow: NewUow) -> None:
    async with setup(new_uow) as source:

        async def old_host(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope["path"].startswith("/v1/"):
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
            await source.sandbox(scope, receive, send)

        async with setup(new_uow, transport=httpx.ASGITransport(old_host)) as at:
            (finding,) = (await at.registrar.look()).findings
            with pytest.raises(WebhookMissingError, match="--legacy"):
                await at.registrar.register()
            await at.registrar.register_legacy()
            after = await _faults(at)

    assert finding.repair == "crm-api webhooks register --legacy"
    assert after == set()


async def test_provider_that_knows_fewer_events_is_asked_for_those_needed(new_uow: NewUow) -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        if request.method == "POST" and request.url.path == "/webhooks":
            asked.append(request.content)
            if b"task." in request.content:
                return httpx.Response(400, json={"title": "Bad Request", "message": "events"})
            made = {"id": "7", "url": URL, "events": EVENTS, "key": "whsec_c2VjcmV0LWtleS0x"}
            return httpx.Response(201, json={"data": made})
        return httpx.Response(200, json={"data": {}})

    async with setup(new_uow, transport=httpx.MockTransport(answer)) as at:
        await at.registrar.register()
        (key,) = await at.saved()

    assert len(asked) == 2
    assert key.key == "whsec_c2VjcmV0LWtleS0x"


async def test_key_that_is_not_shown_is_made_by_rotating(new_uow: NewUow) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        if request.url.path == "/webhooks":
            return httpx.Response(201, json={"data": {"id": "7", "url": URL, "events": EVENTS}})
        if request.url.path == "/webhooks/7/rotate":
            return httpx.Response(200, json={"data": {"key": "whsec_c2VjcmV0LWtleS0x"}})
        return httpx.Response(200, json={"data": {}})

    async with setup(new_uow, transport=httpx.MockTransport(answer)) as at:
        await at.registrar.register()
        (key,) = await at.saved()

    assert key.webhook_id == "7"


@pytest.mark.parametrize("key", [None, "whsec_", "not base64!"])
async def test_key_that_cannot_be_used_is_never_saved(new_uow: NewUow, key: str | None) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        made = {"id": "7", "url": URL, "events": EVENTS, "key": key}
        return httpx.Response(201, json={"data": made if request.url.path == "/webhooks" else {}})

    async with setup(new_uow, transport=httpx.MockTransport(answer)) as at:
        with pytest.raises(KeyNotShownError) as caught:
            await at.registrar.register()
        saved = await at.saved()

    assert saved == []
    assert key is None or key == "whsec_" or key not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, OpenPhoneBusyError), (429, OpenPhoneBusyError), (403, OpenPhoneRefusedError)],
)
async def test_refusal_while_changing_is_one_of_our_errors(
    new_uow: NewUow, status: int, error: type[Exception]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": []})
        return httpx.Response(status, text="<html>no</html>")

    async with setup(new_uow, transport=httpx.MockTransport(answer)) as at:
        with pytest.raises(error):
            await at.registrar.register()


@pytest.mark.parametrize(
    "url", ["http://crm.example.com/webhooks/openphone", "https://127.0.0.1/webhooks/openphone"]
)
async def test_address_that_the_provider_cannot_reach_is_refused(new_uow: NewUow, url: str) -> None:
    async with setup(new_uow, url=url) as at:
        with pytest.raises(AddressNotPublicError, match="CRM_PUBLIC_URL"):
            await at.registrar.register()
        with pytest.raises(AddressNotPublicError):
            await at.registrar.register_legacy()
        allowed = replace(at.registrar, is_real=False)
        await allowed.register()


async def test_keys_lie_sealed_and_the_log_of_decisions_holds_none(
    new_uow: NewUow, session: AsyncSession
) -> None:
    async with setup(new_uow) as at:
        await at.registrar.register()
        await at.registrar.rotate()
        (hook,) = at.sandbox.workspace.deliverer.hooks.values()
    sealed = (await session.execute(text("SELECT sealed FROM webhook_key"))).scalars().all()
    rows = await session.execute(text("SELECT action, detail::text FROM audit_log ORDER BY id"))
    audit = rows.all()

    bare = hook.key.removeprefix("whsec_").encode()
    assert len(sealed) == 2
    assert not any(bare in one or hook.key.encode() in one for one in sealed)
    assert [row.action for row in audit] == ["register_webhook", "rotate_webhook_key"]
    assert not any(hook.key in row.detail for row in audit)
