"""Store and list consent decisions about a contact's phone number, and set the number's flags."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from crm_api.domain.consent.models import ConsentEntry, ConsentSource, ConsentWording, ContactFlag
from crm_api.domain.consent.reply_examples import require_reply
from crm_api.domain.consent.schemas import ConsentDecision
from crm_api.domain.identity.api_keys.errors import ExpiryInThePastError
from crm_api.domain.kit.paging import Page
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.messaging.consent_decisions.flags import flag_rows
from crm_api.domain.people.contacts.errors import FlagNotFoundError
from crm_api.domain.people.contacts.schemas import FlagCreate, FlaggedContact
from crm_api.domain.people.contacts.service import get_contact
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork


async def opt_out(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    decision: ConsentDecision,
    actor: str,
    now: datetime,
    secret: bytes,
) -> FlaggedContact:
    """Opt out a contact's phone number, because a user or an integration decided so.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        NotAReplyError: The decision refers to a message that this person did not send.
    """
    return await _decide(
        uow, consent.opt_out, decision, contact_id=contact_id, actor=actor, now=now, secret=secret
    )


async def opt_in(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    decision: ConsentDecision,
    actor: str,
    now: datetime,
    secret: bytes,
) -> FlaggedContact:
    """Opt in a contact's phone number again, because a user or an integration decided so.

    If the number is on hold, a user's decision only releases the hold. It does not end an opt-out
    that the person sent before the decision and that arrives later.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        NotAReplyError: The decision refers to a message that this person did not send.
    """
    return await _decide(
        uow,
        consent.opt_in_or_release,
        decision,
        contact_id=contact_id,
        actor=actor,
        now=now,
        secret=secret,
    )


async def list_flags(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> list[ContactFlag]:
    """Return the active flags of a contact's phone number, ordered by name.

    A flag is a stored fact about a number, such as ``opted_out``.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    contact = (await get_contact(uow, contact_id=contact_id, now=now)).contact
    return await flag_rows(uow.session, phone=contact.phone, now=now)


async def add_flag(
    uow: UnitOfWork,
    body: FlagCreate,
    *,
    contact_id: UUID,
    actor: str,
    now: datetime,
    secret: bytes,
) -> FlaggedContact:
    """Set a flag on a contact's phone number. Setting ``opted_out`` is an opt-out.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        ConsentDoesNotExpireError: ``expires_at`` is given, but the flag is an opt-out or a hold.
        ExpiryInThePastError: ``expires_at`` is not in the future.
    """
    if body.expires_at is not None and body.expires_at <= now:
        raise ExpiryInThePastError
    contact = (await get_contact(uow, contact_id=contact_id, now=now)).contact
    details = _details(contact, reason=body.reason, actor=actor, now=now, secret=secret)
    await consent.add_flag(uow, flag=body.flag, expires_at=body.expires_at, **details)
    return await get_contact(uow, contact_id=contact_id, now=now)


async def remove_flag(
    uow: UnitOfWork, *, contact_id: UUID, flag: str, actor: str, now: datetime, secret: bytes
) -> None:
    """Remove a flag from a contact's phone number. Removing ``opted_out`` is an opt-in.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        FlagNotFoundError: The number does not have this flag.
    """
    contact = (await get_contact(uow, contact_id=contact_id, now=now)).contact
    details = _details(contact, reason="flag removed", actor=actor, now=now, secret=secret)
    if not await consent.remove_flag(uow, flag=flag, **details):
        raise FlagNotFoundError


async def consent_history(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    secret: bytes,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[tuple[ConsentEntry, ConsentWording | None]]:
    """List the decisions about a contact's phone number, newest first.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        InvalidCursorError: The cursor does not belong to this list.
    """
    contact = (await get_contact(uow, contact_id=contact_id, now=now)).contact
    return await consent.history(
        uow, phone=contact.phone, secret=secret, cursor=cursor, limit=limit
    )


async def _decide(
    uow: UnitOfWork,
    decide: Callable[..., Awaitable[object]],
    decision: ConsentDecision,
    *,
    contact_id: UUID,
    actor: str,
    now: datetime,
    secret: bytes,
) -> FlaggedContact:
    contact = (await get_contact(uow, contact_id=contact_id, now=now)).contact
    if decision.message_id is not None:
        await require_reply(
            uow.session,
            message_id=decision.message_id,
            contact_id=contact.id,
            phone=contact.phone,
        )
    details: consent.DecisionDetails = {
        **_details(contact, reason=decision.reason, actor=actor, now=now, secret=secret),
        "source": decision.source,
        "note": decision.note,
        "text_shown": decision.text_shown,
        "evidence": decision.evidence,
        "activity_id": decision.message_id,
        "message_id": decision.message_id,
    }
    await decide(uow, **details)
    return await get_contact(uow, contact_id=contact_id, now=now)


def _details(
    contact: Contact, *, reason: str | None, actor: str, now: datetime, secret: bytes
) -> consent.DecisionDetails:
    return consent.DecisionDetails(
        phone=contact.phone,
        contact_id=contact.id,
        source=ConsentSource.API,
        actor=actor,
        reason=reason,
        now=now,
        secret=secret,
    )
