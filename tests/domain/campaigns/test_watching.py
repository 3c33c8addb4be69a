"""Campaigns that leave their band pause themselves; wordings that harm or lose are stopped."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.campaigns.rows import Rows, campaign_with

from crm_api.db import UnitOfWork
from crm_api.domain.campaigns import service as campaigns

NewUow = Callable[[], UnitOfWork]
LATER = NOW + timedelta(hours=2)
HARMFUL = {"min_per_variant": 100, "stop_harmful": True}
WINNER = {"min_per_variant": 100, "shift_to_winner": True}


def opt_outs(rows: Rows, count: int, **values: Any) -> None:
    rows.add("sent", count=count, sent_at=NOW, replied_at=NOW, opted_out_at=NOW, **values)


async def watched(new_uow: NewUow, rows: Rows, *, now: datetime = NOW) -> bool:
    """Whether the campaign changed; twice would be an endless loop in the worker."""
    await rows.session.commit()
    async with new_uow() as uow:
        changed = await campaigns.watch(uow, now=now)
    async with new_uow() as uow:
        assert await campaigns.watch(uow, now=now) is None
    await rows.session.refresh(rows.campaign)
    return changed == rows.campaign.id


async def resumed(new_uow: NewUow, rows: Rows, *, now: datetime = NOW) -> None:
    async with new_uow() as uow:
        await campaigns.resume(uow, campaign_id=rows.campaign.id, now=now)
    await rows.session.refresh(rows.campaign)


async def written(session: AsyncSession, table: str) -> Sequence[Row[Any]]:
    return (await session.execute(text(f"SELECT * FROM {table} ORDER BY id"))).all()


async def test_too_many_opt_outs_pause_the_campaign_with_the_figures(
    session: AsyncSession, new_uow: NewUow
) -> None:
    rows = await campaign_with(session)
    rows.add("delivered", count=87)
    opt_outs(rows, 13)

    assert await watched(new_uow, rows)

    campaign = rows.campaign
    assert (campaign.status, campaign.paused_reason) == ("paused", "opt_out_rate")
    evidence = campaign.paused_evidence or {}
    assert float(evidence.pop("e_value")) >= 20
    assert evidence == {
        "texts": 100,
        "opted_out": 13,
        "rate": "0.1300",
        "limit": "0.0500",
        "sentence": "13 people opted out after 100 texts: a rate of 0.1300, where 0.0500 is "
        "allowed. That is more than chance explains. Find out why; then resume the campaign or "
        "cancel it.",
        "at": "2026-11-25T15:00:00.000Z",
    }
