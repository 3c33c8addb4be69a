"""Read the recipient counts of campaigns, and keep the table of these counts small.

The counts show the progress of campaigns live. The table ``campaign_tally`` stores changes of the
counts; from time to time, its rows are merged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text

from crm_api.domain.campaigns.figures.schemas import StatusCounts
from crm_api.platform.database import UnitOfWork, typed_rows

COUNTERS = text("""
    SELECT t.campaign_id, t.status, CAST(sum(t.people) AS bigint) AS people,
           CAST(sum(t.replied) AS bigint) AS replied, CAST(sum(t.opted_out) AS bigint) AS opted_out
    FROM campaign_tally t
    WHERE t.campaign_id = ANY(CAST(:campaign_ids AS uuid[])) AND t.step = 0
    GROUP BY t.campaign_id, t.status
""")


@dataclass(frozen=True, slots=True)
class _StatusSum:
    """The recipient counts of one campaign in one status, at the first step."""

    campaign_id: UUID
    status: str
    people: int
    replied: int
    opted_out: int


class CampaignCounters(BaseModel):
    """How many recipients of a campaign wait for the first message, got it, replied, and so on.

    The statistics of the campaign show the same counts.
    """

    recipients_total: int
    by_status: StatusCounts
    replied: int
    opted_out: int


async def count_campaigns(
    uow: UnitOfWork, *, campaign_ids: Sequence[UUID]
) -> dict[UUID, CampaignCounters]:
    """Return the recipient counts of each campaign, by campaign id.

    If a campaign has no recipients, all its counts are 0.
    """
    values = {"campaign_ids": list(campaign_ids)}
    sums: dict[UUID, list[_StatusSum]] = {campaign_id: [] for campaign_id in campaign_ids}
    for row in typed_rows(_StatusSum, await uow.session.execute(COUNTERS, values)):
        sums[row.campaign_id].append(row)
    return {
        campaign_id: CampaignCounters(
            recipients_total=sum(row.people for row in own),
            by_status=StatusCounts(**{row.status: row.people for row in own}),
            replied=sum(row.replied for row in own),
            opted_out=sum(row.opted_out for row in own),
        )
        for campaign_id, own in sums.items()
    }


# Only one worker at a time merges the rows of `campaign_tally`. Without the lock, a second worker
# would wait for the first worker, and then find nothing to merge. The lock is taken in the
# statement that deletes the rows. This is safe: if another worker has merged a row since the
# statement began, the row is not deleted again. So the sums are correct.
COMPACT = text("""
    WITH gone AS (
        DELETE FROM campaign_tally t
        WHERE (SELECT pg_try_advisory_xact_lock(hashtextextended('compact_tallies', 0)))
          AND t.campaign_id IN (
            SELECT l.campaign_id FROM campaign_tally l
            GROUP BY l.campaign_id HAVING count(*) > :rows)
        RETURNING t.campaign_id, t.step, t.variant, t.status, t.people, t.replied, t.opted_out
    )
    INSERT INTO campaign_tally (campaign_id, step, variant, status, people, replied, opted_out)
    SELECT campaign_id, step, variant, status, sum(people), sum(replied), sum(opted_out)
    FROM gone GROUP BY campaign_id, step, variant, status
    HAVING sum(people) <> 0 OR sum(replied) <> 0 OR sum(opted_out) <> 0
""")

COMPACT_ABOVE = 200
"""If a campaign has more rows than this in ``campaign_tally``, its rows are merged into a few
dozen rows."""


async def compact_tallies(uow: UnitOfWork) -> None:
    """Merge the rows of ``campaign_tally`` for each campaign that has many of them.

    The table stores changes of recipient counts. The sum of the changes stays the same.
    """
    await uow.session.execute(COMPACT, {"rows": COMPACT_ABOVE})
