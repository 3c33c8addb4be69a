"""Begin the erasure of a person: erase the data that is found by ids and phone numbers.

This happens in the transaction of the request. A job erases the remaining data later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.zones import zone_key
from crm_api.domain.messaging.consent_decisions import erased_numbers, suppression
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.people.contacts import changes as contact_changes
from crm_api.domain.people.contacts.errors import ContactNotFoundError
from crm_api.domain.people.erasure.records import OUTCOME_UNKNOWN, ErasureBlockedError
from crm_api.domain.people.erasure.removal import (
    delete_number_rows,
    drop_unused_properties,
    erase_person,
    fetch_property_ids,
)
from crm_api.domain.people.erasure.search_terms import SearchTerms, seal_terms
from crm_api.domain.people.models.erasure import Erasure, ErasureStatus
from crm_api.platform.database import UnitOfWork, typed_row
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName


async def erase_contact(
    uow: UnitOfWork, *, contact_id: UUID, reason: str, actor: str, now: datetime, secret: bytes
) -> Erasure:
    """Erase a person and block the person's phone numbers.

    Data that is found by ids and phone numbers is erased now. The job ``run_erasures`` erases the
    remaining data. If a number is added again later, it gets its earlier opt-out or hold again. It
    also gets ``do_not_contact``, unless a user removed this flag after the erasure.

    Raises:
        ContactNotFoundError: The contact does not exist or was erased before.
        ErasureBlockedError: It is not known yet whether a message to the person was sent. Nothing
            was changed.
    """
    found = await _lock_person(uow, contact_id=contact_id)
    person, ids, phones = found.row, found.ids, found.phones
    properties = await fetch_property_ids(uow.session, contact_id=person.id)
    if person.deleted_at is None:
        await contact_changes.delete_contact(uow, contact_id=person.id, now=now)
    await cancel_queued_messages(uow.session, phones=phones, now=now)
    # This sets a flag on each number, which withdraws all claimed messages to the number. The flags
    # are deleted later in this function, with the other data about the numbers.
    await suppression.suppress_numbers(
        uow, phones=phones, reason=erased_numbers.ERASED_REASON, now=now
    )
    under_way = await count_open_attempts(uow.session, phones=phones)
    if under_way:
        raise ErasureBlockedError(
            OUTCOME_UNKNOWN,
            texts=under_way,
        )
    await erased_numbers.keep_consent_state(
        uow, phones=phones, contact_id=ids[0], actor=actor, now=now, secret=secret
    )
    await erased_numbers.erase_consent_of(uow, phones=phones, now=now, secret=secret)
    nowhere = zone_key(timezone=None, state=None, postal_code=None, phone="")
    await erase_person(uow.session, ids=ids, phones=phones, zone_key=nowhere, now=now)
    await delete_number_rows(uow.session, phones=phones)
    if properties:
        await drop_unused_properties(uow.session, ids=properties)
    # The person's name is removed only from the reason of the erasure. In other texts, the same
    # name may be the name of another person.
    names = [person.first_name or "", person.last_name or ""]
    of_reason = SearchTerms.of(phones, [" ".join(names), ", ".join(reversed(names)), *found.emails])
    return await _store_erasure(
        uow,
        ids=ids,
        terms=SearchTerms.of(phones, found.emails),
        reason=of_reason.redact(reason),
        actor=actor,
        now=now,
        secret=secret,
    )


@dataclass(frozen=True, slots=True)
class ErasedPerson:
    """The contact of a person to erase. The contact may already be deleted."""

    id: UUID
    phone: str
    first_name: str | None
    last_name: str | None
    email: str | None
    deleted_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Person:
    """A contact, and all ids, numbers and e-mail addresses of the person.

    Attributes:
        ids: The contact's own id, then those of the duplicates that were merged into it.
        phones: The present and earlier numbers of the contact and the duplicates, sorted.
        emails: The e-mail addresses of the contact, and of the duplicates before the merge.
    """

    row: ErasedPerson
    ids: list[UUID]
    phones: list[str]
    emails: list[str | None]


async def _find_person_rows(uow: UnitOfWork, *, contact_id: UUID) -> _Person:
    row = await find_contact_to_erase(uow.session, contact_id=contact_id)
    if row is None:
        raise ContactNotFoundError
    merged = await fetch_merged(uow.session, contact_id=row.id)
    ids = [row.id, *merged]
    former = await fetch_former_numbers(uow.session, ids=ids)
    return _Person(
        row=row,
        ids=ids,
        phones=sorted({row.phone, *merged.values(), *former}),
        emails=[row.email, *await fetch_merged_emails(uow.session, ids=ids)],
    )


async def _lock_person(uow: UnitOfWork, *, contact_id: UUID) -> _Person:
    """Find a person; lock the person's contacts, and the consent decisions about the numbers.

    The contacts are locked first, in the order of their phone numbers. While the decisions are
    locked, no other transaction can opt a number in or out.

    Raises:
        ContactNotFoundError: The contact does not exist or was erased before.
    """
    while True:
        found = await _find_person_rows(uow, contact_id=contact_id)
        async with uow.session.begin_nested() as attempt:
            await lock_person_rows(uow.session, contact_id=found.row.id, phones=found.phones)
            await consent.lock_decisions(uow, phones=found.phones)
            locked = await _find_person_rows(uow, contact_id=contact_id)
            if (locked.ids, locked.phones) == (found.ids, found.phones):
                return locked
            # All locks are released, because the next try must lock the rows again in the same
            # order.
            await attempt.rollback()


# If the given id is the id of a merged duplicate, the statement finds the contact into which the
# duplicate was merged.
FIND_PERSON = text("""
    SELECT c.id, c.phone, c.first_name, c.last_name, c.email, c.deleted_at
    FROM contact c
    WHERE c.id = coalesce(
            (SELECT d.merged_into FROM contact d WHERE d.id = :contact_id), :contact_id)
      AND c.phone NOT LIKE 'erased:%'
