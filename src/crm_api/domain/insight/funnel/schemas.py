"""Response models of the funnel and of cohorts."""

from itertools import groupby
from typing import Annotated, Self

from crm_api.domain.insight.funnel.funnel import CohortCell, Funnel
from crm_api.domain.insight.funnel.people import Stage
from crm_api.domain.kit.examples import NOW, example
from crm_api.domain.kit.intervals import rate_texts
from crm_api.domain.kit.schemas import Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary


class FunnelStageRead(ReadModel):
    """A stage of the funnel.

    Attributes:
        stage: What the people reached, such as the first reply (`replied`).
        people: The number of people who reached the stage within the window.
        rate: `people` divided by the `people` of the stage `messaged`, with four decimals; null if
            that stage has no people.
        low: The lower bound of the 95 % interval of the rate.
        high: The upper bound of the 95 % interval of the rate.
    """

    model_config = example(stage="replied", people=14, rate="0.0583", low="0.0351", high="0.0955")

    stage: Annotated[str, Vocabulary(Stage, "FunnelStage")]
    people: int
    rate: str | None
    low: str | None
    high: str | None


class FunnelRead(ReadModel):
    """How many people reach each stage within a window after their first message.

    Attributes:
        as_of: When the figures were computed.
        window_days: The length of the window in days, the same for all people.
        unripe: The number of people who are left out, because their window is not over.
        stages: The stages. A person counts in every stage that the person reached, even if stages
            were skipped.
    """

    model_config = example(as_of=NOW, window_days=30, unripe=40)

    as_of: Instant
    window_days: int
    unripe: int
    stages: list[FunnelStageRead]

    @classmethod
    def of(cls, found: Funnel, *, window_days: int, as_of: Instant) -> Self:
        """Build the response from the counts."""
        whole = found.people[Stage.MESSAGED]
        stages = [
            FunnelStageRead(stage=stage, people=people, **rate_texts(people, whole))
            for stage, people in found.people.items()
        ]
        return cls(as_of=as_of, window_days=window_days, unripe=found.unripe, stages=stages)


class CohortCellRead(ReadModel):
    """How many people of a cohort reached the stage within `days` days after their first message.

    Attributes:
        days: The length of the window in days, from the first message on.
        reached: The number of people who reached the stage within the window; null until the window
            is over for all people of the cohort.
        rate: `reached` divided by the people of the cohort, with four decimals; null while
            `reached` is null.
        low: The lower bound of the 95 % interval of the rate.
        high: The upper bound of the 95 % interval of the rate.
        ripe: Whether the window is over for all people of the cohort.
    """

    model_config = example(days=7, reached=14, rate="0.0583", low="0.0351", high="0.0955")

    days: int
    reached: int | None
    rate: str | None
    low: str | None
    high: str | None
    ripe: bool

    @classmethod
    def of(cls, cell: CohortCell) -> Self:
        """Build the response from one count of people who reached a stage of the funnel.

        The people belong to one cohort: their first message was sent in the same day, week or
        month. The count includes people who reached the stage within ``cell.days`` days after that
        message.
        """
        return cls(
            days=cell.days,
            reached=cell.reached if cell.is_ripe else None,
            ripe=cell.is_ripe,
            **rate_texts(cell.reached, cell.people if cell.is_ripe else 0),
        )


class CohortRead(ReadModel):
    """A cohort: the people whose first message was sent in the same day, week or month.

    Attributes:
        cohort_start: The beginning of the cohort's day, week or month.
        people: The number of people in the cohort.
        cells: For each time limit, how many people of the cohort reached the stage within it.
    """

    model_config = example(cohort_start=NOW, people=240)

    cohort_start: Instant
    people: int
    cells: list[CohortCellRead]


class CohortsRead(ReadModel):
    """How many people of each cohort reached a stage, within several time limits.

    A cohort is all people whose first message was sent in the same day, week or month.

    Attributes:
        as_of: When the figures were computed.
        stage: What the counted people reached, such as the first reply (`replied`).
        cohorts: The cohorts, the oldest first; at most the latest 200.
    """

    model_config = example(as_of=NOW, stage="replied")

    as_of: Instant
    stage: Annotated[str, Vocabulary(Stage, "FunnelStage")]
    cohorts: list[CohortRead]

    @classmethod
    def of(cls, cells: list[CohortCell], *, stage: Stage, as_of: Instant) -> Self:
        """Build the response from the counts of each cohort.

        A cohort is all people whose first message was sent in the same day, week or month.

        Args:
            cells: The counts, sorted by cohort. Each one says how many people of a cohort reached
                the stage within a number of days.
        """
        cohorts = []
        for start, group in groupby(cells, key=lambda one: one.cohort_start):
            own = list(group)
            cohorts.append(
                CohortRead(
                    cohort_start=start,
                    people=own[0].people,
                    cells=[CohortCellRead.of(one) for one in own],
                )
            )
        return cls(as_of=as_of, stage=stage, cohorts=cohorts)
