"""Continue an erasure in a job: remove files, and search all tables for data about the person."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.consent_decisions import erased_numbers
from crm_api.domain.people.erasure import sweep
from crm_api.domain.people.erasure.search_terms import SearchTerms, unseal_terms
from crm_api.domain.people.models.erasure import Erasure, ErasureStatus
from crm_api.platform.database import UnitOfWork

LEASE = timedelta(seconds=60)
"""If a worker writes no progress for this time, another worker may claim the erasure."""
AGAIN_AFTER = timedelta(minutes=10)
"""The pause before the tables are searched again, if received events or files must be processed
first."""


async def claim_erasure(session: AsyncSession, *, now: datetime) -> Erasure | None:
    """Claim (reserve) the erasure that has been due for the longest time.

    Return None if no erasure is due.
    """
    due = (
        select(Erasure.id)
        .where(Erasure.status == ErasureStatus.SWEEPING, Erasure.next_at <= now)
        .order_by(Erasure.next_at, Erasure.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(Erasure)
        .where(Erasure.id == due)
        .values(next_at=now + LEASE)
        .returning(Erasure)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def lock_erasure(session: AsyncSession, *, erasure_id: UUID) -> Erasure | None:
    """Lock an erasure until the transaction ends; return it, or None if it is completed."""
    statement = select(Erasure).where(
        Erasure.id == erasure_id, Erasure.status == ErasureStatus.SWEEPING
    )
    locked = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(locked)


async def clear_remains(uow: UnitOfWork, *, erasure_id: UUID, now: datetime) -> list[str]:
    """Remove data about the person that is still stored after ``erase_contact``.

    The function removes old values from imports, old phone numbers from campaign recipients, and
    the database rows of the person's files.

    Returns:
        The names of the files that the caller must remove from the media store after the commit.
    """
    erasure = await lock_erasure(uow.session, erasure_id=erasure_id)
    if erasure is None:
        return []
    for person_id in erasure.position["people"]:
        await erase_remains(uow.session, contact_id=UUID(person_id))
    freed = await release_media(uow.session, contact_id=erasure.contact_id, now=now)
    wanted = {*erasure.position.get("objects", ()), *freed}
    # In the meantime, another message may have got the same file. Such a file is not removed.
    in_use = await find_stored_objects(uow.session, names=sorted(wanted))
    objects = sorted(wanted - in_use)
    erasure.position = {**erasure.position, "objects": objects}
    erasure.next_at = now + LEASE
    return objects


# No index helps to find the rows that these statements change. So a background job runs the
# statements, not the request.
ERASE_CHANGES = text("""
    UPDATE contact_import_chunk k
    SET changes[array_position(k.changed_ids, CAST(:contact_id AS uuid))] = '{}'
    WHERE k.changed_ids @> ARRAY[CAST(:contact_id AS uuid)]
""")


FORMER_MEMBERSHIPS = text("""
    UPDATE campaign_membership m SET phone = 'erased:' || m.contact_id
    WHERE m.contact_id = :contact_id AND m.phone NOT LIKE 'erased:%'
""")


async def erase_remains(session: AsyncSession, *, contact_id: UUID) -> None:
    """Remove a contact's old values from imports, and old phone numbers from campaign recipients.

    An import stores the old values of the contacts that it changes, so that the import can be
    undone. The search for the old values and numbers is slow, because no index helps to find them.
    """
    await session.execute(ERASE_CHANGES, {"contact_id": contact_id})
    await session.execute(FORMER_MEMBERSHIPS, {"contact_id": contact_id})


# Delete the rows that record the download of files from the contact's messages. A row is not
# deleted if a worker downloads its file at the moment.
FREE_MEDIA = text("""
    WITH gone AS (
        DELETE FROM media_fetch f USING activity a
        WHERE a.contact_id = :contact_id AND f.activity_id = a.id
          AND NOT (f.status IN ('pending', 'failed') AND f.attempts > 0
                   AND f.next_attempt_at > CAST(:now AS timestamptz)
                   AND f.updated_at > CAST(:now AS timestamptz) - interval '5 minutes')
        RETURNING f.id, f.media_id
    )
    SELECT DISTINCT g.media_id FROM gone g WHERE g.media_id IS NOT NULL
