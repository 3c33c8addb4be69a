"""A large import does not delay small imports."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW

from crm_api.domain.imports.contacts.models import CONTACT_IMPORTS, ContactImport
from crm_api.domain.imports.files import runs


def waiting(*, created_at: datetime, updated_at: datetime) -> ContactImport:
    return ContactImport(
        status="running",
        byte_size=1,
        mapping={},
        on_duplicate="fill",
        created_at=created_at,
        updated_at=updated_at,
    )


async def test_import_that_waited_longest_is_claimed_first(session: AsyncSession) -> None:
    early = NOW - timedelta(hours=1)
    large = waiting(created_at=early, updated_at=NOW)
    small = waiting(created_at=early + timedelta(minutes=5), updated_at=early)
    session.add_all([large, small])
    await session.flush()

    claimed = await runs.claim_import(session, CONTACT_IMPORTS, now=NOW)

    assert claimed is not None
    assert claimed.id == small.id
