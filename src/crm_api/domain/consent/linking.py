"""Add the entries of the consent history to its hash chain, and verify the chain."""

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
"""How long an entry may have no link in the hash chain. A worker links new entries every minute. If
an older entry has no link, the end of the chain was removed."""
SHOWN_FINDINGS = 20
"""The maximum number of faults that a report describes. Further faults are only counted."""

_ENTRY = (
    "e.id, e.phone_hash, e.contact_id, e.action, e.source, e.actor, e.activity_id, "
    "e.occurred_at, e.created_at, e.wording_digest, e.claimed_at"
)


async def link_entries(uow: UnitOfWork, *, secret: bytes) -> bool:
    """Add entries of the consent history to the end of the hash chain, the oldest first.

    One run adds at most ``LINKED_AT_ONCE`` entries. An entry whose transaction commits late is
    linked after entries with higher ids.

    Returns:
        True if more entries may wait for a link. False if no entry waits, or if another transaction
        is adding links.
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
    # Logs are stored outside of the database. So this log line can later prove that the chain had
    # at least this length.
    log.info(
        "consent entries added to the hash chain",
        position=position + len(entries),
        digest=digest.hex(),
    )
    return len(entries) == LINKED_AT_ONCE


_LINKING = 0x636F6E73
"""The key of the advisory lock that lets only one transaction at a time add links. The number has
no meaning."""

TRY_LINK_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")


async def try_link_lock(session: AsyncSession) -> bool:
    """Take the lock that is necessary to add entries to the hash chain of the consent history.

    The lock ends with the transaction.

    Returns:
        False if another transaction has the lock.
    """
    return bool(await session.scalar(TRY_LINK_LOCK, {"key": _LINKING}))


UNLINKED = text(f"""
    SELECT {_ENTRY} FROM consent_unlinked u JOIN consent_entry e ON e.id = u.entry_id
    ORDER BY u.entry_id LIMIT :limit
""")


async def read_unlinked(session: AsyncSession, *, limit: int) -> list[ChainedEntry]:
    """Return up to ``limit`` consent entries that are not in the hash chain yet, ordered by id."""
    rows = await session.execute(UNLINKED, {"limit": limit})
    return typed_rows(ChainedEntry, rows)


LAST_LINK = text("SELECT position, digest FROM consent_link ORDER BY position DESC LIMIT 1")


async def read_last_link(session: AsyncSession) -> tuple[int, bytes]:
    """Return the position and the digest of the last link; ``(0, START)`` if the chain is empty."""
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
    """Add links to the end of the chain, in the given order.

    Args:
        after: The position of the last link.
        key_id: The public id of the key of the digests.
        entry_ids: The ids of the entries. Each entry gets one link.
        digests: The digests of the new links, in the order of ``entry_ids``.
    """
    values = {
        "after": after,
        "key_id": key_id,
        "entry_ids": list(entry_ids),
        "digests": list(digests),
    }
    await session.execute(ADD_LINKS, values)


@dataclass(kw_only=True)
class ChainVerification:
    """The result of verifying the hash chain of consent entries, from its start to a position.

    Attributes:
        position: The position of the last verified link.
        head: The digest of the last verified link. A copy of this digest outside of the database
            can later prove that no entry up to this link was removed.
        findings: One sentence for each fault, but at most ``SHOWN_FINDINGS`` sentences.
        faults: The number of all faults, including those without a sentence.
        other_keys: The number of links that cannot be verified, because their digests were computed
            with another secret key.
        erased: The number of entries whose personal data were erased. This is not a fault.
    """

    position: int = 0
    head: bytes = START
    findings: list[str] = field(default_factory=list)
    faults: int = 0
    other_keys: int = 0
    erased: int = 0

    def add(self, finding: str) -> None:
        """Record a fault of the chain, with the sentence ``finding`` about the fault.

        All faults are counted. Only the first ``SHOWN_FINDINGS`` sentences are kept.
        """
        self.faults += 1
        if len(self.findings) < SHOWN_FINDINGS:
            self.findings.append(finding)


async def verify_links(session: AsyncSession, found: ChainVerification, *, secret: bytes) -> bool:
    """Verify the next links of the hash chain of consent entries, at most ``VERIFIED_AT_ONCE``.

    Args:
        found: The result so far. The function begins after ``found.position``, and adds its result
            to ``found``.

    Returns:
        False if the end of the chain was reached; True if there may be more links.
    """
    links = await read_links(session, after=found.position, limit=VERIFIED_AT_ONCE)
    for link in links:
        for finding in _faults(link, found, secret):
            found.add(finding)
        found.position, found.head = link.position, link.digest
    return len(links) == VERIFIED_AT_ONCE


async def verify_tail(session: AsyncSession, found: ChainVerification, *, now: datetime) -> None:
    """Report consent entries that have no link in the hash chain.

    Entries younger than ``LINKED_WITHIN`` (5 minutes) are not reported. An older entry without a
    link is reported as a sign that the end of the chain was removed.

    Args:
        found: The result so far. The function adds at most ``SHOWN_FINDINGS`` faults to it.
    """
    late = await late_entries(session, before=now - LINKED_WITHIN, limit=SHOWN_FINDINGS)
    for entry_id in late:
        found.add(f"Entry {entry_id} has no link, so the end of the chain was removed.")


LATE_ENTRIES = text("""
    SELECT e.id FROM consent_entry e
    WHERE e.created_at < :before
      AND NOT EXISTS (SELECT 1 FROM consent_link l WHERE l.entry_id = e.id)
    ORDER BY e.id LIMIT :limit
