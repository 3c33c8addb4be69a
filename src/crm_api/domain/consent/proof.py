"""The proof for one number: every decision with its words, its message and its place in the chain.

One document that can be kept, printed and checked by somebody else.
"""

import csv
import io
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.consent import chain_statements, proof_statements
from crm_api.domain.consent.chain import START, key_id
from crm_api.domain.consent.hashing import hash_phone
from crm_api.domain.consent.linking import fits, wording_fits
from crm_api.domain.schemas import Id, Instant, ReadModel, format_instant
from crm_api.domain.transfer.values import csv_safe

HOW_TO_CHECK = (
    "wording.digest = SHA-256(salt || canonical in UTF-8). link.digest = HMAC-SHA256(key, "
    "previous_digest || entry), the entry written as docs/consent.md says, the key derived from "
    "the service's secret key. `crm-api doctor` verifies the whole chain."
)
CSV_COLUMNS = (
    *("entry_id", "occurred_at", "stored_at", "action", "source", "actor", "reason", "note"),
    *("text_shown", "evidence", "message", "wording_digest", "position", "link_digest", "verified"),
)


class ProvenMessage(ReadModel):
    """The message that an entry refers to; ``body`` is null once it was erased."""

    id: Id
    direction: str | None
    origin: str
    body: str | None
    status: str
    line: str | None
    provider_message_id: str | None
    occurred_at: Instant


class ProvenWording(ReadModel):
    """The words of an entry, and what their digest is made of.

    Attributes:
        digest: As the entry holds it; null for entries from before there were digests.
        salt: In hexadecimal; it and what follows is null once the words were erased.
        canonical: The text under the digest.
        fits: Whether the digest is that of these words; null when they are gone.
    """

    digest: str | None
    salt: str | None
    canonical: str | None
    fits: bool | None


class ProvenLink(ReadModel):
    """An entry's place in the chain.

    Attributes:
        fits: Whether the digest follows from the entry and the link before; null when it was made
            under another secret key, so that this service cannot tell.
    """

    position: int
    digest: str
    previous_digest: str
    key_id: str
    fits: bool | None


class ProvenEntry(ReadModel):
    """One decision.

    Attributes:
        link: Null while the entry waits for its place in the chain, about a second.
        is_erased: The words are gone; that something was decided, how and when, is not.
    """

    id: str
    action: str
    source: str
    actor: str
    contact_id: Id | None
    reason: str | None
    note: str | None
    text_shown: str | None
    evidence: dict[str, Any]
    message: ProvenMessage | None
    occurred_at: Instant
    stored_at: Instant
    is_erased: bool
    wording: ProvenWording
    link: ProvenLink | None


class ProvenFlag(ReadModel):
    """A flag on the number; one whose ``expires_at`` is past stands no more."""

    flag: str
    reason: str | None
    since: Instant
    expires_at: Instant | None


class ProvenTexts(ReadModel):
    """The texts of this service to the number that the provider accepted."""

    accepted: int
    first_at: Instant | None
    last_at: Instant | None


class ChainEnd(ReadModel):
    """Where the whole chain ends now; ``position`` counts all entries of all numbers."""

    position: int
    digest: str


class Verdict(ReadModel):
    """What the verification of this number's entries says.

    Attributes:
        result: ``ok``, ``broken``, or ``incomplete``: some cannot be told (yet).
    """

    result: str
    findings: list[str]


class ConsentProof(ReadModel):
    """All that is known of the consent of one number."""

    phone: str
    phone_hash: str
    contact_id: Id | None
    erased_at: Instant | None
    generated_at: Instant
    flags: list[ProvenFlag]
    entries: list[ProvenEntry]
    texts: ProvenTexts
    verification: Verdict
    chain_end: ChainEnd
    how_to_check: str


