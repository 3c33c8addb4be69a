"""API keys without HTTP: granting of scopes, and simultaneous rotations."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.conftest import NOW

from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.errors import ApiKeyRotatedError, ScopeNotHeldError
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.api_keys.service import KeyMaker
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
READER = KeyMaker(name="a reader", scopes=frozenset({Scope.CONTACTS_READ}))


async def test_a_maker_grants_only_scopes_that_they_have(new_uow: NewUow) -> None:
    async def make(scope: Scope) -> None:
        async with new_uow() as uow:
            await access.create_api_key(uow, name="mine", scopes=[scope], maker=READER, now=NOW)

    await make(Scope.CONTACTS_READ)

    for scope in (Scope.CONTACTS_WRITE, Scope.ADMIN):
        with pytest.raises(ScopeNotHeldError, match=scope):
            await make(scope)


async def test_of_two_rotations_at_once_one_is_refused(committed_uow: NewUow) -> None:
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
