"""The import job merges the rows that count the contacts of a list; each chunk adds a row."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW

from crm_api.domain.people.lists import service as lists
from crm_api.domain.people.models.lists import ContactListTally
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.imports import run_imports


@pytest.fixture
def job_uow(new_uow: UnitOfWorkFactory) -> UnitOfWorkFactory:
    return new_uow


async def test_counts_of_a_list_are_merged(
    ctx: dict[str, Any], session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    async with new_uow() as uow:
        made = await lists.create_list(uow, name="Homeowners", now=NOW)
    list_id = made.contact_list.id
    for _ in range(lists.MERGED_ABOVE + 1):
        session.add(ContactListTally(list_id=list_id, contacts=2))
    await session.commit()

    await run_imports(ctx)

    assert list(await session.scalars(select(ContactListTally.contacts))) == [
        2 * (lists.MERGED_ABOVE + 1)
    ]
