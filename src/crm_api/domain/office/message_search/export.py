"""Export all messages that match a filter as CSV."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Uuid

from crm_api.domain.kit.csv_export import copy_rows, write_csv
from crm_api.domain.messaging.conversations.exporting import COLUMNS, HEADER
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.office.message_search.listing import (
    MessagePosition,
    find_messages,
    select_messages,
)
from crm_api.domain.office.message_search.selection import MessageFilter
from crm_api.domain.office.message_search.terms import parse_terms
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

PAGE = 1_000
"""The number of messages that are read in one transaction."""


def export_found_messages(
    new_uow: UnitOfWorkFactory, wanted: MessageFilter, *, with_names: bool
) -> AsyncIterator[bytes]:
    """Return an iterator over the parts of a CSV file, in the order of ``list_messages``.

    Raises:
        UnsearchableError: ``wanted.q`` has no letter and no digit.
    """
    terms = parse_terms(wanted.q)

    async def next_page(
        uow: UnitOfWork, after: MessagePosition | None
    ) -> tuple[bytes, MessagePosition | None]:
        selection = await select_messages(uow.session, wanted, terms, with_names=with_names)
        found = await find_messages(uow.session, selection, begin=after, limit=PAGE)
        rows = await _copy_messages(uow.session, [row.id for row in found.rows])
        return rows, found.next

    return write_csv(new_uow, header=HEADER, next_page=next_page)


async def _copy_messages(session: AsyncSession, ids: Sequence[UUID]) -> bytes:
    """Return the CSV rows of these messages, in this order."""
    if not ids:
        return b""
    chosen = (
        func.unnest(bindparam("ids", list(ids), ARRAY(Uuid())))
        .table_valued("id", with_ordinality="place", name="chosen")
        .render_derived()
    )
    statement = (
        select(*COLUMNS.values())
        .select_from(chosen)
        .join(Activity, Activity.id == chosen.c.id)
        .order_by(chosen.c.place)
    )
    return await copy_rows(session, statement)
