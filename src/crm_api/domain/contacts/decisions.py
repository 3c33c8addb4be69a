"""What somebody decides about a contact's number through the API, and the history of it."""

from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.consent.models import (
    ConsentEntry,
    ConsentSource,
    ConsentWording,
    ContactFlag,
)
from crm_api.domain.consent.schemas import ConsentDecision
from crm_api.domain.contacts.errors import FlagNotFoundError
from crm_api.domain.contacts.models import Contact
from crm_api.domain.contacts.schemas import FlagCreate, FlaggedContact
from crm_api.domain.contacts.service import get
from crm_api.domain.paging import Page


async def opt_out(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    decision: ConsentDecision,
    actor: str,
    now: datetime,
    secret: bytes,
) -> FlaggedContact:
    """Opt a contact's number out, by a user's or an integrator's word.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
    """
    contact = (await get(uow, contact_id=contact_id, now=now)).contact
    act = _act(contact, reason=decision.reason, actor=actor, now=now, secret=secret)
    await consent.opt_out(uow, **_proven(act, decision))
    return await get(uow, contact_id=contact_id, now=now)


async def opt_in(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    decision: ConsentDecision,
    actor: str,
    now: datetime,
    secret: bytes,
) -> FlaggedContact:
    """Opt a contact's number in again, by a user's or an integrator's word.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
    """
    contact = (await get(uow, contact_id=contact_id, now=now)).contact
    act = _act(contact, reason=decision.reason, actor=actor, now=now, secret=secret)
    await consent.opt_in(uow, **_proven(act, decision))
    return await get(uow, contact_id=contact_id, now=now)


async def list_flags(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> list[ContactFlag]:
    """Fetch the flags that stand on a contact's number, by name.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
    """
    contact = (await get(uow, contact_id=contact_id, now=now)).contact
    return await consent.flag_rows(uow, phone=contact.phone, now=now)


async def add_flag(
    uow: UnitOfWork,
    body: FlagCreate,
    *,
    contact_id: UUID,
    actor: str,
    now: datetime,
    secret: bytes,
) -> FlaggedContact:
    """Put a flag on a contact's number; ``opted_out`` is an opt-out with all that it does.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
        ConsentDoesNotExpireError: An opt-out or a hold was given an end.
    """
    contact = (await get(uow, contact_id=contact_id, now=now)).contact
    act = _act(contact, reason=body.reason, actor=actor, now=now, secret=secret)
    await consent.add_flag(uow, flag=body.flag, expires_at=body.expires_at, **act)
    return await get(uow, contact_id=contact_id, now=now)


async def remove_flag(
    uow: UnitOfWork, *, contact_id: UUID, flag: str, actor: str, now: datetime, secret: bytes
) -> None:
    """Take a flag off a contact's number; for ``opted_out`` that is an opt-in.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
        FlagNotFoundError: The number does not carry this flag.
    """
    contact = (await get(uow, contact_id=contact_id, now=now)).contact
    act = _act(contact, reason="flag removed", actor=actor, now=now, secret=secret)
    if not await consent.remove_flag(uow, flag=flag, **act):
        raise FlagNotFoundError("This contact's number does not carry this flag.")


async def consent_history(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    secret: bytes,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[tuple[ConsentEntry, ConsentWording | None]]:
    """List the decisions about a contact's number, newest first.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
        InvalidCursorError: The cursor is not one of this list's.
    """
    contact = (await get(uow, contact_id=contact_id, now=now)).contact
    return await consent.history(
        uow, phone=contact.phone, secret=secret, cursor=cursor, limit=limit
    )


def _act(
    contact: Contact, *, reason: str | None, actor: str, now: datetime, secret: bytes
) -> consent.Act:
    return consent.Act(
        phone=contact.phone,
        contact_id=contact.id,
        source=ConsentSource.API,
        actor=actor,
        reason=reason,
        now=now,
        secret=secret,
    )


def _proven(act: consent.Act, decision: ConsentDecision) -> consent.Act:
    """Add to an act how it is known."""
    return {
        **act,
        "source": decision.source,
        "note": decision.note,
        "text_shown": decision.text_shown,
        "evidence": decision.evidence,
    }
