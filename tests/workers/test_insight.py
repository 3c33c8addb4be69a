"""The job of Insight merges the stored sums, and credits outcomes to messages."""

from typing import Any

from sqlalchemy import text
from tests.routers.insight.story import Story

from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.insight import compute_credits

ROWS = text("""
    SELECT t.grain, count(*) AS rows, sum(t.sent) AS sent, bool_and(t.is_merged) AS is_merged
    FROM insight_tally t GROUP BY t.grain ORDER BY t.grain
""")
STORED = text("""
    SELECT (SELECT count(*) FROM insight_person_until) + (SELECT count(*) FROM insight_answer_until)
        + (SELECT count(*) FROM insight_reply_until)
""")


async def test_job_merges_the_stored_sums(
    ctx: dict[str, Any], committed_uow: UnitOfWorkFactory
) -> None:
    async with committed_uow() as uow:
        story = Story(uow.session)
        autumn = await story.add_campaign()
        for _ in range(3):
            await story.add_message(autumn, await story.add_person(), days=10)

    assert await compute_credits(ctx) is None

    async with committed_uow() as uow:
        found = [tuple(row) for row in await uow.session.execute(ROWS)]
        assert await uow.session.scalar(STORED) == 3
    assert found == [(grain, 1, 3, True) for grain in ("all", "day", "hour")]
