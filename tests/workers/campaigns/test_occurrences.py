"""Tests of the job that creates drafts for the occurrences of recurring campaigns."""

from datetime import timedelta
from typing import Any

import pytest
from tests.factories import make_campaign, make_line

from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.campaigns import draft_occurrences


@pytest.mark.parametrize("ends_after", [3, 30])
async def test_job_drafts_all_due_occurrences_and_reports_their_number(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], ends_after: int
) -> None:
    now = clock.now()
    async with committed_uow() as uow:
        await make_campaign(
            uow.session,
            line=await make_line(uow.session),
            start_at=now - timedelta(hours=1),
            recurrence={
                "rrule": f"FREQ=DAILY;COUNT={ends_after}",
                "timezone": "UTC",
                "paused": False,
            },
            next_occurrence_at=now + timedelta(hours=23),
            now=now,
        )

    first = await draft_occurrences(ctx)
    second = await draft_occurrences(ctx)

    # The first occurrence is the campaign itself, so it gets no draft. The job creates drafts for
    # at most the next two weeks.
    assert first == {"drafted": min(ends_after - 1, 14)}
    assert second == {"drafted": 0}
