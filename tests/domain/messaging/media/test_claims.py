import asyncio
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW

from crm_api.domain.messaging.media import fetching
from crm_api.platform.database import UnitOfWorkFactory


async def test_workers_never_claim_the_same_fetch(
    committed_db: AsyncEngine, committed_uow: UnitOfWorkFactory
) -> None:
    async with committed_db.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO media_fetch (id, activity_id, kind, url, next_attempt_at, created_at, "
                "updated_at) SELECT gen_random_uuid(), gen_random_uuid(), 'picture', "
                "'https://media.example.com/' || i, :now, :now, :now FROM generate_series(1, 40) i"
            ),
            {"now": NOW},
        )

    async def claim() -> list[UUID]:
        async with committed_uow() as uow:
            return [one.id for one in await fetching.claim_fetches(uow, limit=10, now=NOW)]

    taken = await asyncio.gather(*(claim() for _ in range(5)))

    ids = [one for batch in taken for one in batch]
    assert len(ids) == len(set(ids)) == 40
