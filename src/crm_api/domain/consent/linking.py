"""Link the entries of the consent history into a chain, and verify the chain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

import structlog
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.chain import (
    START,
    ChainedEntry,
    chain_key,
    is_link_digest,
    key_id,
    link_digest,
    wording_digest,
)
from crm_api.domain.consent.queries import CANONICAL_WORDING
from crm_api.platform.database import UnitOfWork, typed_rows

log = structlog.get_logger()

LINKED_AT_ONCE = 2_000
VERIFIED_AT_ONCE = 2_000
LINKED_WITHIN = timedelta(minutes=5)
"""The job runs every minute. An older entry without a link was removed from the chain."""
SHOWN_FINDINGS = 20
"""Findings that are stored as sentences; the rest is only counted."""

_ENTRY = (
    "e.id, e.phone_hash, e.contact_id, e.action, e.source, e.actor, e.activity_id, "
    "e.occurred_at, e.created_at, e.wording_digest, e.claimed_at"
)


async def link_entries(uow: UnitOfWork, *, secret: bytes) -> bool:
    """Link the oldest entries that have no link, at most ``LINKED_AT_ONCE``.

    The chain has the order of linking: an entry that is committed late comes after newer ones.

    Returns:
        True if more entries may wait; False also if another transaction is linking.
    """
    if not await try_link_lock(uow.session):
        return False
    entries = await read_unlinked(uow.session, limit=LINKED_AT_ONCE)
    if not entries:
        return False
    position, digest = await read_last_link(uow.session)
    key = chain_key(secret)
    digests = []
    for entry in entries:
        digest = link_digest(key, digest, entry)
        digests.append(digest)
    await add_links(
        uow.session,
        after=position,
        key_id=key_id(secret),
        entry_ids=[entry.id for entry in entries],
        digests=digests,
    )
    # Logs are stored elsewhere: this line proves that the chain once had at least this length.
    log.info("consent linked", position=position + len(entries), digest=digest.hex())
    return len(entries) == LINKED_AT_ONCE


_LINKING = 0x636F6E73
"""An arbitrary number for the advisory lock: one transaction at a time adds links."""

TRY_LINK_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")


async def try_link_lock(session: AsyncSession) -> bool:
    """Take the linking lock until the transaction ends; False if another transaction has it."""
    return bool(await session.scalar(TRY_LINK_LOCK, {"key": _LINKING}))


UNLINKED = text(f"""
    SELECT {_ENTRY} FROM consent_unlinked u JOIN consent_entry e ON e.id = u.entry_id
    ORDER BY u.entry_id LIMIT :limit
""")


async def read_unlinked(session: AsyncSession, *, limit: int) -> list[ChainedEntry]:
    """Fetch entries without a link, the oldest first."""
    rows = await session.execute(UNLINKED, {"limit": limit})
    return typed_rows(ChainedEntry, rows)


LAST_LINK = text("SELECT position, digest FROM consent_link ORDER BY position DESC LIMIT 1")


async def read_last_link(session: AsyncSession) -> tuple[int, bytes]:
    """Return the position and digest of the last link; ``(0, START)`` for an empty chain."""
    row = (await session.execute(LAST_LINK)).first()
    return (0, START) if row is None else (row.position, row.digest)


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


async def add_links(
    session: AsyncSession,
    *,
    after: int,
    key_id: str,
    entry_ids: Sequence[int],
    digests: Sequence[bytes],
) -> None:
    """Append links after a position, in the given order."""
    values = {
        "after": after,
        "key_id": key_id,
        "entry_ids": list(entry_ids),
        "digests": list(digests),
    }
    await session.execute(ADD_LINKS, values)


@dataclass(kw_only=True)
class ChainVerification:
    """The result of verifying the chain up to a position.

    Attributes:
        position: The last link that was verified.
        head: The digest of that link. Noted elsewhere, it proves later that no entry up to it was
            removed.
        findings: The first ``SHOWN_FINDINGS`` faults as sentences.
        faults: The number of all faults.
        other_keys: Number of links made under another secret key; they cannot be verified.
        erased: Number of entries whose words were erased, which is allowed.
    """

    position: int = 0
    head: bytes = START
    findings: list[str] = field(default_factory=list)
    faults: int = 0
    other_keys: int = 0
    erased: int = 0

    def add(self, finding: str) -> None:
        """Count a fault, and keep its sentence if there are few."""
        self.faults += 1
        if len(self.findings) < SHOWN_FINDINGS:
            self.findings.append(finding)


async def verify_links(session: AsyncSession, found: ChainVerification, *, secret: bytes) -> bool:
    """Verify the next links and add the result to ``found``; False after the last link."""
    links = await read_links(session, after=found.position, limit=VERIFIED_AT_ONCE)
    for link in links:
        for finding in _faults(link, found, secret):
            found.add(finding)
        found.position, found.head = link.position, link.digest
    return len(links) == VERIFIED_AT_ONCE


async def verify_tail(session: AsyncSession, found: ChainVerification, *, now: datetime) -> None:
    """Add a fault for each entry without a link after ``LINKED_WITHIN``: the end was cut off."""
    late = await late_entries(session, before=now - LINKED_WITHIN, limit=SHOWN_FINDINGS)
    for entry_id in late:
        found.add(f"Entry {entry_id} is in no link: the end of the chain was removed.")


LATE_ENTRIES = text("""
    SELECT e.id FROM consent_entry e
    WHERE e.created_at < :before
      AND NOT EXISTS (SELECT 1 FROM consent_link l WHERE l.entry_id = e.id)
    ORDER BY e.id LIMIT :limit
