"""Store and undo the properties of an imported file. Storing a chunk twice is harmless."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.domain.people.properties import queries
from crm_api.domain.people.properties.address_key import address_key
from crm_api.domain.people.properties.schemas import ImportedProperty
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

UNDONE_AT_ONCE = 5_000
"""Rows that one call of ``undo_some`` deletes."""


async def store_properties(
    uow: UnitOfWork, rows: Iterable[ImportedProperty], *, import_id: UUID, now: datetime
) -> None:
    """Add the properties of a chunk, and attach the chunk's contacts, which are already stored.

    A row without a complete address is skipped. If a property exists, only its missing values are
    filled. If a contact is already attached, its role does not change.
    """
    properties: dict[str, dict[str, Any]] = {}
    people: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = address_key(
            street=row.street, city=row.city, state=row.state, postal_code=row.postal_code
        )
        if key is None:
            continue
        given = {
            "street": row.street,
            "city": row.city,
            "state": row.state,
            "postal_code": row.postal_code,
            "year_built": row.year_built,
            "property_type": row.property_type,
        }
        # If several rows have one address, the first decides; later rows fill missing values.
        known = properties.setdefault(key, {"id": new_id(), "address_key": key})
        known |= {name: value for name, value in given.items() if known.get(name) is None}
        for phone, role in row.people:
            person = {"address_key": key, "phone": phone, "role": role.value}
            people.setdefault((key, phone), person)
    if properties:
        await queries.import_properties(
            uow.session,
            rows=list(properties.values()),
            people=list(people.values()),
            import_id=import_id,
            now=now,
        )


async def undo_some(uow: UnitOfWork, *, import_id: UUID, limit: int = UNDONE_AT_ONCE) -> bool:
    """Undo a part of an import: detach its contacts, then delete the properties that it created.

    A property that was changed since, or that has other contacts, is not deleted. Values that the
    import added to older properties stay.

    Returns:
        False if nothing is left to undo.
    """
    if await queries.undo_people(uow.session, import_id=import_id, limit=limit):
        return True
    return await queries.undo_properties(uow.session, import_id=import_id, limit=limit) > 0
