"""Erasing a person: at once what is theirs, then what still names them, bit by bit."""

from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.consent import off_limits
from crm_api.domain.contacts import service as contacts
from crm_api.domain.contacts.errors import ContactNotFoundError
from crm_api.domain.erasure import queries
from crm_api.domain.erasure import sweep_statements as sweeping
from crm_api.domain.erasure.errors import ErasureBlockedError, ErasureNotFoundError
from crm_api.domain.erasure.models import Erasure, ErasureStatus
from crm_api.domain.erasure.needles import Needles
from crm_api.domain.operations import service as operations
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.sealing import seal, unseal
from crm_api.domain.sends import service as sends
from crm_api.domain.zones import zone_key
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

LEASE = timedelta(seconds=60)
"""How long an erasure stays a worker's after its last step; then another goes on with it."""
AGAIN_AFTER = timedelta(minutes=10)
"""What is not applied or fetched yet is looked for again after this."""


async def erase(
    uow: UnitOfWork, *, contact_id: UUID, reason: str, actor: str, now: datetime, secret: bytes
) -> Erasure:
    """Remove a person and bar their number; asks for ``run_erasures``, which removes what is left.

    What was counted stays, and so does what was decided, without number and words.

    Raises:
        ContactNotFoundError: It is not there, or was erased before.
        ErasureBlockedError: A text to the person is under way; nothing was changed.
    """
    person = await queries.lock_person(uow.session, contact_id=contact_id)
    if person is None:
        raise ContactNotFoundError("No contact has this id.")
    merged = await queries.merged_into(uow.session, contact_id=person.id)
    ids = [person.id, *merged]
    former = await queries.former_numbers(uow.session, ids=ids)
    phones = sorted({person.phone, *merged.values(), *former})
    houses = await queries.houses(uow.session, contact_id=person.id)
    if person.deleted_at is None:
        await contacts.delete(uow, contact_id=person.id, now=now)
    await sends.withdraw_numbers(uow, phones=phones, now=now)
    under_way = await queries.texts_under_way(uow.session, phones=phones)
    if under_way:
        raise ErasureBlockedError(
            "A text to this person is under way, and whether it was sent is not known yet; try "
            "again in some minutes. One that waits for a person must be settled first.",
            texts=under_way,
        )
    await off_limits.note_erased(uow, phones=phones, now=now, secret=secret)
    nowhere = zone_key(timezone=None, state=None, postal_code=None, phone="")
    await queries.erase_person(uow.session, ids=ids, phones=phones, zone_key=nowhere, now=now)
    await queries.forget_numbers(uow.session, phones=phones)
    if houses:
        await queries.drop_houses(uow.session, ids=houses)
    # A name may be somebody else's too, so it is taken out of the reason alone.
    names = [person.first_name or "", person.last_name or ""]
    told = Needles.of(phones, [" ".join(names), ", ".join(reversed(names)), person.email])
    return await _note(
        uow,
        ids=ids,
        needles=Needles.of(phones, [person.email]),
        reason=told.redact(reason),
        actor=actor,
        now=now,
        secret=secret,
    )


async def _note(
    uow: UnitOfWork,
    *,
    ids: list[UUID],
    needles: Needles,
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
        sealed=seal(needles.dump(), secret=secret, about=_about(erasure_id)),
        position={"people": [str(one) for one in ids]},
        next_at=now,
        created_at=now,
    )
    uow.session.add(erasure)
    await uow.session.flush()
    await operations.audit(
        uow,
        actor=actor,
        action="erase_contact",
        subject=str(ids[0]),
        detail={"erasure_id": str(erasure_id)},
        now=now,
    )
    uow.after_commit(Job(name=JobName.RUN_ERASURES))
    return erasure


async def get(uow: UnitOfWork, *, erasure_id: UUID) -> Erasure:
    """Fetch an erasure.

    Raises:
        ErasureNotFoundError: No erasure has this id.
    """
    erasure = await queries.get(uow.session, erasure_id=erasure_id)
    if erasure is None:
        raise ErasureNotFoundError("No erasure has this id.")
    return erasure