async def prove(uow: UnitOfWork, *, phone: str, secret: bytes, now: datetime) -> ConsentProof:
    """Gather the proof for a number; one that nobody has decided about has no entries."""
    session = uow.session
    phone_hash = hash_phone(phone, secret)
    rows = await chain_statements.links_of_number(session, phone_hash=phone_hash)
    wanted = [row.activity_id for row in rows if row.activity_id is not None]
    messages = await proof_statements.messages(session, ids=wanted)
    position, digest = await chain_statements.last_link(session)
    entries = [_entry(row, messages, secret) for row in rows]
    return ConsentProof(
        phone=phone,
        phone_hash=phone_hash.hex(),
        contact_id=await proof_statements.contact_of(session, phone=phone),
        erased_at=await proof_statements.erased_at(session, phone_hash=phone_hash),
        generated_at=now,
        flags=[
            ProvenFlag(
                flag=flag.flag_type,
                reason=flag.reason,
                since=flag.created_at,
                expires_at=flag.expires_at,
            )
            for flag in await proof_statements.flags(session, phone=phone)
        ],
        entries=entries,
        texts=ProvenTexts.model_validate(await proof_statements.texts(session, phone=phone)),
        verification=_verdict(entries),
        chain_end=ChainEnd(position=position, digest=digest.hex()),
        how_to_check=HOW_TO_CHECK,
    )


def as_csv(proof: ConsentProof) -> str:
    """Write the entries as a table, oldest first."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(CSV_COLUMNS)
    for entry in proof.entries:
        link = entry.link
        cells = (
            *(entry.id, format_instant(entry.occurred_at), format_instant(entry.stored_at)),
            *(entry.action, entry.source, entry.actor, entry.reason, entry.note, entry.text_shown),
            *(entry.evidence or "", entry.message.body if entry.message else None),
            *(entry.wording.digest, link.position if link else None, link.digest if link else None),
            _told(entry),
        )
        writer.writerow([csv_safe(str(cell)) if cell is not None else "" for cell in cells])
    return lines.getvalue()


def _entry(row: Row[Any], messages: dict[UUID, Row[Any]], secret: bytes) -> ProvenEntry:
    is_erased = row.canonical is None
    said = messages.get(row.activity_id)
    return ProvenEntry(
        id=str(row.id),
        action=row.action,
        source=row.source,
        actor=row.actor,
        contact_id=row.contact_id,
        reason=row.reason,
        note=row.note,
        text_shown=row.text_shown,
        evidence=row.evidence or {},
        message=None if said is None else _message(said),
        occurred_at=row.occurred_at,
        stored_at=row.created_at,
        is_erased=is_erased,
        wording=ProvenWording(
            digest=row.wording_digest.hex() if row.wording_digest else None,
            salt=row.salt.hex() if row.salt else None,
            canonical=row.canonical,
            fits=None if is_erased else wording_fits(row),
        ),
        link=None if row.position is None else _link(row, secret),
    )


def _message(row: Row[Any]) -> ProvenMessage:
    return ProvenMessage(
        id=row.id,
        direction=row.direction,
        origin=row.origin,
        body=row.body,
        status=row.status,
        line=row.line,
        provider_message_id=row.openphone_id,
        occurred_at=row.occurred_at,
    )


def _link(row: Row[Any], secret: bytes) -> ProvenLink:
    previous = START if row.position == 1 else row.previous or b""
    return ProvenLink(
        position=row.position,
        digest=row.digest.hex(),
        previous_digest=previous.hex(),
        key_id=row.key_id,
        fits=fits(row, previous, secret) if row.key_id == key_id(secret) else None,
    )


def _verdict(entries: list[ProvenEntry]) -> Verdict:
    findings, is_broken = [], False
    for entry in entries:
        if entry.wording.fits is False:
            findings.append(f"The words of entry {entry.id} are not those stored with it.")
            is_broken = True
        if entry.link is None:
            findings.append(f"Entry {entry.id} is in no link of the chain yet.")
        elif entry.link.fits is None:
            findings.append(f"The link of entry {entry.id} was made under another secret key.")
        elif not entry.link.fits:
            findings.append(f"Entry {entry.id} does not fit its link in the chain.")
            is_broken = True
    result = "broken" if is_broken else "incomplete" if findings else "ok"
    return Verdict(result=result, findings=findings)


def _told(entry: ProvenEntry) -> str:
    link = entry.link
    if entry.wording.fits is False or (link is not None and link.fits is False):
        return "no"
    if link is None:
        return "not yet"
    if link.fits is None:
        return "other key"
    return "words erased" if entry.is_erased else "yes"