""")


DROP_MEDIA = text("""
    DELETE FROM media m
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM media_fetch f WHERE f.media_id = m.id)
    RETURNING m.sha256
""")


async def release_media(session: AsyncSession, *, contact_id: UUID, now: datetime) -> list[str]:
    """Delete the database rows about the files (such as pictures) in a contact's messages.

    The rows about a file are not deleted if a worker is fetching the file now.

    Returns:
        The names (in the media store) of the files that no other message uses.
    """
    ids = list(await session.scalars(FREE_MEDIA, {"contact_id": contact_id, "now": now}))
    return list(await session.scalars(DROP_MEDIA, {"ids": ids})) if ids else []


STILL_STORED = text("SELECT m.sha256 FROM media m WHERE m.sha256 = ANY(CAST(:names AS text[]))")


async def find_stored_objects(session: AsyncSession, *, names: Sequence[str]) -> set[str]:
    """Return the given file names that are still in the table ``media``.

    The files with these names must stay in the media store, because a message still uses them.
    """
    return set(await session.scalars(STILL_STORED, {"names": list(names)}))


async def record_removed_objects(uow: UnitOfWork, *, erasure_id: UUID, now: datetime) -> None:
    """Record that the files of an erasure were removed from the media store."""
    erasure = await lock_erasure(uow.session, erasure_id=erasure_id)
    if erasure is not None:
        erasure.position = {**erasure.position, "objects": []}
        erasure.next_at = now + LEASE


async def continue_sweep(
    uow: UnitOfWork, *, erasure_id: UUID, now: datetime, secret: bytes
) -> bool:
    """Search the next part of the tables for data about the person, and replace the data found.

    After the last part, the erasure is completed, or another search is planned (``_finish``).

    Returns:
        True if the caller should call this function again now.

    Raises:
        UnsealError: The search terms were encrypted with another secret key.
    """
    erasure = await lock_erasure(uow.session, erasure_id=erasure_id)
    if erasure is None or erasure.sealed is None:
        return False
    terms = unseal_terms(erasure.sealed, erasure_id=erasure_id, secret=secret)
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
    """End a search of all tables: complete the erasure, or plan another search.

    If a contact now has a number of the person, the number is blocked again. Then there are three
    cases:

    - If the search found data, another search begins immediately.
    - If it found no data, but the person has unprocessed provider events, or files that must be
      fetched or removed, another search begins later.
    - In all other cases, the erasure is complete.

    Returns:
        True if another search begins immediately.
    """
    again = await find_contact_numbers(uow.session, phones=terms.phones)
    await erased_numbers.suppress_erased(uow, phones=again, now=now, secret=secret)
    is_waiting = await sweep.has_waiting_events(
        uow.session, terms=terms, before=erasure.created_at
    ) or await has_fetches(uow.session, contact_id=erasure.contact_id)
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


NUMBERS_OF_CONTACTS = text(
    "SELECT c.phone FROM contact c WHERE c.phone = ANY(CAST(:phones AS text[])) ORDER BY c.phone"
)


async def find_contact_numbers(session: AsyncSession, *, phones: Sequence[str]) -> list[str]:
    """Return which of the given phone numbers belong to a contact, in ascending order."""
    return list(await session.scalars(NUMBERS_OF_CONTACTS, {"phones": list(phones)}))


FETCHES_LEFT = text("""
    SELECT EXISTS (
        SELECT 1 FROM media_fetch f JOIN activity a ON a.id = f.activity_id
        WHERE a.contact_id = :contact_id)
""")


async def has_fetches(session: AsyncSession, *, contact_id: UUID) -> bool:
    """Return True if files of a contact's messages still have rows in ``media_fetch``.

    Each row is the download of one file. The erasure is not completed while these rows exist.
    """
    return bool(await session.scalar(FETCHES_LEFT, {"contact_id": contact_id}))
