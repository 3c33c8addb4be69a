"""Links the entries of the consent history into its chain, and verifies the chain."""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import UnitOfWork
from crm_api.domain.consent import chain_statements
from crm_api.domain.consent.chain import (
    START,
    chain_key,
    key_id,
    link_digest,
    wording_digest,
)

log = structlog.get_logger()

LINKED_AT_ONCE = 2_000
VERIFIED_AT_ONCE = 2_000
LINKED_WITHIN = timedelta(minutes=5)
"""The job runs every minute: an entry that is older and in no link was taken out of the chain."""
SHOWN_FINDINGS = 20
"""More of them tell nothing new."""


@dataclass(kw_only=True)
class Verification:
    """What is known of the chain up to a position.

    Attributes:
        position: The last link that was looked at.
        head: Its digest; noted elsewhere, it proves later that no entry up to it is gone.
        findings: Sentences, the first ``SHOWN_FINDINGS``; ``faults`` counts them all.
        other_keys: Links made under another secret key, which this one cannot verify.
        erased: Entries whose words are gone, as they may be.
    """

    position: int = 0
    head: bytes = START
    findings: list[str] = field(default_factory=list)
    faults: int = 0
    other_keys: int = 0
    erased: int = 0

    def add(self, finding: str) -> None:
        """Note a fault."""
        self.faults += 1
        if len(self.findings) < SHOWN_FINDINGS:
            self.findings.append(finding)


async def link_batch(uow: UnitOfWork, *, secret: bytes) -> bool:
    """Link the oldest entries that are in no link yet.

    An entry whose transaction ended late comes behind younger ones: the order is that of linking.

    Returns:
        True when more may wait; False also when somebody else is linking.
    """
    if not await chain_statements.try_lock(uow.session):
        return False
    entries = await chain_statements.unlinked(uow.session, limit=LINKED_AT_ONCE)
    if not entries:
        return False
    position, digest = await chain_statements.last_link(uow.session)
    key = chain_key(secret)
    digests = []
    for entry in entries:
        digest = link_digest(key, digest, entry)
        digests.append(digest)
    await chain_statements.add_links(
        uow.session,
        after=position,
        key_id=key_id(secret),
        entry_ids=[entry.id for entry in entries],
        digests=digests,
    )
    # Logs are kept elsewhere: there it proves that the chain was once at least so long.
    log.info("consent linked", position=position + len(entries), digest=digest.hex())
    return len(entries) == LINKED_AT_ONCE


async def verify_batch(session: AsyncSession, found: Verification, *, secret: bytes) -> bool:
    """Verify the next links; False behind the last."""
    rows = await chain_statements.links(session, after=found.position, limit=VERIFIED_AT_ONCE)
    for row in rows:
        for finding in _faults(row, found, secret):
            found.add(finding)
        found.position, found.head = row.position, row.digest
    return len(rows) == VERIFIED_AT_ONCE


async def verify_tail(session: AsyncSession, found: Verification, *, now: datetime) -> None:
    """Look for entries that should have been linked long ago: a tail that was cut off."""
    late = await chain_statements.late_entries(
        session, before=now - LINKED_WITHIN, limit=SHOWN_FINDINGS
    )
    for entry_id in late:
        found.add(f"Entry {entry_id} is in no link: the end of the chain was removed.")


def _faults(row: Row[Any], found: Verification, secret: bytes) -> Iterator[str]:
    if row.position != found.position + 1:
        yield f"Links {found.position + 1} to {row.position - 1} are missing, with their entries."
    if row.id is None:
        yield f"Entry {row.entry_id} (link {row.position}) was removed."
        return
    if row.key_id != key_id(secret):
        found.other_keys += 1
    elif not fits(row, found.head, secret):
        yield (
            f"Entry {row.entry_id} (link {row.position}) was changed, or does not follow the link "
            "before it."
        )
    if row.canonical is None:
        found.erased += 1
    elif not wording_fits(row):
        yield f"The words of entry {row.entry_id} are not those that were stored with it."


def fits(row: Row[Any], previous: bytes, secret: bytes) -> bool:
    """Say whether a link follows from the one before it and its entry."""
    entry = chain_statements.entry_of(row)
    return hmac.compare_digest(row.digest, link_digest(chain_key(secret), previous, entry))


def wording_fits(row: Row[Any]) -> bool:
    """Say whether an entry's words are those that its digest was made of."""
    if row.wording_digest is None:
        return True
    return row.salt is not None and wording_digest(row.salt, row.canonical) == row.wording_digest