async def list_erasures(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Erasure]:
    """List erasures, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("erasures")
    after = cursors.read(cursor)
    rows = await queries.list_erasures(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def claim(uow: UnitOfWork, *, now: datetime) -> Erasure | None:
    """Take an erasure to go on with; None when none is due."""
    return await queries.claim(uow.session, now=now, lease_until=now + LEASE)


async def clear(uow: UnitOfWork, *, erasure_id: UUID, now: datetime) -> list[str]:
    """Take out what no index leads to, and the person's files.

    Returns:
        The objects to remove from the store once this is committed.
    """
    erasure = await queries.lock(uow.session, erasure_id=erasure_id)
    if erasure is None:
        return []
    for person_id in erasure.position["people"]:
        await queries.erase_remains(uow.session, contact_id=UUID(person_id))
    freed = await queries.free_media(uow.session, contact_id=erasure.contact_id, now=now)
    wanted = {*erasure.position.get("objects", ()), *freed}
    # Somebody may have sent the same file since.
    kept = await queries.still_stored(uow.session, names=sorted(wanted))
    objects = sorted(wanted - kept)
    erasure.position = {**erasure.position, "objects": objects}
    erasure.next_at = now + LEASE
    return objects


async def note_removed(uow: UnitOfWork, *, erasure_id: UUID, now: datetime) -> None:
    """Note that the objects are gone from the store."""
    erasure = await queries.lock(uow.session, erasure_id=erasure_id)
    if erasure is not None:
        erasure.position = {**erasure.position, "objects": []}
        erasure.next_at = now + LEASE


async def sweep(uow: UnitOfWork, *, erasure_id: UUID, now: datetime, secret: bytes) -> bool:
    """Search the next bit of the tables; the erasure is completed when a whole pass finds nothing.

    Returns:
        True when there is more to search now.

    Raises:
        UnsealError: What to search for was sealed under another secret key.
    """
    erasure = await queries.lock(uow.session, erasure_id=erasure_id)
    if erasure is None or erasure.sealed is None:
        return False
    needles = Needles.load(unseal(erasure.sealed, secret=secret, about=_about(erasure_id)))
    tables = sweeping.sweeps()
    at, block = erasure.position.get("table", 0), erasure.position.get("block", 0)
    before = erasure.created_at
    if at >= len(tables):
        return await _finish(uow, erasure, needles, now=now)
    found, goes_on = await sweeping.sweep(
        uow.session, tables[at], block=block, needles=needles, before=before
    )
    erasure.position = {
        **erasure.position,
        "table": at if goes_on else at + 1,
        "block": block + sweeping.BLOCKS if goes_on else 0,
        "found": erasure.position.get("found", 0) + found,
    }
    erasure.next_at = now + LEASE
    return True


async def _finish(uow: UnitOfWork, erasure: Erasure, needles: Needles, *, now: datetime) -> bool:
    """End the pass: done, or once more, at once when something was found, later when it waits."""
    is_waiting = await sweeping.is_waited_for(
        uow.session, needles=needles, before=erasure.created_at
    ) or await queries.has_fetches(uow.session, contact_id=erasure.contact_id)
    is_waiting = is_waiting or bool(erasure.position.get("objects"))
    if not erasure.position.get("found") and not is_waiting:
        erasure.status = ErasureStatus.COMPLETED
        erasure.sealed = None
        erasure.position = {}
        erasure.finished_at = now
        return False
    was_found = bool(erasure.position.get("found"))
    kept = ("people", "objects")
    erasure.position = {name: erasure.position[name] for name in kept if name in erasure.position}
    erasure.next_at = now + (LEASE if was_found else AGAIN_AFTER)
    return was_found


def _about(erasure_id: UUID) -> str:
    return f"erasure {erasure_id}"
