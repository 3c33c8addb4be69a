"""Failed sign-ins block an attacker who guesses passwords, but not the owner of the account."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.routers.identity.test_auth import (
    EMAIL,
    GUESS,
    OTHER,
    PASSWORD,
    bearer,
    create_active_user,
    sign_in,
)

from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.alerts.outgoing_mail import OutgoingMail
from crm_api.domain.identity.users import sessions
from crm_api.domain.identity.users.credentials import PasswordHasher
from crm_api.domain.identity.users.models import SignInAddress, SignInThrottle
from crm_api.domain.identity.users.sign_in_limits import (
    ACCOUNT_FAILURES,
    ADDRESS_FAILURES,
    KNOWN_FOR,
    PAIR_FAILURES,
)
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork

HOME, CAFE = "192.0.2.7", "198.51.100.4"
FromAddress = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]


class QuickHasher(PasswordHasher):
    """Password hasher without a hash function, so that a hundred sign-ins are fast."""

    async def hash_password(self, password: str) -> str:
        return password

    async def verify(self, password: str, known: str | None) -> bool:
        return password == known


@pytest.fixture
def from_address(app: FastAPI) -> FromAddress:
    """Return a function that opens a client without credentials with this IP address."""
    app.state.crm = replace(app.state.crm, passwords=QuickHasher())

    @asynccontextmanager
    async def client_from(address: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app=app, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://crm.test") as caller:
            yield caller

    return client_from


async def sign_in_from(from_address: FromAddress, address: str, **form: str) -> int:
    async with from_address(address) as caller:
        return (await sign_in(caller, **form)).status_code


async def user_at_home(client: httpx.AsyncClient, from_address: FromAddress) -> None:
    """Create a user who has signed in from the address ``HOME`` but not from ``CAFE``."""
    await create_active_user(client)
    assert await sign_in_from(from_address, HOME) == 200


async def test_guesses_at_other_accounts_do_not_block_a_known_user_of_the_address(
    client: httpx.AsyncClient, from_address: FromAddress
) -> None:
    await user_at_home(client, from_address)
    await create_active_user(client, email="guest@firm.example.com")

    guesses = [
        await sign_in_from(from_address, HOME, username=f"{number}@firm.example.com")
        for number in range(ADDRESS_FAILURES + 2)
    ]

    assert (guesses[-2], guesses[-1]) == (401, 429)
    assert await sign_in_from(from_address, HOME) == 200
    assert await sign_in_from(from_address, HOME, username="guest@firm.example.com") == 429


async def test_attacker_does_not_lock_the_account_for_its_owner(
    client: httpx.AsyncClient, from_address: FromAddress
) -> None:
    await user_at_home(client, from_address)

    guesses = [
        await sign_in_from(from_address, f"203.0.113.{number}", password=GUESS)
        for number in range(ACCOUNT_FAILURES + 2)
    ]

    assert (guesses[-2], guesses[-1]) == (401, 429)
    assert await sign_in_from(from_address, HOME) == 200


async def test_guesses_from_the_owners_address_are_limited(
    client: httpx.AsyncClient, from_address: FromAddress
) -> None:
    await user_at_home(client, from_address)

    for _ in range(PAIR_FAILURES + 1):
        assert await sign_in_from(from_address, HOME, password=GUESS) == 401

    assert await sign_in_from(from_address, HOME) == 429


async def test_successful_sign_in_does_not_clear_the_failures_of_another_account(
    client: httpx.AsyncClient, from_address: FromAddress
) -> None:
    await user_at_home(client, from_address)
    guest = "guest@firm.example.com"
    for _ in range(PAIR_FAILURES + 1):
        assert await sign_in_from(from_address, HOME, username=guest) == 401

    assert await sign_in_from(from_address, HOME) == 200

    assert await sign_in_from(from_address, HOME, username=guest) == 429


async def test_daily_cleanup_keeps_recent_failures(
    client: httpx.AsyncClient, from_address: FromAddress, new_uow: Callable[[], UnitOfWork]
) -> None:
    await user_at_home(client, from_address)
    for _ in range(PAIR_FAILURES + 1):
        assert await sign_in_from(from_address, HOME, password=GUESS) == 401

    async with new_uow() as uow:
        await sessions.delete_ended_sessions(uow, now=clock.wall_now())

    assert await sign_in_from(from_address, HOME) == 429


async def test_addresses_of_one_ipv6_network_count_as_one(
    client: httpx.AsyncClient, from_address: FromAddress
) -> None:
    await create_active_user(client)

    for number in range(PAIR_FAILURES + 1):
        assert await sign_in_from(from_address, f"2001:db8::{number}", password=GUESS) == 401

    assert await sign_in_from(from_address, "2001:db8::ffff") == 429


async def test_password_reset_removes_the_lock_for_all_addresses(
    client: httpx.AsyncClient, app: FastAPI, from_address: FromAddress, session: AsyncSession
) -> None:
    await user_at_home(client, from_address)
    for _ in range(PAIR_FAILURES + 1):
        await sign_in_from(from_address, HOME, password=GUESS)
    for number in range(ACCOUNT_FAILURES + 1):
        await sign_in_from(from_address, f"203.0.113.{number}", password=GUESS)
    assert await sign_in_from(from_address, HOME) == 429
    assert await sign_in_from(from_address, CAFE) == 429

    async with from_address(CAFE) as caller:
        await caller.post("/v1/auth/password-reset", json={"email": EMAIL})
        mail = (await session.scalars(select(OutgoingMail))).one()
        text = mailbox.read_body(mail, secret=app.state.crm.secret)
        token = text.partition('"token": "')[2].partition('"')[0]
        reset = await caller.post(
            "/v1/auth/password-reset/confirm", json={"token": token, "password": OTHER}
        )
    assert reset.status_code == 200, reset.text

    assert await sign_in_from(from_address, HOME, password=OTHER) == 200
    # The attacker continues to guess right after the reset.
    for number in range(ACCOUNT_FAILURES + 1):
        await sign_in_from(from_address, f"203.0.113.{number}", password=GUESS)
    assert await sign_in_from(from_address, CAFE, password=OTHER) == 200


async def test_unused_address_is_deleted(
    client: httpx.AsyncClient,
    from_address: FromAddress,
    new_uow: Callable[[], UnitOfWork],
    session: AsyncSession,
) -> None:
    await user_at_home(client, from_address)
    now = clock.wall_now()

    async with new_uow() as uow:
        await sessions.delete_ended_sessions(uow, now=now + KNOWN_FOR - timedelta(days=1))
    kept = await session.scalar(select(func.count()).select_from(SignInAddress))
    async with new_uow() as uow:
        await sessions.delete_ended_sessions(uow, now=now + KNOWN_FOR + timedelta(days=1))
    left = await session.scalar(select(func.count()).select_from(SignInAddress))

    # The two addresses are the address that accepted the invitation, and ``HOME``.
    assert (kept, left) == (2, 0)
    assert await sign_in_from(from_address, HOME, password=PASSWORD) == 200


class TestChangeOfPassword:
    """A caller who has a session cannot guess the password faster than at the sign-in."""

    @staticmethod
    async def change(
        caller: httpx.AsyncClient, headers: dict[str, str], current: str, new: str = OTHER
    ) -> httpx.Response:
        body = {"current_password": current, "password": new}
        return await caller.post("/v1/auth/password", json=body, headers=headers)

    async def test_wrong_passwords_are_limited(
        self, client: httpx.AsyncClient, from_address: FromAddress
    ) -> None:
        await create_active_user(client)

        async with from_address(HOME) as caller:
            headers = bearer(await sign_in(caller))
            guesses = [await self.change(caller, headers, GUESS) for _ in range(PAIR_FAILURES + 2)]
            right = await self.change(caller, headers, PASSWORD)

        assert [one.status_code for one in guesses] == [401] * (PAIR_FAILURES + 1) + [429]
        assert guesses[-1].json()["code"] == "too_many_sign_ins"
        assert 0 < int(guesses[-1].headers["retry-after"]) <= 31
        assert right.status_code == 429

    async def test_failed_password_changes_count_as_failed_sign_ins(
        self, client: httpx.AsyncClient, from_address: FromAddress
    ) -> None:
        await create_active_user(client)

        async with from_address(HOME) as caller:
            headers = bearer(await sign_in(caller))
            for _ in range(PAIR_FAILURES + 1):
                await sign_in(caller, password=GUESS)
            refused = await self.change(caller, headers, GUESS)

        assert refused.status_code == 429

    async def test_attacker_with_a_stolen_session_does_not_lock_the_account_for_its_owner(
        self, client: httpx.AsyncClient, from_address: FromAddress
    ) -> None:
        await create_active_user(client)
        async with from_address(HOME) as caller:
            headers = bearer(await sign_in(caller))

        async with from_address(CAFE) as attacker:
            guesses = [
                await self.change(attacker, headers, GUESS) for _ in range(PAIR_FAILURES + 2)
            ]
        async with from_address(HOME) as caller:
            right = await self.change(caller, headers, PASSWORD)

        assert guesses[-1].status_code == 429
        assert right.status_code == 204, right.text

    async def test_right_password_clears_the_failures(
        self, client: httpx.AsyncClient, from_address: FromAddress, session: AsyncSession
    ) -> None:
        await create_active_user(client)

        async with from_address(CAFE) as caller:
            headers = bearer(await sign_in(client))
            await self.change(caller, headers, GUESS)
            weak = await self.change(caller, headers, PASSWORD, "short")
            done = await self.change(caller, headers, PASSWORD)

        assert (weak.status_code, done.status_code) == (422, 204)
        left = select(func.coalesce(func.sum(SignInThrottle.failures), 0))
        # The guess with the wrong password is still recorded as a failure of the address ``CAFE``.
        assert await session.scalar(left) == 1
