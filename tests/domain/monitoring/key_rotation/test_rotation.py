"""Replacement of the secret key: encrypted values move to the new key, and hashes do not change."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import LargeBinary, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW, SECRET

from crm_api.cli.doctor_checks import State
from crm_api.cli.doctor_database_checks import judge_secrets
from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.all_tables import metadata
from crm_api.domain.consent.models import hash_phone
from crm_api.domain.inbound.webhook_setup import keys
from crm_api.domain.monitoring import key_rotation
from crm_api.domain.monitoring.key_rotation import (
    SEALED_COLUMNS,
    SealedRows,
    open_root_secret,
    with_secret,
)
from crm_api.domain.provider.openphone.signature import SignatureScheme
from crm_api.platform.database import UnitOfWork, session_factory
from crm_api.platform.encryption import Secret, UnsealError
from crm_api.platform.settings import Settings, SettingsError

NewUow = Callable[[], UnitOfWork]
OLD = SECRET.encode()
NEXT = b"the next secret key, of 32 characters"
BOTH = Secret(OLD, seals=(NEXT, OLD))
ONLY_NEXT = Secret(OLD, seals=(NEXT,))
PHONE = "+16175550123"
HASHED = {
    ("api_key", "key_hash"),
    ("attribution_run", "inputs_hash"),
    ("attribution_run", "result_hash"),
    ("calendar_event", "digest"),
    ("calendar_event", "location_digest"),
    ("calendar_feed", "token_hash"),
    ("consent_entry", "phone_hash"),
    ("consent_entry", "wording_digest"),
    ("consent_link", "digest"),
    ("consent_wording", "salt"),
    ("erased_number", "phone_hash"),
    ("reply_example", "phone_hash"),
    # This key only selects the people of a holdout, who get no message. It must stay the same after
    # a rotation.
    ("holdout", "hash_key"),
    ("idempotency_key", "fingerprint"),
    ("outcome", "external_hash"),
    ("refresh_token", "token_hash"),
    ("sign_in_address", "address"),
    ("sign_in_throttle", "subject"),
    ("user_session", "access_hash"),
    ("user_ticket", "token_hash"),
}
"""Columns with hashes and other bytes that are not encrypted."""


async def open_root(uow: UnitOfWork, *given: bytes, adopts: bool = True) -> Secret:
    return await open_root_secret(uow.session, keys=given, now=NOW, adopts=adopts)


async def sealed_rows(engine: AsyncEngine, secret: Secret) -> dict[str, SealedRows]:
    async with session_factory(engine)() as session:
        return {
            one.table: one for one in await key_rotation.count_sealed_rows(session, secret=secret)
        }


async def fill(client: httpx.AsyncClient, new_uow: NewUow) -> None:
    """Store an encrypted value of each part of the service, under the old key."""
    made = await client.post(
        "/v1/webhook-endpoints",
        json={"url": "https://example.com/hook", "event_types": ["message.received"]},
        headers={"Idempotency-Key": "once"},
    )
    assert made.status_code == 201, made.text
    account = {"name": "Visits", "url": "https://dav.example.com/visits/"}
    login = {"username": "olga", "password": "abcd-efgh"}
    kept = await client.post("/v1/calendar-accounts", json=account | login)
    assert kept.status_code == 201, kept.text
    person = await client.post("/v1/contacts", json={"phone": PHONE})
    erased = await client.post(
        f"/v1/contacts/{person.json()['id']}/erase", json={"reason": "asked"}
    )
    assert erased.status_code == 202, erased.text
    async with new_uow() as uow:
        await open_root(uow, OLD)
        await keys.save_key(
            uow,
            webhook_id="WH1",
            scheme=SignatureScheme.STANDARD,
            key="whsec_c2VjcmV0LWtleS0x",
            secret=OLD,
            now=NOW,
        )
        for position in range(3):
            await mailbox.queue_mail(
                uow,
                to="ada@example.com",
                subject=f"Mail {position}",
                body="a token",
                lasts=timedelta(days=1),
                secret=OLD,
                now=NOW,
            )


async def test_every_sealed_value_moves_to_the_new_key(
    committed_client: httpx.AsyncClient, committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    await fill(committed_client, committed_uow)
    before = await sealed_rows(committed_db, BOTH)

    moved: dict[str, int] = {}
    async for table, count in key_rotation.reseal_all(committed_uow, secret=BOTH):
        moved[table] = moved.get(table, 0) + count
    again = [step async for step in key_rotation.reseal_all(committed_uow, secret=BOTH)]
    after = await sealed_rows(committed_db, ONLY_NEXT)

    assert moved == {table: one.others for table, one in before.items()}
    assert all(count > 0 for count in moved.values()), moved
    assert again == []
    assert {table: one.current for table, one in after.items()} == moved
    assert not any(one.others or one.unreadable for one in after.values())
    async with committed_uow() as uow:
        [saved] = await keys.accepted_keys(uow, secret=ONLY_NEXT, now=NOW)
        assert saved.key == "whsec_c2VjcmV0LWtleS0x"
        assert await open_root(uow, NEXT) == OLD


async def test_interrupted_rotation_continues(
    committed_client: httpx.AsyncClient, committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    await fill(committed_client, committed_uow)

    running = key_rotation.reseal_all(committed_uow, secret=BOTH)
    await anext(running)
    await running.aclose()
    between = await sealed_rows(committed_db, BOTH)
    async for _ in key_rotation.reseal_all(committed_uow, secret=BOTH):
        pass

    assert any(one.others for one in between.values())
    assert not any(one.others for one in (await sealed_rows(committed_db, BOTH)).values())


async def test_missing_key_is_reported_and_changes_nothing(
    committed_client: httpx.AsyncClient, committed_uow: NewUow, committed_db: AsyncEngine
) -> None:
    await fill(committed_client, committed_uow)

    steps = [step async for step in key_rotation.reseal_all(committed_uow, secret=ONLY_NEXT)]
    found = await sealed_rows(committed_db, ONLY_NEXT)

    assert steps == []
    assert found["outgoing_mail"].unreadable == 3
    assert {check.state for check in judge_secrets(list(found.values()))} == {State.BROKEN}
    assert (await sealed_rows(committed_db, BOTH))["outgoing_mail"].others == 3


async def test_root_secret_is_the_same_under_a_new_key(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        first = await open_root(uow, OLD)
        second = await open_root(uow, NEXT, OLD)

    assert first == second == OLD
    assert hash_phone(PHONE, second) == hash_phone(PHONE, OLD)
    assert second.seals == (NEXT, OLD)


async def test_root_secret_is_never_chosen_among_several_keys(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        with pytest.raises(UnsealError):
            await open_root(uow, NEXT, OLD)
        looked = await open_root(uow, NEXT, adopts=False)
        adopted = await open_root(uow, OLD)

    assert (looked, adopted) == (NEXT, OLD)


async def test_process_with_another_key_does_not_start(
    committed_db: AsyncEngine, settings: Settings
) -> None:
    """Test that a process with another secret key does not start.

    With this key, the hashes of erased people would not match, and these people could get messages
    again.
    """
    started = await with_secret(settings)
    wrong = settings.model_copy(update={"secret_key": SecretStr(NEXT.decode())})

    with pytest.raises(SettingsError, match="CRM_SECRET_KEY is not the secret key"):
        await with_secret(wrong, patience=0)
    both = wrong.model_copy(update={"other_secret_keys": (SecretStr(SECRET),)})
    replaced = await with_secret(both)

    assert started.require_secret_key() == replaced.require_secret_key() == OLD
    async with committed_db.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM root_secret")) == 1


def test_every_sealed_column_is_known_to_the_rotation() -> None:
    stored = {
        (name, column.name)
        for name, table in metadata.tables.items()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }

    assert stored - HASHED == {(place.table, place.name) for place in SEALED_COLUMNS}


def test_backup_uses_the_secret_key_and_not_the_root_secret(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, secret_key=SecretStr(NEXT.decode())).knowing(OLD)

    assert settings.require_secret_key() == OLD
    assert settings.secret_keys() == (NEXT,)
