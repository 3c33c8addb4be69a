"""A large import lets small ones pass."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW

from crm_api.domain.transfer import queries
from crm_api.domain.transfer.models import ContactImport


def waiting(*, created_at: datetime, updated_at: datetime) -> ContactImport:
    return ContactImport(
        status="running",
        byte_size=1,
        mapping={},
        on_duplicate="fill",
        created_at=created_at,
        updated_at=updated_at,
    )


async def test_import_worked_on_longest_ago_comes_first(session: AsyncSession) -> None:
    early = NOW - timedelta(hours=1)
    large = waiting(created_at=early, updated_at=NOW)
    small = waiting(created_at=early + timedelta(minutes=5), updated_at=early)
    session.add_all([large, small])
    await session.flush()

    taken = await queries.claim(session, now=NOW, lease_until=NOW + timedelta(minutes=1))

    assert taken is not None
    assert taken.id == small.id
