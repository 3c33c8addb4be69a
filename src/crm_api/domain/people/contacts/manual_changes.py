"""Create and change contacts by hand, and block their numbers if an erased person had them."""

from datetime import datetime
from uuid import UUID

from crm_api.domain.messaging.consent_decisions.suppression import suppress_erased
from crm_api.domain.people.contacts import service
from crm_api.domain.people.contacts.schemas import ContactCreate, ContactUpdate, FlaggedContact
from crm_api.platform.database import UnitOfWork


async def create_contact_by_hand(
    uow: UnitOfWork, body: ContactCreate, *, now: datetime, secret: bytes
) -> FlaggedContact:
    """Add a contact, and flag its number in the same transaction if an erased person had it.

    Raises:
        ContactExistsError: Another contact has this number; ``contact_id`` is its id.
        FieldValuesError: Attributes do not fit their custom fields.
    """
    await suppress_erased(uow, phones=[body.phone], now=now, secret=secret)
    return await service.create_contact(uow, body, now=now)


async def update_contact_by_hand(
    uow: UnitOfWork, changes: ContactUpdate, *, contact_id: UUID, now: datetime, secret: bytes
) -> FlaggedContact:
    """Change a contact, and flag its new number if an erased person had it.

    A flagged number gets no messages; the contact's waiting messages are withdrawn.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        ContactExistsError: Another contact has the new number.
        InvalidAttributesError: The merged attributes are too many or too large.
        FieldValuesError: Attributes do not fit their custom fields.
    """
    if changes.phone:
        await suppress_erased(uow, phones=[changes.phone], now=now, secret=secret)
    return await service.update_contact(uow, changes, contact_id=contact_id, now=now)
