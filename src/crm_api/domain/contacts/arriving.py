"""A number comes in by hand: whoever was erased under it is not texted again."""

from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.contacts import service
from crm_api.domain.contacts.schemas import ContactCreate, ContactUpdate, FlaggedContact


async def create(
    uow: UnitOfWork, body: ContactCreate, *, now: datetime, secret: bytes
) -> FlaggedContact:
    """Add a contact; the number of an erased person is off limits from the first moment.

    Raises:
        ContactExistsError: Somebody has this number; ``contact_id`` says who.
    """
    await consent.suppress_erased(uow, phones=[body.phone], now=now, secret=secret)
    return await service.create(uow, body, now=now)


async def update(
    uow: UnitOfWork, changes: ContactUpdate, *, contact_id: UUID, now: datetime, secret: bytes
) -> FlaggedContact:
    """Change a contact; what waits for it does not follow to an erased person's number.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
        ContactExistsError: Somebody has the new number.
        InvalidAttributesError: With those that are there, they would be too many or too large.
    """
    if changes.phone:
        await consent.suppress_erased(uow, phones=[changes.phone], now=now, secret=secret)
    return await service.update(uow, changes, contact_id=contact_id, now=now)