""")


async def find_contact_to_erase(session: AsyncSession, *, contact_id: UUID) -> ErasedPerson | None:
    """Return a contact, even if it was deleted; None if it was erased or does not exist.

    For the id of a merged duplicate, return the contact that the duplicate was merged into.
    """
    found = await session.execute(FIND_PERSON, {"contact_id": contact_id})
    return typed_row(ErasedPerson, found.one_or_none())


# This finds the duplicates that were merged into the contact. They are the same person.
MERGED = text("SELECT d.id, d.phone FROM contact d WHERE d.merged_into = :contact_id")


async def fetch_merged(session: AsyncSession, *, contact_id: UUID) -> dict[UUID, str]:
    """Return the phone numbers of the duplicates merged into a contact, by id of the duplicate."""
    rows = await session.execute(MERGED, {"contact_id": contact_id})
    return {row.id: row.phone for row in rows}


# A merge clears the row of the duplicate, so only the snapshot of the merge still has the
# duplicate's e-mail address. If the merge was undone, the duplicate is considered another person.
MERGED_EMAILS = text("""
    SELECT DISTINCT d.content ->> 'email' FROM contact_merge m
      CROSS JOIN LATERAL jsonb_to_recordset(m.snapshot -> 'duplicates') AS d(content jsonb)
     WHERE m.primary_id = ANY(CAST(:ids AS uuid[])) AND m.undone_at IS NULL
       AND d.content ->> 'email' IS NOT NULL