""")


async def late_entries(session: AsyncSession, *, before: datetime, limit: int) -> list[int]:
    """Fetch the ids of entries from before this instant that have no link, ascending."""
    rows = await session.scalars(LATE_ENTRIES, {"before": before, "limit": limit})
    return list(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLink:
    """A link of the chain.

    Attributes:
        entry: None if the entry was removed.
        salt: None if the words were erased, as is ``canonical``.
        canonical: The text that the digest of the words covers.
    """

    position: int
    entry_id: int
    key_id: str
    digest: bytes
    entry: ChainedEntry | None
    salt: bytes | None
    canonical: str | None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``LINKS``."""
        return cls(
            position=row["position"],
            entry_id=row["entry_id"],
            key_id=row["key_id"],
            digest=row["digest"],
            entry=None if row["id"] is None else _entry_of(row),
            salt=row["salt"],
            canonical=row["canonical"],
        )


LINKS = text(f"""
    SELECT {_ENTRY}, l.position, l.entry_id, l.key_id, l.digest, w.salt,
           CASE WHEN w.entry_id IS NOT NULL THEN {CANONICAL_WORDING} END AS canonical
    FROM consent_link l
    LEFT JOIN consent_entry e ON e.id = l.entry_id
    LEFT JOIN consent_wording w ON w.entry_id = l.entry_id
    WHERE l.position > :after ORDER BY l.position LIMIT :limit
""")


async def read_links(session: AsyncSession, *, after: int, limit: int) -> list[StoredLink]:
    """Return links after a position, in their order."""
    rows = await session.execute(LINKS, {"after": after, "limit": limit})
    return [StoredLink.of(row) for row in rows.mappings()]


def _faults(link: StoredLink, found: ChainVerification, secret: bytes) -> Iterator[str]:
    if link.position != found.position + 1:
        yield f"Links {found.position + 1} to {link.position - 1} are missing, with their entries."
    if link.entry is None:
        yield f"Entry {link.entry_id} (link {link.position}) was removed."
        return
    if link.key_id != key_id(secret):
        found.other_keys += 1
    elif not is_link_correct(link.entry, link.digest, previous=found.head, secret=secret):
        yield (
            f"Entry {link.entry_id} (link {link.position}) was changed, or does not follow the "
            "link before it."
        )
    if link.canonical is None:
        found.erased += 1
    elif not is_wording_correct(link.entry, salt=link.salt, canonical=link.canonical):
        yield f"The words of entry {link.entry_id} are not those that were stored with it."


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberEntry:
    """An entry about a number, with its words and its link.

    Attributes:
        position: None until the entry is linked, as are ``key_id`` and ``digest``.
        previous: The digest of the link before; None for the first link.
        canonical: The text that the digest of the words covers; None if the words were erased, as
            are the other words.
    """

    entry: ChainedEntry
    position: int | None
    key_id: str | None
    digest: bytes | None
    previous: bytes | None
    salt: bytes | None
    reason: str | None
    note: str | None
    text_shown: str | None
    evidence: dict[str, Any] | None
    canonical: str | None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``ENTRIES_OF_NUMBER``."""
        return cls(
            entry=_entry_of(row),
            position=row["position"],
            key_id=row["key_id"],
            digest=row["digest"],
            previous=row["previous"],
            salt=row["salt"],
            reason=row["reason"],
            note=row["note"],
            text_shown=row["text_shown"],
            evidence=row["evidence"],
            canonical=row["canonical"],
        )


ENTRIES_OF_NUMBER = text(f"""
    SELECT {_ENTRY}, l.position, l.key_id, l.digest, before.digest AS previous,
           w.salt, w.reason, w.note, w.text_shown, w.evidence,
           CASE WHEN w.entry_id IS NOT NULL THEN {CANONICAL_WORDING} END AS canonical
    FROM consent_entry e
    LEFT JOIN consent_link l ON l.entry_id = e.id
    LEFT JOIN consent_link before ON before.position = l.position - 1
    LEFT JOIN consent_wording w ON w.entry_id = e.id
    WHERE e.phone_hash = :phone_hash ORDER BY e.id
""")


async def read_entries_of_number(session: AsyncSession, *, phone_hash: bytes) -> list[NumberEntry]:
    """Return a number's entries, oldest first."""
    rows = await session.execute(ENTRIES_OF_NUMBER, {"phone_hash": phone_hash})
    return [NumberEntry.of(row) for row in rows.mappings()]


def is_link_correct(entry: ChainedEntry, digest: bytes, *, previous: bytes, secret: bytes) -> bool:
    """Return whether a link follows from the previous digest and its entry."""
    return is_link_digest(digest, chain_key(secret), previous, entry)


def is_wording_correct(entry: ChainedEntry, *, salt: bytes | None, canonical: str) -> bool:
    """Return whether an entry's words match its digest; True for an entry without a digest."""
    if entry.wording_digest is None:
        return True
    return salt is not None and wording_digest(salt, canonical) == entry.wording_digest


def _entry_of(row: RowMapping) -> ChainedEntry:
    return ChainedEntry(**{name: row[name] for name in ChainedEntry._fields})
