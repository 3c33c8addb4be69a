"""Build the consent proof: one document with all consent decisions about a phone number.

A court or another party can verify the document. For each decision, it contains the wording, the
message, and a digest that shows whether the stored decision was changed later. The digests of all
decisions form the consent chain.
"""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent import linking
from crm_api.domain.consent.chain import START, key_id
from crm_api.domain.consent.linking import NumberEntry, is_link_correct, is_wording_correct
from crm_api.domain.consent.models import (
    ContactFlag,
    ErasedNumber,
    hash_phone,
)
from crm_api.domain.kit.csv_export import csv_safe
from crm_api.domain.kit.schemas import format_instant
from crm_api.domain.messaging.consent_decisions.schemas import (
    ConsentChainEnd,
    ConsentProof,
    ConsentVerdict,
    ProvenEntry,
    ProvenFlag,
    ProvenLink,
    ProvenMessage,
    ProvenTexts,
    ProvenWording,
)
from crm_api.platform.database import UnitOfWork

MESSAGES = text("""
    SELECT a.id, a.direction, a.origin, a.body, a.status, a.openphone_id AS provider_message_id,
           a.occurred_at, l.number AS line
    FROM activity a LEFT JOIN line l ON l.id = a.line_id
    WHERE a.id = ANY(CAST(:ids AS uuid[]))
""")

TEXTS = text("""
    SELECT count(*) AS accepted, min(a.accepted_at) AS first_at, max(a.accepted_at) AS last_at
    FROM send_attempt a WHERE a.phone = :phone AND a.accepted_at IS NOT NULL
""")

CONTACT = text("SELECT id FROM contact WHERE phone = :phone AND deleted_at IS NULL")


HOW_TO_CHECK = (
    "wording.digest = SHA-256(salt || canonical in UTF-8). link.digest = HMAC-SHA256(key, "
    "previous_digest || entry). docs/explanation/consent.md describes how the entry is written. "
    "The key is derived from the service's secret key. `crm-api doctor` verifies the whole chain."
)
CSV_COLUMNS = (
    *("entry_id", "occurred_at", "stored_at", "action", "source", "actor", "reason", "note"),
    *("text_shown", "evidence", "message", "wording_digest", "position", "link_digest", "verified"),
    "claimed_at",
)


async def build_consent_proof(
    uow: UnitOfWork, *, phone: str, secret: bytes, now: datetime
) -> ConsentProof:
    """Build the consent proof of a number. It has no entries if there was no decision."""
    session = uow.session
    phone_hash = hash_phone(phone, secret)
    stored = await linking.read_entries_of_number(session, phone_hash=phone_hash)
    wanted = [one.entry.activity_id for one in stored if one.entry.activity_id is not None]
    messages = await _read_messages(session, ids=wanted)
    position, digest = await linking.read_last_link(session)
    entries = [_prove_entry(one, messages, secret) for one in stored]
    return ConsentProof(
        phone=phone,
        phone_hash=phone_hash.hex(),
        contact_id=await _find_contact(session, phone=phone),
        erased_at=await _read_erased_at(session, phone_hash=phone_hash),
        generated_at=now,
        flags=await _read_flags(session, phone=phone),
        entries=entries,
        texts=await _count_accepted(session, phone=phone),
        verification=_verify_entries(entries),
        chain_end=ConsentChainEnd(position=position, digest=digest.hex()),
        how_to_check=HOW_TO_CHECK,
    )


def as_csv(proof: ConsentProof) -> str:
    """Return the decisions in a consent proof as CSV with a header row, the oldest first."""
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
            _name_verification(entry),
            None if entry.claimed_at is None else format_instant(entry.claimed_at),
        )
        writer.writerow([csv_safe(str(cell)) if cell is not None else "" for cell in cells])
    return lines.getvalue()


