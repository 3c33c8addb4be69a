"""Follow-ups end when the person answers or calls, in the transaction that learns of it.

The next step of a recipient is made where its text is recorded as sent (``statements.DERIVE``).
"""

from collections.abc import Mapping
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
    """End the follow-ups of every campaign that had texted the number by ``at``."""
    await end_all_follow_ups(uow, {phone: at}, why=why, times=times, now=now)


async def end_all_follow_ups(
    uow: UnitOfWork,
    heard: Mapping[str, datetime],
    *,
    why: EndedBy,
    times: SendTimes,
    now: datetime,
) -> None:
    """End the follow-ups of people who were heard, by number, of every campaign till then.

    Rows first, claims after them (R10): in this order no claim that is still open survives.

    Args:
        heard: When each was heard last.
    """
    if not heard:
        return
    values = {
        "phones": list(heard),
        "ats": list(heard.values()),
        "why": why.value,
        "skew": times.skew.total_seconds(),
        "now": now,
    }
    ended = (await uow.session.execute(sql.END, values)).all()
    if not ended:
        return
    freed = await uow.session.execute(sql.TAKE_BACK, {"phones": list(heard), "now": now})
    await deriving.derive(uow.session, membership_ids=list(freed.scalars()), now=now)
