"""Store the properties of imported rows by chunk; repeating a chunk changes nothing."""

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


async def store_properties(
    uow: UnitOfWork, rows: Iterable[ImportedProperty], *, import_id: UUID, now: datetime
) -> None:
    """Add or complete the properties of a chunk, and attach its contacts, which are stored already.

    A row without a usable address is skipped. Existing values of a property and existing roles
    stay.
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
        # The first row of an address is kept; later rows fill only its missing values.
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
    """Detach contacts that an import attached, then remove unused properties that it created.

    Values that it added to older properties stay.

    Returns:
        False if nothing is left to undo.
    """
    if await queries.undo_people(uow.session, import_id=import_id, limit=limit):
        return True
    return await queries.undo_properties(uow.session, import_id=import_id, limit=limit) > 0
