"""SQL of the chain over the consent history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.chain import START, ChainedEntry
from crm_api.domain.consent.queries import CANONICAL_WORDING

_ENTRY = (
    "e.id, e.phone_hash, e.contact_id, e.action, e.source, e.actor, e.activity_id, "
    "e.occurred_at, e.created_at, e.wording_digest"
)
_LINKING = 0x636F6E73
"""An arbitrary number of this program's: one transaction at a time makes links."""

TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
LAST_LINK = text("SELECT position, digest FROM consent_link ORDER BY position DESC LIMIT 1")
UNLINKED = text(f"""
    SELECT {_ENTRY} FROM consent_unlinked u JOIN consent_entry e ON e.id = u.entry_id
    ORDER BY u.entry_id LIMIT :limit
""")
ADD_LINKS = text("""
    WITH link AS (
        INSERT INTO consent_link (position, entry_id, key_id, digest)
        SELECT :after + n, entry_id, :key_id, digest
        FROM unnest(CAST(:entry_ids AS bigint[]), CAST(:digests AS bytea[]))
             WITH ORDINALITY AS one (entry_id, digest, n)
        RETURNING entry_id
    )
    DELETE FROM consent_unlinked u USING link WHERE u.entry_id = link.entry_id
""")
LINKS = text(f"""
    SELECT {_ENTRY}, l.position, l.entry_id, l.key_id, l.digest, w.salt,
           CASE WHEN w.entry_id IS NOT NULL THEN {CANONICAL_WORDING} END AS canonical
    FROM consent_link l
    LEFT JOIN consent_entry e ON e.id = l.entry_id
    LEFT JOIN consent_wording w ON w.entry_id = l.entry_id
    WHERE l.position > :after ORDER BY l.position LIMIT :limit
""")
LINKS_OF_NUMBER = text(f"""
    SELECT {_ENTRY}, l.position, l.key_id, l.digest, before.digest AS previous,
           w.salt, w.reason, w.note, w.text_shown, w.evidence,
           CASE WHEN w.entry_id IS NOT NULL THEN {CANONICAL_WORDING} END AS canonical
    FROM consent_entry e
    LEFT JOIN consent_link l ON l.entry_id = e.id
    LEFT JOIN consent_link before ON before.position = l.position - 1
    LEFT JOIN consent_wording w ON w.entry_id = e.id
    WHERE e.phone_hash = :phone_hash ORDER BY e.id
""")
LATE_ENTRIES = text("""
    SELECT e.id FROM consent_entry e
    WHERE e.created_at < :before
      AND NOT EXISTS (SELECT 1 FROM consent_link l WHERE l.entry_id = e.id)
    ORDER BY e.id LIMIT :limit
""")


def entry_of(row: Row[Any]) -> ChainedEntry:
    """Read the entry with which the rows of these statements begin."""
    return ChainedEntry._make(row[: len(ChainedEntry._fields)])


async def try_lock(session: AsyncSession) -> bool:
    """Become the one who makes links until the transaction ends; False when somebody is."""
    return bool(await session.scalar(TRY_LOCK, {"key": _LINKING}))


async def last_link(session: AsyncSession) -> tuple[int, bytes]:
    """Fetch where the chain ends: position and digest."""
    row = (await session.execute(LAST_LINK)).first()
    return (0, START) if row is None else (row.position, row.digest)


async def unlinked(session: AsyncSession, *, limit: int) -> list[ChainedEntry]:
    """Fetch entries that are in no link, the oldest first."""
    rows = await session.execute(UNLINKED, {"limit": limit})
    return [ChainedEntry(*row) for row in rows]


async def add_links(
    session: AsyncSession,
    *,
    after: int,
    key_id: str,
    entry_ids: Sequence[int],
    digests: Sequence[bytes],
) -> None:
    """Append links behind a position, in the order given."""
    values = {
        "after": after,
        "key_id": key_id,
        "entry_ids": list(entry_ids),
        "digests": list(digests),
    }
    await session.execute(ADD_LINKS, values)


async def links(session: AsyncSession, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """Fetch links behind a position, each with its entry and words; None where there are none."""
    return (await session.execute(LINKS, {"after": after, "limit": limit})).all()


async def links_of_number(session: AsyncSession, *, phone_hash: bytes) -> Sequence[Row[Any]]:
    """Fetch a number's entries, oldest first, each with its link, the link before and its words."""
    return (await session.execute(LINKS_OF_NUMBER, {"phone_hash": phone_hash})).all()


async def late_entries(session: AsyncSession, *, before: datetime, limit: int) -> list[int]:
    """Fetch the ids of entries older than this that are in no link."""
    rows = await session.scalars(LATE_ENTRIES, {"before": before, "limit": limit})
    return list(rows)
