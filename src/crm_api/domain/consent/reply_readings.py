"""Find the reading of the reply that opted a number out or put it on hold."""

from dataclasses import dataclass, fields
from typing import Any, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.models import hash_phone

# An opt-out is preferred to a hold, because the hold changed nothing then. Entries that a later
# decision ended do not count.
READING = text("""
    SELECT e.activity_id, w.evidence -> 'reading' AS reading
    FROM consent_entry e JOIN consent_wording w ON w.entry_id = e.id
    WHERE e.phone_hash = :phone_hash AND e.source = 'message' AND e.action IN ('opt_out', 'hold')
      AND w.evidence -> 'reading' IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM consent_entry later
          WHERE later.phone_hash = e.phone_hash AND later.action IN ('opt_in', 'release')
            AND (later.occurred_at, later.id) > (e.occurred_at, e.id))
    ORDER BY e.action = 'opt_out' DESC, e.occurred_at DESC, e.id DESC LIMIT 1
""")


@dataclass(frozen=True, kw_only=True)
class ReplyReading:
    """How a reply was read when it came.

    Attributes:
        message_id: The reply; None if its line was not known then.
        words: The keyword, or the words with the highest weight.
        asks_to_stop: The probability that the person asks us to stop, from 0 to 1.
        needs_a_person: The probability that the person asks or may ask, from 0 to 1.
        opt_out_at: The reply opts out from this probability of ``asks_to_stop`` on.
        hold_at: The reply is held from this probability of ``needs_a_person`` on.
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
        """Read the evidence of a consent entry; None if another release wrote other members."""
        names = {field.name for field in fields(cls)} - {"message_id"}
        if not names <= evidence.keys():
            return None
        return cls(message_id=message_id, **{name: evidence[name] for name in names})


async def find_reading(session: AsyncSession, *, phone: str, secret: bytes) -> ReplyReading | None:
    """Return the reading of the reply that stops messages to a number.

    Returns:
        None if no reply opted the number out or put it on hold, or if the words were erased.
    """
    found = await session.execute(READING, {"phone_hash": hash_phone(phone, secret)})
    row = found.one_or_none()
    return ReplyReading.of(row.reading, message_id=row.activity_id) if row else None
