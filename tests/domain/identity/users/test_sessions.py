"""A sign-in runs at the same time as a change of the user's password or status, in both orders."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.locks import blocked

from crm_api.domain.identity.users import password_changes, sessions
from crm_api.domain.identity.users import service as accounts
from crm_api.domain.identity.users.errors import WrongCredentialsError
from crm_api.domain.identity.users.models import User, UserRole, UserSession, UserStatus
from crm_api.domain.identity.users.schemas import UserUpdate
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]
Change = Callable[[UnitOfWork, User], Awaitable[Any]]
OLD, NEW, ANOTHER = "old hash", "new hash", "another hash"


@pytest_asyncio.fixture
async def user(committed_uow: NewUow) -> User:
    """Store and return an active user; the tests assume that the password was just verified."""
    user = User(
        email="olga@firm.example.com",
        name="Olga",
        role=UserRole.AGENT,
        status=UserStatus.ACTIVE,
        password_hash=OLD,
        created_at=NOW,
        updated_at=NOW,
    )
    async with committed_uow() as uow:
        uow.session.add(user)
    return user


async def replace_password(uow: UnitOfWork, user: User) -> None:
    await password_changes.change_password(
        uow, user_id=user.id, known_hash=OLD, password_hash=NEW, now=NOW
    )


async def disable(uow: UnitOfWork, user: User) -> None:
    change = UserUpdate(status=UserStatus.DISABLED)
    await accounts.update_user(uow, change, user_id=user.id, actor="an owner", now=NOW)


async def sign_in(new_uow: NewUow, user: User) -> None:
    async with new_uow() as uow:
        await sessions.begin_session(uow, user_id=user.id, password_hash=OLD, now=NOW)


async def count_active_sessions(new_uow: NewUow) -> int | None:
    async with new_uow() as uow:
        counted = select(func.count()).select_from(UserSession)
        return await uow.session.scalar(counted.where(UserSession.revoked_at.is_(None)))


CHANGES = pytest.mark.parametrize("change", [replace_password, disable])


@CHANGES
async def test_no_session_begins_after_the_change(
    committed_uow: NewUow, user: User, change: Change
) -> None:
    async with committed_uow() as uow:
        await change(uow, user)

    with pytest.raises(WrongCredentialsError):
        await sign_in(committed_uow, user)

    assert await count_active_sessions(committed_uow) == 0


@CHANGES
async def test_no_session_begins_while_the_change_is_being_made(
    committed_uow: NewUow, committed_db: AsyncEngine, user: User, change: Change
) -> None:
    async with committed_uow() as uow:
        await change(uow, user)
        signing_in = await blocked(committed_db, sign_in(committed_uow, user))

    with pytest.raises(WrongCredentialsError):
        await signing_in

    assert await count_active_sessions(committed_uow) == 0


@CHANGES
async def test_change_ends_a_session_that_is_being_created(
    committed_uow: NewUow, committed_db: AsyncEngine, user: User, change: Change
) -> None:
    async def make_change() -> None:
        async with committed_uow() as uow:
            await change(uow, user)

    async with committed_uow() as uow:
        await sessions.begin_session(uow, user_id=user.id, password_hash=OLD, now=NOW)
        changing = await blocked(committed_db, make_change())
    await changing

    assert await count_active_sessions(committed_uow) == 0


async def test_second_of_two_password_changes_at_the_same_moment_is_refused(
    committed_uow: NewUow, committed_db: AsyncEngine, user: User
) -> None:
    async def change_too() -> None:
        async with committed_uow() as uow:
            await password_changes.change_password(
                uow, user_id=user.id, known_hash=OLD, password_hash=ANOTHER, now=NOW
            )

    async with committed_uow() as uow:
        await replace_password(uow, user)
        second = await blocked(committed_db, change_too())

    with pytest.raises(WrongCredentialsError):
        await second
