"""Fetch what the claim would look at for one recipient."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.sends import explain_statements as sql
from crm_api.domain.sends.times import SendTimes


async def find_place(uow: UnitOfWork, *, campaign_id: UUID, contact_id: UUID) -> str | None:
    """Return the zone key of a recipient; None when the campaign has no such recipient."""
    values = {"campaign_id": campaign_id, "contact_id": contact_id}
    key: str | None = await uow.session.scalar(sql.PLACE, values)
    return key


async def find_recipient(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    step: int | None,
    cap: tuple[int, int] | None,
    times: SendTimes,
    now: datetime,
) -> Row[Any] | None:
    """Ask every rule of the claim for one recipient, in one statement.

    Args:
        step: None for the next one that is not sent.
        cap: How many campaign texts a number may get by law at this place, and in how many hours.
    """
    max_recent, hours = cap or (None, None)
    values = {
        "campaign_id": campaign_id,
        "contact_id": contact_id,
        "step": step,
        "max_recent": max_recent,
        "recent_hours": hours,
        "grace": times.grace_seconds,
        "now": now,
    }
    return (await uow.session.execute(sql.RECIPIENT, values)).one_or_none()
