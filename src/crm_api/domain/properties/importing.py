"""Properties of imported rows: a chunk at a time, the same once more changes nothing."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.properties import queries
from crm_api.domain.properties.address_key import address_key
from crm_api.domain.properties.schemas import ImportedProperty
from crm_api.ids import new_id

UNDONE_AT_ONCE = 5_000


async def store(
    uow: UnitOfWork, rows: Iterable[ImportedProperty], *, import_id: UUID, now: datetime
) -> None:
    """Add or fill the properties of a chunk, and attach its people, whose contacts are stored.

    A row whose address names no place is passed over. What a property has stays, and so does the
    role of who belongs to it.
    """
    properties: dict[str, dict[str, Any]] = {}
    people: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = address_key(
            street=row.street, city=row.city, state=row.state, postal_code=row.postal_code
        )
        if key is None:
            continue
        told = {
            "street": row.street,
            "city": row.city,
            "state": row.state,
            "postal_code": row.postal_code,
            "year_built": row.year_built,
            "property_type": row.property_type,
        }
        # The first row of an address names it; later ones fill what it left out.
        known = properties.setdefault(key, {"id": new_id(), "address_key": key})
        known |= {name: value for name, value in told.items() if known.get(name) is None}
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
    """Detach whom an import attached, then remove the properties it made that nobody has used.

    What it filled in properties that were there before stays.

    Returns:
        False when nothing of it is left to be taken back.
    """
    if await queries.undo_people(uow.session, import_id=import_id, limit=limit):
        return True
    return await queries.undo_properties(uow.session, import_id=import_id, limit=limit) > 0