""")


async def fetch_merged_emails(session: AsyncSession, *, ids: Sequence[UUID]) -> list[str]:
    """Return the e-mail addresses that the merged duplicates of these contacts had."""
    return list(await session.scalars(MERGED_EMAILS, {"ids": list(ids)}))


# Find the earlier phone numbers of the person. A number that another contact has now is left out.
FORMER_NUMBERS = text("""
    SELECT DISTINCT x.phone FROM (
        SELECT a.phone FROM activity a WHERE a.contact_id = ANY(CAST(:ids AS uuid[]))
        UNION ALL
        SELECT t.phone FROM conversation t WHERE t.contact_id = ANY(CAST(:ids AS uuid[]))
    ) x
    WHERE x.phone ~ '^[+][0-9]+$' AND NOT EXISTS (
        SELECT 1 FROM contact c
        WHERE c.phone = x.phone AND c.id <> ALL(CAST(:ids AS uuid[])))
""")


async def fetch_former_numbers(session: AsyncSession, *, ids: Sequence[UUID]) -> list[str]:
    """Return earlier phone numbers of these contacts.

    Numbers that another contact has now are left out.
    """
    return list(await session.scalars(FORMER_NUMBERS, {"ids": list(ids)}))


# A transaction that adds data for a number holds a share lock on the contact row of the number. FOR
# UPDATE waits for such transactions, and makes new ones wait. So their data is either committed and
# visible to the next statement, or it is added after the erasure. Contacts are locked in the order
# of their phone numbers, as in all other code, so that two transactions cannot deadlock.
LOCK_NUMBERS = text("""
    SELECT c.id FROM contact c
    WHERE c.id = :contact_id OR c.merged_into = :contact_id
       OR c.phone = ANY(CAST(:phones AS text[]))
    ORDER BY c.phone FOR UPDATE
""")


async def lock_person_rows(
    session: AsyncSession, *, contact_id: UUID, phones: Sequence[str]
) -> None:
    """Lock a contact, its merged duplicates and the contacts with these phone numbers.

    The contacts are locked in the order of their phone numbers.
    """
    values = {"contact_id": contact_id, "phones": list(phones)}
    await session.execute(LOCK_NUMBERS, values)


CANCEL_QUEUED = text("""
    UPDATE activity a SET status = 'failed', error_code = 'erased', updated_at = :now
    WHERE a.status = 'queued' AND a.phone = ANY(CAST(:phones AS text[])) AND a.origin <> 'campaign'
""")


async def cancel_queued_messages(
    session: AsyncSession, *, phones: Sequence[str], now: datetime
) -> None:
    """Mark the queued messages to these phone numbers as failed, except campaign messages."""
    await session.execute(CANCEL_QUEUED, {"phones": list(phones), "now": now})


# Count the attempts whose message may have been sent, and whose result is not known yet. Claimed
# attempts were withdrawn before, so they are not included.
UNDER_WAY = text("""
    SELECT count(*) FROM send_attempt a
    WHERE a.phone = ANY(CAST(:phones AS text[])) AND (a.is_open OR a.status = 'parked')
""")


async def count_open_attempts(session: AsyncSession, *, phones: Sequence[str]) -> int:
    """Count the unfinished attempts to send messages to these phone numbers.

    An attempt is unfinished until it is known whether the message was sent.
    """
    return int(await session.scalar(UNDER_WAY, {"phones": list(phones)}) or 0)


async def _store_erasure(
    uow: UnitOfWork,
    *,
    ids: list[UUID],
    terms: SearchTerms,
    reason: str,
    actor: str,
    now: datetime,
    secret: bytes,
) -> Erasure:
    erasure_id = new_id()
    erasure = Erasure(
        id=erasure_id,
        contact_id=ids[0],
        reason=reason,
        actor=actor,
        status=ErasureStatus.SWEEPING,
        sealed=seal_terms(terms, erasure_id=erasure_id, secret=secret),
        position={"people": [str(one) for one in ids]},
        next_at=now,
        created_at=now,
    )
    uow.session.add(erasure)
    await uow.session.flush()
    await note_decision(
        uow,
        actor=actor,
        action="erase_contact",
        subject=str(ids[0]),
        detail={"erasure_id": str(erasure_id)},
        now=now,
    )
    uow.after_commit(Job(name=JobName.RUN_ERASURES))
    return erasure
