"""A job rewrites, in chunks, values that were stored before their field was defined."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact, number

from crm_api.domain.people.custom_fields import stored_values
from crm_api.domain.people.models.contacts import CustomField
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.people import apply_custom_fields


@pytest.fixture
def job_uow(new_uow: UnitOfWorkFactory) -> UnitOfWorkFactory:
    return new_uow


async def years(session: AsyncSession) -> list[Any]:
    found = await session.execute(
        text("SELECT attributes ->> 'year_built' FROM contact ORDER BY phone")
    )
    return list(found.scalars())


async def kinds(session: AsyncSession) -> list[Any]:
    found = await session.execute(
        text("SELECT jsonb_typeof(attributes -> 'year_built') FROM contact ORDER BY phone")
    )
    return list(found.scalars())


async def test_older_values_are_rewritten_and_invalid_values_are_kept(
    ctx: dict[str, Any], session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[Any] = ["1,987", 1990, "old", 2001.0, "", None, "2005"]
    for i, value in enumerate(values):
        await make_contact(session, phone=number(i), attributes={"year_built": value, "roof": "x"})
    await make_contact(session, phone=number(90), attributes={"roof": "x"})
    field = CustomField(
        name="year_built", label="Year", type="integer", created_at=NOW, updated_at=NOW
    )
    session.add(field)
    await session.flush()
    monkeypatch.setattr(stored_values.apply_chunk, "__kwdefaults__", {"limit": 3})

    await apply_custom_fields(ctx)
    await apply_custom_fields(ctx)

    assert await years(session) == ["1987", "1990", "old", "2001", None, None, "2005", None]
    assert await kinds(session) == ["number"] * 2 + ["string", "number", None, None, "number", None]
    await session.refresh(field)
    assert field.applied_at is not None
    roofs = await session.execute(
        text("SELECT count(*) FROM contact WHERE attributes ->> 'roof' = 'x'")
    )
    assert roofs.scalar_one() == 8


async def test_rewriting_continues_after_the_last_written_chunk(
    new_uow: UnitOfWorkFactory, session: AsyncSession
) -> None:
    for i in range(5):
        await make_contact(session, phone=number(i), attributes={"year_built": "1987"})
    session.add(
        CustomField(name="year_built", label="Y", type="integer", created_at=NOW, updated_at=NOW)
    )
    await session.flush()

    for _ in range(2):
        async with new_uow() as uow:
            assert await stored_values.apply_chunk(uow, now=NOW, limit=2)

    assert await kinds(session) == ["number"] * 4 + ["string"]
    async with new_uow() as uow:
        assert await stored_values.apply_chunk(uow, now=NOW, limit=2)
        assert not await stored_values.apply_chunk(uow, now=NOW, limit=2)
    assert await kinds(session) == ["number"] * 5