""")


async def late_entries(session: AsyncSession, *, before: datetime, limit: int) -> list[int]:
    """Return the ids of consent entries that were not added to the hash chain in time.

    These entries are older than ``before``. At most ``limit`` ids are returned, the lowest first.
    """
    rows = await session.scalars(LATE_ENTRIES, {"before": before, "limit": limit})
    return list(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLink:
    """One link of the hash chain over the consent history, with the entry that it protects.

    Attributes:
        entry: The consent entry; None if the entry was removed from the database.
        salt: The salt for the hash of the personal data; None if these data were erased.
        canonical: The personal data as one text, from which the hash is computed; None if erased.
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
        """Build a link of the hash chain from a row that the query ``LINKS`` returns."""
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
    """Return up to ``limit`` links of the consent hash chain, in the order of the chain.

    Args:
        after: Only links after this position are returned.
        limit: The maximum number of links.
    """
    rows = await session.execute(LINKS, {"after": after, "limit": limit})
    return [StoredLink.of(row) for row in rows.mappings()]


def _faults(link: StoredLink, found: ChainVerification, secret: bytes) -> Iterator[str]:
    if link.position != found.position + 1:
        yield f"Links {found.position + 1} to {link.position - 1} and their entries were removed."
    if link.entry is None:
        yield f"Entry {link.entry_id} (link {link.position}) was removed."
        return
    if link.key_id != key_id(secret):
        found.other_keys += 1
    elif not is_link_correct(link.entry, link.digest, previous=found.head, secret=secret):
        yield (
            f"Entry {link.entry_id} (link {link.position}) was changed, or its link does not "
            "follow the previous link."
        )
    if link.canonical is None:
        found.erased += 1
    elif not is_wording_correct(link.entry, salt=link.salt, canonical=link.canonical):
        yield f"The words of entry {link.entry_id} were changed after it was stored."


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberEntry:
    """A consent entry about a phone number, with its texts and its position in the hash chain.

    ``position``, ``key_id`` and ``digest`` are None until the entry is in the chain. ``reason``,
    ``note``, ``text_shown``, ``evidence``, ``salt`` and ``canonical`` are None after an erasure.

    Attributes:
        previous: The digest of the previous entry in the chain; None if there is no such entry.
        salt: The random bytes that are hashed together with ``canonical``.
        canonical: All personal data of the entry as one text. ``entry`` contains the hash of this
            text.
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
        """Build a consent entry from a row that the query ``ENTRIES_OF_NUMBER`` returns."""
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
    """Return all consent entries about a phone number, oldest first."""
    rows = await session.execute(ENTRIES_OF_NUMBER, {"phone_hash": phone_hash})
    return [NumberEntry.of(row) for row in rows.mappings()]


def is_link_correct(entry: ChainedEntry, digest: bytes, *, previous: bytes, secret: bytes) -> bool:
    """Return whether the stored digest of a consent entry is correct.

    Args:
        previous: The digest of the previous entry in the chain.
        secret: The service's secret key, from which the key of the digests is derived.
    """
    return is_link_digest(digest, chain_key(secret), previous, entry)


def is_wording_correct(entry: ChainedEntry, *, salt: bytes | None, canonical: str) -> bool:
    """Return True if the personal data of a consent entry are the same as when they were stored.

    If the entry has no digest of its personal data, the result is True.

    Args:
        salt: The salt of the digest. If the entry has a digest and ``salt`` is None, the result is
            False.
        canonical: The present personal data as one text.
    """
    if entry.wording_digest is None:
        return True
    return salt is not None and wording_digest(salt, canonical) == entry.wording_digest


def _entry_of(row: RowMapping) -> ChainedEntry:
    return ChainedEntry(**{name: row[name] for name in ChainedEntry._fields})
