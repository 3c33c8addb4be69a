"""The running receiver accepts events that are signed with newly saved keys."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.domain.inbound.webhook_setup import keys
from crm_api.domain.inbound.webhook_setup.keyring import KeyRing
from crm_api.domain.inbound.webhook_setup.keys import OVERLAP
from crm_api.domain.provider.openphone.signature import SignatureScheme, sign_legacy, sign_standard
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings

URL = "/webhooks/openphone"
FIRST = "whsec_Zmlyc3Qgc2lnbmluZyBrZXkgb2Ygb3Vycw=="
SECOND = "whsec_c2Vjb25kIHNpZ25pbmcga2V5IG9mIG91cnM="
LEGACY = "bGVnYWN5IHNpZ25pbmcga2V5IG9mIG91cnM="
NewUow = Callable[[], UnitOfWork]


async def _save(
    new_uow: NewUow,
    settings: Settings,
    key: str,
    *,
    webhook_id: str = "7",
    ago: timedelta = timedelta(0),
) -> None:
    is_legacy = not key.startswith("whsec_")
    async with new_uow() as uow:
        await keys.save_key(
            uow,
            webhook_id=webhook_id,
            scheme=SignatureScheme.LEGACY if is_legacy else SignatureScheme.STANDARD,
            key=key,
            secret=settings.require_secret_key(),
            now=clock.now() - ago,
        )


async def _deliver(client: httpx.AsyncClient, key: str, number: int) -> int:
    body = b'{"id": "EV%d", "type": "message.received"}' % number
    if key.startswith("whsec_"):
        headers = sign_standard(key, body, delivery_id=f"msg_{number}", at=clock.now())
    else:
        headers = sign_legacy(key, body, at=clock.now())
    return (await client.post(URL, content=body, headers=headers)).status_code


def _advance_key_ring(app: FastAPI, seconds: float) -> None:
    """Move the clock of the key ring (the cache of the signing keys) forward."""
    ring: KeyRing = app.state.keys
    before = ring._monotonic
    ring._monotonic = lambda: before() + seconds


@pytest.mark.parametrize("key", [FIRST, LEGACY])
async def test_newly_saved_key_is_accepted_without_a_restart(
    committed_client: httpx.AsyncClient,
    committed_app: FastAPI,
    committed_uow: NewUow,
    settings: Settings,
    key: str,
) -> None:
    before = await _deliver(committed_client, key, 1)
    await _save(committed_uow, settings, key)
    _advance_key_ring(committed_app, 3)
    after = await _deliver(committed_client, key, 1)

    assert (before, after) == (401, 200)


async def test_old_key_is_accepted_only_during_the_overlap(
    committed_client: httpx.AsyncClient, committed_uow: NewUow, settings: Settings
) -> None:
    await _save(committed_uow, settings, FIRST, webhook_id="1")
    await _save(committed_uow, settings, SECOND, webhook_id="1")
    await _save(committed_uow, settings, FIRST[:-4] + "AA==", webhook_id="2", ago=2 * OVERLAP)
    await _save(committed_uow, settings, LEGACY, webhook_id="2", ago=1.5 * OVERLAP)

    answers = [
        await _deliver(committed_client, key, number)
        for number, key in enumerate([FIRST, SECOND, LEGACY, FIRST[:-4] + "AA=="])
    ]

    assert answers == [200, 200, 200, 401]


async def test_keys_of_the_settings_are_still_accepted(
    committed_client: httpx.AsyncClient, committed_uow: NewUow, settings: Settings
) -> None:
    await _save(committed_uow, settings, FIRST)

    assert await _deliver(committed_client, settings.webhook_secrets()[0], 1) == 200


async def test_many_forged_events_cause_one_database_query(
    committed_client: httpx.AsyncClient,
    committed_db: AsyncEngine,
    committed_uow: NewUow,
    settings: Settings,
) -> None:
    await _save(committed_uow, settings, FIRST)
    asked: list[str] = []

    def remember(*given: object) -> None:
        if "webhook_key" in str(given[2]):
            asked.append(str(given[2]))

    event.listen(committed_db.sync_engine, "before_cursor_execute", remember)
    try:
        answers = await asyncio.gather(
            *(_deliver(committed_client, SECOND, number) for number in range(200))
        )
    finally:
        event.remove(committed_db.sync_engine, "before_cursor_execute", remember)

    assert set(answers) == {401}
    assert len(asked) == 1
    assert await _deliver(committed_client, FIRST, 1000) == 200


async def test_key_encrypted_with_another_secret_is_ignored(
    committed_client: httpx.AsyncClient, committed_uow: NewUow, settings: Settings
) -> None:
    other = settings.model_copy(update={"secret_key": None})
    (settings.data_dir / "secret-key").write_text("another secret key of 32 characters")
    await _save(committed_uow, other, FIRST)

    assert await _deliver(committed_client, FIRST, 1) == 401
    assert await _deliver(committed_client, settings.webhook_secrets()[0], 2) == 200
