"""Contacts as CSV: all that a filter wants, in a form that the importer reads back."""

from collections.abc import AsyncIterator
from datetime import datetime

from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.contacts import export_queries
from crm_api.domain.contacts.find_queries import ORDERS, Position, Search
from crm_api.domain.contacts.schemas import ContactFilter, ContactSort
from crm_api.domain.contacts.search import search_patterns
from crm_api.domain.exports.copying import write_csv


async def contacts_csv(
    new_uow: UnitOfWorkFactory, wanted: ContactFilter, *, sort: ContactSort, now: datetime
) -> AsyncIterator[bytes]:
    """Write contacts as CSV; the stream begins once the columns are known.

    Every attribute has a column, ``attributes.roof``: they are looked up in a first pass.

    Raises:
        UnsearchableError: ``q`` has neither letters nor digits.
    """
    begun = Search(wanted, search_patterns(wanted.q), ORDERS[sort], None, now)
    names = await _attribute_names(new_uow, begun)

    async def next_page(uow: UnitOfWork, after: Position | None) -> tuple[bytes, Position | None]:
        search = begun.continued(after)
        end = await export_queries.end_of(uow.session, search)
        rows = await export_queries.copy_page(uow.session, search, end=end, attributes=names)
        return rows, end

    header = [*export_queries.HEADER, *(f"attributes.{name}" for name in names)]
    return write_csv(new_uow, header=header, next_page=next_page)


async def _attribute_names(new_uow: UnitOfWorkFactory, begun: Search) -> list[str]:
    """Return the names of all attributes that are going to be written, the first so many."""
    names: set[str] = set()
    after: Position | None = None
    while True:
        search = begun.continued(after)
        async with new_uow() as uow:
            after = await export_queries.end_of(uow.session, search)
            names |= await export_queries.attribute_names(uow.session, search, end=after)
        if after is None:
            return sorted(names)[: export_queries.MOST_ATTRIBUTES]
