"""Helpers that merge contacts and read the recipients of a campaign."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from tests.conftest import NOW, SECRET
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import number

from crm_api.domain.people.deduplication import merge as merging
from crm_api.domain.people.deduplication.undo import undo_merge
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.platform.database import UnitOfWorkFactory


async def read_ids(new_uow: UnitOfWorkFactory) -> dict[str, UUID]:
    """Return the id of each contact by its number, including the duplicates of merges."""
    async with new_uow() as uow:
        rows = await uow.session.execute(text("SELECT phone, id FROM contact"))
        return {row.phone: row.id for row in rows}


async def merge(
    new_uow: UnitOfWorkFactory, primary: int, *duplicates: int, now: Any = NOW
) -> ContactMerge:
    """Merge the contacts at the positions ``duplicates`` into the contact at ``primary``."""
    ids = await read_ids(new_uow)
    async with new_uow() as uow:
        _, made = await merging.merge_contacts(
            uow,
            primary_id=ids[number(primary)],
            duplicate_ids=[ids[number(one)] for one in duplicates],
            actor="key",
            secret=SECRET.encode(),
            now=now,
        )
    assert made is not None
    return made


async def unmerge(new_uow: UnitOfWorkFactory, made: ContactMerge, *, now: Any = NOW) -> None:
    async with new_uow() as uow:
        await undo_merge(uow, merge_id=made.id, actor="key", now=now)


async def read_recipients(ledger: Ledger) -> Sequence[tuple[int, str, str, str, str | None]]:
    """Return the recipients of a campaign: step, contact, number, status and skip reason.

    The contact is given by its number. The n-th number is ``n<n>``.
    """
    rows = await ledger.rows(
        "SELECT m.step, c.phone AS owner, m.phone, m.status, m.skip_reason "
        "FROM campaign_membership m JOIN contact c ON c.id = m.contact_id "
        "WHERE m.campaign_id = :id ORDER BY m.step, m.phone, c.phone",
        id=ledger.campaign.id,
    )
    names = {number(position): f"n{position}" for position in range(10)}
    return [
        (row.step, names[row.owner], names[row.phone], row.status, row.skip_reason) for row in rows
    ]
