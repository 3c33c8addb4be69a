"""API keys without HTTP: granting of scopes, expiry, and simultaneous rotations."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import text
from tests.conftest import NOW

from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.errors import (
    ApiKeyRotatedError,
    ExpiryInThePastError,
    ScopeNotHeldError,
)
from crm_api.domain.identity.api_keys.models import KeyStatus, Scope
from crm_api.domain.identity.api_keys.schemas import ApiKeyRotate
from crm_api.domain.identity.api_keys.service import KeyMaker
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
READER = KeyMaker(name="a reader", scopes=frozenset({Scope.CONTACTS_READ}))


async def test_maker_of_a_key_grants_only_scopes_that_the_maker_has(new_uow: NewUow) -> None:
    async def make(scope: Scope) -> None:
        async with new_uow() as uow:
            await access.create_api_key(uow, name="mine", scopes=[scope], maker=READER, now=NOW)

    await make(Scope.CONTACTS_READ)

    for scope in (Scope.CONTACTS_WRITE, Scope.ADMIN):
        with pytest.raises(ScopeNotHeldError, match=scope):
            await make(scope)


async def test_a_key_expires_at_its_instant(new_uow: NewUow) -> None:
    end = NOW + timedelta(hours=1)
    async with new_uow() as uow:
        key, _ = await access.create_api_key(
            uow, name="mine", scopes=["admin"], maker=access.COMMAND_LINE, now=NOW, expires_at=end
        )

        listed = {
            status: await access.list_api_keys(uow, status=status, cursor=None, limit=5, now=end)
            for status in (KeyStatus.ACTIVE, KeyStatus.EXPIRED)
        }

    assert key.status(end - timedelta.resolution) is KeyStatus.ACTIVE
    assert key.status(end) is KeyStatus.EXPIRED
    assert [one.id for one in listed[KeyStatus.EXPIRED].data] == [key.id]
    assert listed[KeyStatus.ACTIVE].data == []


async def test_an_expiry_at_this_instant_is_refused(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        with pytest.raises(ExpiryInThePastError):
            await access.create_api_key(
                uow,
                name="mine",
                scopes=["admin"],
                maker=access.COMMAND_LINE,
                now=NOW,
                expires_at=NOW,
            )


def test_an_overlap_lasts_at_most_thirty_days() -> None:
    longest = int(timedelta(days=30).total_seconds())

    assert ApiKeyRotate(overlap_seconds=longest).overlap_seconds == longest
    with pytest.raises(ValidationError, match="overlap_seconds"):
        ApiKeyRotate(overlap_seconds=longest + 1)


async def test_one_of_two_rotations_at_the_same_moment_is_refused(committed_uow: NewUow) -> None:
    async with committed_uow() as uow:
        key, _ = await access.create_api_key(
            uow, name="till", scopes=["admin"], maker=access.COMMAND_LINE, now=NOW
        )

    async def rotate() -> None:
        async with committed_uow() as uow:
            await access.rotate_api_key(
                uow, key_id=key.id, overlap=timedelta(), maker=access.COMMAND_LINE, now=NOW
            )

    done = await asyncio.gather(rotate(), rotate(), return_exceptions=True)

    async with committed_uow() as uow:
        keys = await uow.session.scalar(text("SELECT count(*) FROM api_key"))
    assert sorted(type(one).__name__ for one in done) == [ApiKeyRotatedError.__name__, "NoneType"]
    assert keys == 2
