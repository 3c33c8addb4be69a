"""A flag of a number shows reason and expiry, has no effect after it expires, and is removed."""

from datetime import timedelta

import httpx
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact, number

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.consent_decisions.flags import expire_flags
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory


async def set_flag(
    session: AsyncSession, flag: str, *, hours: float | None, position: int = 0
) -> None:
    """Set a flag that expires `hours` after `NOW`; if `hours` is None, it never expires."""
    ends = None if hours is None else NOW + timedelta(hours=hours)
    session.add(
        ContactFlag(phone=number(position), flag_type=flag, expires_at=ends, created_at=NOW)
    )
    await session.flush()


async def flag_names(session: AsyncSession) -> list[str]:
    return list(await session.scalars(select(ContactFlag.flag_type).order_by(ContactFlag.id)))


async def test_flags_are_shown_with_reason_and_expiry(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session, phone=number(0))
    path = f"/v1/contacts/{contact.id}/flags"
    ends = format_instant(clock.now() + timedelta(days=30))
    await client.post(path, json={"flag": "vip"})
    await client.post(
        path, json={"flag": "Do Not Contact", "reason": "away in June", "expires_at": ends}
    )
    await client.post(path, json={"flag": "over", "expires_at": "2020-01-01T00:00:00Z"})

    answer = (await client.get(path)).json()

    assert answer["next_cursor"] is None
    assert [{**one, "created_at": ""} for one in answer["data"]] == [
        {
            "flag": "do_not_contact",
            "reason": "away in June",
            "expires_at": ends,
            "created_at": "",
        },
        {"flag": "vip", "reason": None, "expires_at": None, "created_at": ""},
    ]


async def test_expired_flag_starts_again(client: httpx.AsyncClient, session: AsyncSession) -> None:
    contact = await make_contact(session, phone=number(0))
    path = f"/v1/contacts/{contact.id}/flags"
    begun = NOW - timedelta(days=900)
    for flag, days in (("ended", -800), ("lasting", 90_000)):
        session.add(
            ContactFlag(
                phone=number(0),
                flag_type=flag,
                expires_at=NOW + timedelta(days=days),
                created_at=begun,
            )
        )
    await session.flush()

    for flag in ("ended", "lasting"):
        await client.post(path, json={"flag": flag})

    shown = {one["flag"]: one["created_at"] for one in (await client.get(path)).json()["data"]}
    assert shown["lasting"] == format_instant(begun)
    assert shown["ended"] > format_instant(begun)


async def test_only_expired_flags_are_removed(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await set_flag(session, "at_this_instant", hours=0)
    await set_flag(session, "ended", hours=-1)
    await set_flag(session, "lasting", hours=1)
    await set_flag(session, "for_good", hours=None)

    async with new_uow() as uow:
        removed = await expire_flags(uow, now=NOW)

    assert removed == 2
    assert await flag_names(session) == ["lasting", "for_good"]


async def test_flags_are_removed_in_batches_by_age_of_expiry(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for hours in (-1, -3, -2):
        await set_flag(session, f"ended{hours}", hours=hours)
    counts, left = [], []

    for _ in range(3):
        async with new_uow() as uow:
            counts.append(await expire_flags(uow, now=NOW, limit=2))
        left.append(await flag_names(session))

    assert counts == [2, 1, 0]
    assert left == [["ended-1"], [], []]


async def test_a_flag_with_a_past_expiry_is_refused(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/contacts", json={"phone": "617-555-0142"})
    path = f"/v1/contacts/{made.json()['id']}/flags"

    past = {"flag": "moved", "expires_at": "2020-01-01T00:00:00Z"}
    refused = await client.post(path, json=past)

    assert refused.status_code == 422
    assert refused.json()["code"] == "expiry_in_the_past"
    assert refused.json()["errors"][0]["pointer"] == "/expires_at"
    assert (await client.get(path)).json()["data"] == []
