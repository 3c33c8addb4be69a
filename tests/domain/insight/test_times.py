"""Times to an event agree with the library lifelines: medians, the funnel and cohorts.

The times are from a random history.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from random import randrange
from typing import Any
from uuid import UUID

import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import qth_survival_time
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.insight.history import History

from crm_api.domain.insight.funnel.funnel import count_cohorts, count_funnel
from crm_api.domain.insight.funnel.people import PeopleFilter, Stage
from crm_api.domain.insight.measures.dimensions import Bucket, Dimension
from crm_api.domain.insight.measures.figure_request import BEGINNING, FigureRequest
from crm_api.domain.insight.measures.figures import compute_figures
from crm_api.domain.insight.measures.registry import MEASURES

SEED = int(os.environ.get("INSIGHT_SEED", randrange(10**6)))  # noqa: S311 - a test's
DAY = timedelta(days=1)
STAGES = (Stage.REPLIED, Stage.APPOINTMENT_BOOKED, Stage.JOB_DONE, Stage.INVOICE_PAID)

# `FIRST` returns the first message of each person and the reply to it. `HAPPENED` returns the
# outcomes of each person, one row for each outcome.
FIRST = text("""
    SELECT DISTINCT ON (m.contact_id) m.contact_id, m.sent_at, m.replied_at
    FROM campaign_membership m WHERE m.step = 0 AND m.status IN ('sent', 'delivered')
    ORDER BY m.contact_id, m.sent_at, m.id
""")
HAPPENED = text("""
    SELECT s.contact_id, o.kind, o.occurred_at FROM outcome o
    JOIN outcome_subject s ON s.outcome_id = o.id
    WHERE s.contact_id IS NOT NULL
      AND o.id NOT IN (SELECT r.reverses_id FROM outcome r WHERE r.reverses_id IS NOT NULL)
""")
REPLIES = text("""
    SELECT campaign_id AS key, replied_at - sent_at AS waited FROM campaign_membership
    WHERE step = 0 AND replied_at IS NOT NULL
""")


@pytest.fixture
async def history(session: AsyncSession) -> History:
    print(f"INSIGHT_SEED={SEED}")  # noqa: T201 - repeats the run
    made = History(session, seed=SEED)
    await made.write(people=400, messages=1_600, outcomes=300)
    return made


LOWER_MEDIAN = 0.5 + 1e-9
"""Share of survivors at which lifelines gives the lower median.

For an even number of times, the median is the lower one of the two times in the middle. There the
estimated share is 0.5, except for the rounding of floats.
"""


def survival(followed: Iterable[tuple[timedelta, bool]]) -> Any:
    """Return the Kaplan-Meier estimate; its times are in seconds.

    Args:
        followed: For each person, how long the person was followed, and whether the event then
            occurred.
    """
    times, came = zip(*followed, strict=True)
    return KaplanMeierFitter().fit([one.total_seconds() for one in times], event_observed=came)


def median_of(times: Iterable[timedelta]) -> float:
    """Return the median time in seconds, computed by lifelines."""
    estimate = survival((one, True) for one in times).survival_function_
    return float(qth_survival_time(LOWER_MEDIAN, estimate))


class ReachedStages:
    """When each person got the first message and reached each stage, computed in Python."""

    def __init__(self) -> None:
        self.sent: dict[UUID, datetime] = {}
        self.reached: dict[Stage, dict[UUID, datetime]] = defaultdict(dict)

    async def read(self, session: AsyncSession) -> None:
        for contact_id, sent_at, replied_at in await session.execute(FIRST):
            self.sent[contact_id] = sent_at
            if replied_at is not None:
                self.reached[Stage.REPLIED][contact_id] = replied_at
        for contact_id, kind, at in await session.execute(HAPPENED):
            sent_at = self.sent.get(contact_id)
            if sent_at is not None and at >= sent_at:
                known = self.reached[Stage(kind)].get(contact_id, at)
                self.reached[Stage(kind)][contact_id] = min(known, at)

    def part_reached(self, stage: Stage, people: Iterable[UUID], *, within: timedelta) -> float:
        """Return the share of people who reached a stage within a time, estimated by lifelines."""
        followed = []
        for one in people:
            at = self.reached[stage].get(one)
            end = NOW if at is None else at
            followed.append((end - self.sent[one], at is not None))
        return 1 - float(survival(followed).predict(within.total_seconds()))


async def test_median_times_are_those_of_lifelines(session: AsyncSession, history: History) -> None:
    request = FigureRequest(measure=MEASURES["time_to_reply"], by=Dimension.CAMPAIGN)

    found = await compute_figures(session, request, now=NOW)

    waited: dict[str, list[timedelta]] = defaultdict(list)
    for key, time in await session.execute(REPLIES):
        waited[str(key)].append(time)
    assert {one.key for one in found.rows} == waited.keys()
    assert len(history.campaigns) == len(waited)
    for figure in found.rows:
        times = waited[figure.key or ""]
        assert figure.value == median_of(times)
    everybody = [one for times in waited.values() for one in times]
    assert found.total.value == median_of(everybody)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("days", [1, 14, 45])
async def test_funnel_is_that_of_lifelines(session: AsyncSession, days: int) -> None:
    window = timedelta(days=days)
    reached = ReachedStages()
    await reached.read(session)

    found = await count_funnel(
        session, PeopleFilter(since=BEGINNING, until=NOW), window=window, now=NOW
    )

    ripe = [one for one, sent_at in reached.sent.items() if sent_at + window <= NOW]
    assert found.people[Stage.MESSAGED] == len(ripe) > 0
    assert found.unripe == len(reached.sent) - len(ripe)
    for stage in STAGES:
        part = found.people[stage] / len(ripe)
        assert part == pytest.approx(reached.part_reached(stage, ripe, within=window), abs=1e-9)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("stage", STAGES)
async def test_ripe_cohorts_are_those_of_lifelines(session: AsyncSession, stage: Stage) -> None:
    reached = ReachedStages()
    await reached.read(session)

    cells = await count_cohorts(
        session,
        PeopleFilter(since=BEGINNING, until=NOW),
        stage=stage,
        bucket=Bucket.WEEK,
        zone="UTC",
        step_days=10,
        steps=5,
        now=NOW,
    )

    people: dict[datetime, list[UUID]] = defaultdict(list)
    for one, sent_at in reached.sent.items():
        monday = sent_at.date() - DAY * sent_at.weekday()
        people[datetime.combine(monday, datetime.min.time(), NOW.tzinfo)].append(one)
    ripe = [cell for cell in cells if cell.is_ripe]
    assert len({cell.cohort_start for cell in cells}) == len(people)
    assert 0 < len(ripe) < len(cells)
    for cell in ripe:
        cohort = people[cell.cohort_start]
        within = timedelta(days=cell.days)
        assert cell.people == len(cohort)
        assert all(reached.sent[one] + within <= NOW for one in cohort)
        part = reached.part_reached(stage, cohort, within=within)
        assert cell.reached / cell.people == pytest.approx(part, abs=1e-9)
