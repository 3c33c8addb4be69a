"""Record an outcome once, and reverse it."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.people.contacts.service import find_contact_by_phone, lock_contact
from crm_api.domain.people.models.properties import Property
from crm_api.domain.people.properties.errors import NO_SUCH_PROPERTY, PropertyNotFoundError
from crm_api.domain.sales.outcomes.errors import (
    OtherCurrencyError,
    OutcomeExistsError,
    OutcomeNameError,
    OutcomeNotFoundError,
    OutcomePersonError,
    OutcomeReversedError,
    ReversalError,
)
from crm_api.domain.sales.outcomes.models import (
    CURRENCY,
    Outcome,
    OutcomeKind,
    OutcomeSource,
    OutcomeSubject,
)
from crm_api.domain.sales.outcomes.queries import FoundOutcome, read_outcome
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


@dataclass(frozen=True, kw_only=True)
class NewOutcome:
    """An outcome to record. Exactly one of ``contact_id`` and ``phone`` (E.164) names the person.

    Attributes:
        name: The name of an outcome of the kind ``custom``; None for the other kinds.
        external_id: The id of the outcome at the source. Each id of a source is recorded only once.
    """

    kind: OutcomeKind
    occurred_at: datetime
    source: OutcomeSource
    contact_id: UUID | None = None
    phone: str | None = None
    property_id: UUID | None = None
    amount_cents: int | None = None
    currency: str = CURRENCY
    name: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedOutcome:
    """A recorded outcome. ``is_new`` is False if the outcome was already recorded before."""

    outcome: FoundOutcome
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class _Person:
    """A person: the id of a contact that was not merged or deleted, or a number without contact."""

    contact_id: UUID | None
    phone: str | None


async def record_outcome(
    uow: UnitOfWork, new: NewOutcome, *, recorded_by: str, secret: bytes, now: datetime
) -> RecordedOutcome:
    """Store an outcome and return it. If it was already recorded, return the recorded outcome.

    An outcome was already recorded if its source has used ``external_id`` before, with the same
    values. An outcome without an external id is always stored. The contact is locked until the
    transaction ends, so an erasure of the contact waits.

    Args:
        secret: The root secret, for the hash of the external id.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        PropertyNotFoundError: The property does not exist.
        OtherCurrencyError: The amount is not in the currency of the company.
        OutcomeExistsError: The source recorded other values under this external id.
        OutcomeNameError: The name does not fit the kind.
        OutcomePersonError: The outcome has neither a contact id nor a phone number, or has both.
    """
    if new.currency != CURRENCY:
        raise OtherCurrencyError
    if (new.kind is OutcomeKind.CUSTOM) != (new.name is not None):
        raise OutcomeNameError
    if (new.contact_id is None) == (new.phone is None):
        raise OutcomePersonError
    if new.property_id is not None and await uow.session.get(Property, new.property_id) is None:
        raise PropertyNotFoundError(NO_SUCH_PROPERTY)
    person = await _find_person(uow, new, now=now)
    hashed = None
    if new.external_id is not None:
        hashed = hash_external_id(new.source, new.external_id, secret=secret)
    values = {
        "id": new_id(),
        "kind": new.kind,
        "name": new.name,
        "amount_cents": new.amount_cents,
        "currency": new.currency,
        "occurred_at": new.occurred_at,
        "source": new.source,
        "external_hash": hashed,
        "property_id": new.property_id,
        "recorded_by": recorded_by,
        "created_at": now,
    }
    # If two requests record the same outcome at the same time, the unique index on the hash makes
    # the second request wait. The second request then reads the outcome of the first request.
    statement = insert(Outcome).values(values).on_conflict_do_nothing().returning(Outcome.id)
    made = await uow.session.scalar(statement)
    if made is None:
        return await _recorded_before(uow, new, person, hashed)
    subject = {
        "outcome_id": made,
        "contact_id": person.contact_id,
        "phone": person.phone,
        "external_id": new.external_id,
    }
    await uow.session.execute(insert(OutcomeSubject).values(subject))
    return RecordedOutcome(outcome=await read_outcome(uow, outcome_id=made), is_new=True)


async def _find_person(uow: UnitOfWork, new: NewOutcome, *, now: datetime) -> _Person:
    contact_id = new.contact_id
    if new.phone is not None:
        found = await find_contact_by_phone(uow.session, phone=new.phone, now=now)
        if found is None:
            return _Person(contact_id=None, phone=new.phone)
        contact_id = found.contact.id
    if contact_id is None:
        raise OutcomePersonError
    return _Person(contact_id=(await lock_contact(uow, contact_id=contact_id)).id, phone=None)


async def _recorded_before(
    uow: UnitOfWork, new: NewOutcome, person: _Person, hashed: bytes | None
) -> RecordedOutcome:
    known = select(Outcome.id).where(Outcome.external_hash == hashed)
    first = await read_outcome(uow, outcome_id=(await uow.session.scalars(known)).one())
    asked = (new.kind, new.name, new.amount_cents, new.occurred_at, new.property_id)
    stored = (first.kind, first.name, first.amount_cents, first.occurred_at, first.property_id)
    # The value is None if the person was erased or deleted.
    known_as = first.contact_id or first.phone
    if asked != stored or known_as not in {None, person.contact_id or person.phone}:
        raise OutcomeExistsError(
            "This source has already recorded an outcome with this `external_id` and other values. "
            "To correct it, reverse the outcome `outcome_id` and record it again under another "
            "`external_id`.",
            outcome_id=str(first.id),
        )
    return RecordedOutcome(outcome=first, is_new=False)


async def reverse_outcome(
    uow: UnitOfWork, *, outcome_id: UUID, recorded_by: str, now: datetime
) -> FoundOutcome:
    """Reverse an outcome: add a second row with the negative amount, and return this row.

    Statistics count neither the outcome nor its reversal.

    Raises:
        OutcomeNotFoundError: No outcome has this id.
        OutcomeReversedError: The outcome was already reversed.
        ReversalError: The outcome is a reversal.
    """
    first = await uow.session.get(Outcome, outcome_id)
    if first is None:
        raise OutcomeNotFoundError
    if first.reverses_id is not None:
        raise ReversalError
    values = {
        "id": new_id(),
        "kind": first.kind,
        "name": first.name,
        "amount_cents": None if first.amount_cents is None else -first.amount_cents,
        "currency": first.currency,
        "occurred_at": now,
        "source": first.source,
        "property_id": first.property_id,
        "reverses_id": first.id,
        "recorded_by": recorded_by,
        "created_at": now,
    }
    statement = insert(Outcome).values(values).on_conflict_do_nothing().returning(Outcome.id)
    made = await uow.session.scalar(statement)
    if made is None:
        before = select(Outcome.id).where(Outcome.reverses_id == first.id)
        raise OutcomeReversedError(
            "The outcome is already reversed, by the outcome `outcome_id`. If the "
            "original outcome was right, record it again.",
            outcome_id=str((await uow.session.scalars(before)).one()),
        )
    return await read_outcome(uow, outcome_id=made)


def hash_external_id(source: OutcomeSource, external_id: str, *, secret: bytes) -> bytes:
    """Return the HMAC-SHA256 of the source and the external id, with ``secret`` as the key."""
    return hmac.digest(secret, f"outcome\0{source}\0{external_id}".encode(), "sha256")
