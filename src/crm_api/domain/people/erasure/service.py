"""Erase a person: a request erases the person's rows, then a job searches all tables."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.kit.zones import zone_key
from crm_api.domain.messaging.consent_decisions import erased_numbers, suppression
from crm_api.domain.messaging.consent_decisions import service as consent
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.contacts.errors import ContactNotFoundError
from crm_api.domain.people.erasure import queries, sweep
from crm_api.domain.people.erasure.errors import ErasureBlockedError, ErasureNotFoundError
from crm_api.domain.people.erasure.search_terms import SearchTerms
from crm_api.domain.people.models.erasure import Erasure, ErasureStatus
from crm_api.platform.database import UnitOfWork
from crm_api.platform.encryption import seal, unseal
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import Job, JobName

LEASE = timedelta(seconds=60)
"""How long after its last step a worker has an erasure; then another worker may claim it."""
AGAIN_AFTER = timedelta(minutes=10)
"""Time until the next pass, if events must be applied or files must be fetched before it."""


async def erase_contact(
    uow: UnitOfWork, *, contact_id: UUID, reason: str, actor: str, now: datetime, secret: bytes
) -> Erasure:
    """Erase a person and block their numbers; request the job ``run_erasures`` for other data.

    Counts and consent decisions stay, without the numbers and the message texts. If a number was
    opted out or on hold, it gets the same flag when it is added again.

    Raises:
        ContactNotFoundError: The contact does not exist or was erased before.
        ErasureBlockedError: It is not known yet whether a message was sent. Nothing was changed.
    """
    found = await _lock_person(uow, contact_id=contact_id)
    person, ids, phones = found.row, found.ids, found.phones
    properties = await queries.fetch_property_ids(uow.session, contact_id=person.id)
    if person.deleted_at is None:
        await contacts.delete_contact(uow, contact_id=person.id, now=now)
    await queries.cancel_queued_messages(uow.session, phones=phones, now=now)
    # Setting the flag withdraws all claimed messages. The flag is deleted below, with the numbers.
    await suppression.suppress_numbers(
        uow, phones=phones, reason=suppression.ERASED_REASON, now=now
    )
    under_way = await queries.count_open_attempts(uow.session, phones=phones)
    if under_way:
        raise ErasureBlockedError(
            "It is not known yet whether a message to this person was sent. Try again in some "
            "minutes. If the message waits for a decision, settle it first.",
            texts=under_way,
        )
    await erased_numbers.keep_consent_state(
        uow, phones=phones, contact_id=ids[0], actor=actor, now=now, secret=secret
    )
    await suppression.erase_consent_of(uow, phones=phones, now=now, secret=secret)
    nowhere = zone_key(timezone=None, state=None, postal_code=None, phone="")
    await queries.erase_person(uow.session, ids=ids, phones=phones, zone_key=nowhere, now=now)
    await queries.delete_number_rows(uow.session, phones=phones)
    if properties:
        await queries.drop_unused_properties(uow.session, ids=properties)
    # Names are removed only from the reason, because other people may have the same name.
    names = [person.first_name or "", person.last_name or ""]
    of_reason = SearchTerms.of(phones, [" ".join(names), ", ".join(reversed(names)), person.email])
    return await _note(
        uow,
        ids=ids,
        terms=SearchTerms.of(phones, [person.email]),
        reason=of_reason.redact(reason),
        actor=actor,
        now=now,
        secret=secret,
    )


@dataclass(frozen=True, kw_only=True)
class _Person:
    """A contact, and all ids and numbers of the person; the contact's own id is the first."""

    row: queries.ErasedPerson
    ids: list[UUID]
    phones: list[str]


async def _find_person(uow: UnitOfWork, *, contact_id: UUID) -> _Person:
    row = await queries.find_person(uow.session, contact_id=contact_id)
    if row is None:
        raise ContactNotFoundError("No contact has this id.")
    merged = await queries.fetch_merged(uow.session, contact_id=row.id)
    ids = [row.id, *merged]
    former = await queries.fetch_former_numbers(uow.session, ids=ids)
    return _Person(row=row, ids=ids, phones=sorted({row.phone, *merged.values(), *former}))


async def _lock_person(uow: UnitOfWork, *, contact_id: UUID) -> _Person:
    """Find a person, lock their contacts by number, then take the consent locks of the numbers.

    Repeat this if the ids or numbers changed before they were locked.

    Raises:
        ContactNotFoundError: The contact does not exist or was erased before.
    """
    while True:
        found = await _find_person(uow, contact_id=contact_id)
        async with uow.session.begin_nested() as attempt:
            await queries.lock_person_rows(
                uow.session, contact_id=found.row.id, phones=found.phones
            )
            await consent.lock_decisions(uow, phones=found.phones)
            locked = await _find_person(uow, contact_id=contact_id)
            if (locked.ids, locked.phones) == (found.ids, found.phones):
                return locked
            # Release all locks, because the next attempt must take them in order again.
            await attempt.rollback()


