"""Follow-ups end when the person answers or calls, in the transaction that learns of it.

The next step of a recipient is made where its text is recorded as sent (``statements.DERIVE``).
"""

from datetime import datetime
from enum import StrEnum

from crm_api.db import UnitOfWork
from crm_api.domain.sends import deriving
from crm_api.domain.sends import follow_up_statements as sql
from crm_api.domain.sends.times import SendTimes


class EndedBy(StrEnum):
    """What ended a person's follow-ups; also the reason of the steps that are skipped."""

    REPLY = "replied"
    CALL = "called"


async def end_follow_ups(
    uow: UnitOfWork, *, phone: str, why: EndedBy, at: datetime, times: SendTimes, now: datetime
) -> None:
    """End the follow-ups of every campaign that had texted the number by ``at``.

    Rows first, claims after them (R10): in this order no claim that is still open survives.
    """
    values = {
        "phone": phone,
        "why": why.value,
        "at": at,
        "skew": times.skew.total_seconds(),
        "now": now,
    }
    ended = (await uow.session.execute(sql.END, values)).all()
    if not ended:
        return
    freed = await uow.session.execute(sql.TAKE_BACK, {"phone": phone, "now": now})
    await deriving.derive(uow.session, membership_ids=list(freed.scalars()), now=now)