def _prove_entry(
    stored: NumberEntry, messages: dict[UUID, ProvenMessage], secret: bytes
) -> ProvenEntry:
    entry, canonical = stored.entry, stored.canonical
    return ProvenEntry(
        id=str(entry.id),
        action=entry.action,
        source=entry.source,
        actor=entry.actor,
        contact_id=entry.contact_id,
        reason=stored.reason,
        note=stored.note,
        text_shown=stored.text_shown,
        evidence=stored.evidence or {},
        message=None if entry.activity_id is None else messages.get(entry.activity_id),
        claimed_at=entry.claimed_at,
        occurred_at=entry.occurred_at,
        stored_at=entry.created_at,
        is_erased=canonical is None,
        wording=ProvenWording(
            digest=entry.wording_digest.hex() if entry.wording_digest else None,
            salt=stored.salt.hex() if stored.salt else None,
            canonical=canonical,
            fits=None
            if canonical is None
            else is_wording_correct(entry, salt=stored.salt, canonical=canonical),
        ),
        link=_prove_link(stored, secret),
    )


def _prove_link(stored: NumberEntry, secret: bytes) -> ProvenLink | None:
    if stored.position is None or stored.digest is None or stored.key_id is None:
        return None
    previous = START if stored.position == 1 else stored.previous or b""
    is_ours = stored.key_id == key_id(secret)
    return ProvenLink(
        position=stored.position,
        digest=stored.digest.hex(),
        previous_digest=previous.hex(),
        key_id=stored.key_id,
        fits=is_link_correct(stored.entry, stored.digest, previous=previous, secret=secret)
        if is_ours
        else None,
    )


def _verify_entries(entries: list[ProvenEntry]) -> ConsentVerdict:
    findings, is_broken = [], False
    for entry in entries:
        if entry.wording.fits is False:
            findings.append(
                f"Entry {entry.id} was changed: its wording does not match its stored digest."
            )
            is_broken = True
        if entry.link is None:
            findings.append(
                f"Entry {entry.id} is not linked into the chain yet. Request the proof again in a "
                "few seconds."
            )
        elif entry.link.fits is None:
            findings.append(
                f"The link of entry {entry.id} cannot be verified, because it was made with "
                "another secret key."
            )
        elif not entry.link.fits:
            findings.append(
                f"Entry {entry.id} or the chain was changed: the entry does not match its link."
            )
            is_broken = True
    result = "broken" if is_broken else "incomplete" if findings else "ok"
    return ConsentVerdict(result=result, findings=findings)


def _name_verification(entry: ProvenEntry) -> str:
    link = entry.link
    if entry.wording.fits is False or (link is not None and link.fits is False):
        return "no"
    if link is None:
        return "not yet"
    if link.fits is None:
        return "other key"
    return "words erased" if entry.is_erased else "yes"


async def _find_contact(session: AsyncSession, *, phone: str) -> UUID | None:
    contact_id: UUID | None = await session.scalar(CONTACT, {"phone": phone})
    return contact_id


async def _read_erased_at(session: AsyncSession, *, phone_hash: bytes) -> datetime | None:
    statement = select(ErasedNumber.erased_at).where(ErasedNumber.phone_hash == phone_hash)
    return await session.scalar(statement)


async def _read_flags(session: AsyncSession, *, phone: str) -> list[ProvenFlag]:
    """Return all flags of a number, oldest first. Expired flags are included."""
    statement = select(ContactFlag).where(ContactFlag.phone == phone)
    flags = await session.scalars(statement.order_by(ContactFlag.created_at, ContactFlag.id))
    return [
        ProvenFlag(
            flag=flag.flag_type,
            reason=flag.reason,
            since=flag.created_at,
            expires_at=flag.expires_at,
        )
        for flag in flags
    ]


async def _read_messages(
    session: AsyncSession, *, ids: Sequence[UUID]
) -> dict[UUID, ProvenMessage]:
    rows = await session.execute(MESSAGES, {"ids": list(ids)})
    return {row.id: ProvenMessage.model_validate(row) for row in rows}


async def _count_accepted(session: AsyncSession, *, phone: str) -> ProvenTexts:
    return ProvenTexts.model_validate((await session.execute(TEXTS, {"phone": phone})).one())