async def _note(
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
        sealed=seal(terms.dump(), secret=secret, about=_about(erasure_id)),
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


async def get_erasure(uow: UnitOfWork, *, erasure_id: UUID) -> Erasure:
    """Return an erasure.

    Raises:
        ErasureNotFoundError: No erasure has this id.
    """
    erasure = await queries.find_erasure(uow.session, erasure_id=erasure_id)
    if erasure is None:
        raise ErasureNotFoundError("No erasure has this id.")
    return erasure


async def list_erasures(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Erasure]:
    """List erasures, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("erasures")
    after = cursors.read(cursor)
    rows = await queries.fetch_erasures(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def claim_erasure(uow: UnitOfWork, *, now: datetime) -> Erasure | None:
    """Claim the erasure that is due longest; None if none is due."""
    return await queries.claim_due_erasure(uow.session, now=now, lease_until=now + LEASE)


async def clear_remains(uow: UnitOfWork, *, erasure_id: UUID, now: datetime) -> list[str]:
    """Remove data that no index finds, and the person's files from the database.

    Returns:
        The names of the files that the caller must remove from the media store after the commit.
    """
    erasure = await queries.lock_erasure(uow.session, erasure_id=erasure_id)
    if erasure is None:
        return []
    for person_id in erasure.position["people"]:
        await queries.erase_remains(uow.session, contact_id=UUID(person_id))
    freed = await queries.release_media(uow.session, contact_id=erasure.contact_id, now=now)
    wanted = {*erasure.position.get("objects", ()), *freed}
    # Another message may have got the same file since.
    in_use = await queries.find_stored_objects(uow.session, names=sorted(wanted))
    objects = sorted(wanted - in_use)
    erasure.position = {**erasure.position, "objects": objects}
    erasure.next_at = now + LEASE
    return objects


async def record_removed_objects(uow: UnitOfWork, *, erasure_id: UUID, now: datetime) -> None:
    """Record that the files of an erasure were removed from the media store."""
    erasure = await queries.lock_erasure(uow.session, erasure_id=erasure_id)
    if erasure is not None:
        erasure.position = {**erasure.position, "objects": []}
        erasure.next_at = now + LEASE


async def continue_sweep(
    uow: UnitOfWork, *, erasure_id: UUID, now: datetime, secret: bytes
) -> bool:
    """Search the next part of the tables; complete the erasure after a pass that found nothing.

    Returns:
        True if the caller should continue now.

    Raises:
        UnsealError: The search terms were encrypted with another secret key.
    """
    erasure = await queries.lock_erasure(uow.session, erasure_id=erasure_id)
    if erasure is None or erasure.sealed is None:
        return False
    terms = SearchTerms.load(unseal(erasure.sealed, secret=secret, about=_about(erasure_id)))
    tables = sweep.table_searches()
    at, block = erasure.position.get("table", 0), erasure.position.get("block", 0)
    before = erasure.created_at
    if at >= len(tables):
        return await _finish(uow, erasure, terms, now=now, secret=secret)
    found, has_more = await sweep.search_pages(
        uow.session, tables[at], block=block, terms=terms, before=before
    )
    erasure.position = {
        **erasure.position,
        "table": at if has_more else at + 1,
        "block": block + sweep.BLOCKS if has_more else 0,
        "found": erasure.position.get("found", 0) + found,
    }
    erasure.next_at = now + LEASE
    return True


async def _finish(
    uow: UnitOfWork, erasure: Erasure, terms: SearchTerms, *, now: datetime, secret: bytes
) -> bool:
    """End a pass over all tables: complete the erasure, or plan another pass.

    The next pass begins at once if this one found data. It begins later if received events were not
    applied yet or files were not fetched yet. A number that was added again during the erasure is
    flagged now.

    Returns:
        True if another pass begins at once.
    """
    again = await queries.find_contact_numbers(uow.session, phones=terms.phones)
    await suppression.suppress_erased(uow, phones=again, now=now, secret=secret)
    is_waiting = await sweep.has_waiting_events(
        uow.session, terms=terms, before=erasure.created_at
    ) or await queries.has_fetches(uow.session, contact_id=erasure.contact_id)
    is_waiting = is_waiting or bool(erasure.position.get("objects"))
    if not erasure.position.get("found") and not is_waiting:
        erasure.status = ErasureStatus.COMPLETED
        erasure.sealed = None
        erasure.position = {}
        erasure.finished_at = now
        return False
    was_found = bool(erasure.position.get("found"))
    copied = ("people", "objects")
    erasure.position = {name: erasure.position[name] for name in copied if name in erasure.position}
    erasure.next_at = now + (LEASE if was_found else AGAIN_AFTER)
    return was_found


def _about(erasure_id: UUID) -> str:
    return f"erasure {erasure_id}"
