"""Find how the reply reader classified the reply that opted a number out or put it on hold."""

from dataclasses import dataclass, fields
from typing import Any, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import hash_phone

# If there is an opt-out and a hold, the opt-out is used, because a hold changes nothing for an
# opted-out number. Entries before a later opt-in are ignored. A later release ends only a hold.
READING = text("""
    SELECT e.activity_id, w.evidence -> 'reading' AS reading
    FROM consent_entry e JOIN consent_wording w ON w.entry_id = e.id
    WHERE e.phone_hash = :phone_hash AND e.source = 'message' AND e.action IN ('opt_out', 'hold')
      AND w.evidence -> 'reading' IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM consent_entry later
          WHERE later.phone_hash = e.phone_hash
            AND (later.action = 'opt_in' OR later.action = 'release' AND e.action = 'hold')
            AND (later.occurred_at, later.id) > (e.occurred_at, e.id))
    ORDER BY e.action = 'opt_out' DESC, e.occurred_at DESC, e.id DESC LIMIT 1
""")


@dataclass(frozen=True, kw_only=True)
class ReplyReading:
    """How the reply reader classified a reply when the reply arrived.

    Attributes:
        message_id: The id of the reply; None if it was sent to an unknown line.
        kind: The result, a ``ReplyKind``.
        decided_by: The part of the reader that decided, a ``DecidedBy``.
        words: The keyword, or the words of the reply with the highest weight.
        asks_to_stop: The probability that the person asks us to stop, from 0 to 1.
        needs_a_person: The probability that the reply is an opt-out or doubtful, from 0 to 1.
        opt_out_at: The reply is an opt-out if ``asks_to_stop`` is not below this.
        hold_at: The reply puts the number on hold if ``needs_a_person`` is not below this.
        model: The first 12 characters of the SHA-256 digest of the model's training data.
    """

    message_id: UUID | None
    kind: str
    decided_by: str
    words: str | None
    asks_to_stop: float
    needs_a_person: float
    opt_out_at: float
    hold_at: float
    model: str

    @classmethod
    def of(cls, evidence: dict[str, Any], *, message_id: UUID | None) -> Self | None:
        """Return how the reply reader classified a reply, from the evidence of a consent entry.

        Returns:
            The classification. None if the evidence lacks a field, because another release wrote
            the evidence.
        """
        names = {field.name for field in fields(cls)} - {"message_id"}
        if not names <= evidence.keys():
            return None
        return cls(message_id=message_id, **{name: evidence[name] for name in names})


async def find_reading(session: AsyncSession, *, phone: str, secret: bytes) -> ReplyReading | None:
    """Return how the reply reader classified the reply that opted a number out or put it on hold.

    Returns:
        None if one of these conditions is true:

        - No reply opted the number out or put it on hold.
        - A later decision ended the opt-out or the hold.
        - The classification was erased.
        - Another release stored the classification, and did not store all fields.
    """
    found = await session.execute(READING, {"phone_hash": hash_phone(phone, secret)})
    row = found.one_or_none()
    return ReplyReading.of(row.reading, message_id=row.activity_id) if row else None
