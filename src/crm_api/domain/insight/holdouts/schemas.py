"""Request and response models of holdouts."""

from typing import Annotated, Self

from pydantic import Field

from crm_api.domain.insight.holdouts.plan import HoldoutPlan
from crm_api.domain.insight.holdouts.service import Comparison, HoldoutResult
from crm_api.domain.insight.measures.intervals import is_difference_shown, newcombe_interval
from crm_api.domain.kit.examples import NOW, example
from crm_api.domain.kit.fields import Name200, RequestDay
from crm_api.domain.kit.intervals import rate_texts
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.models.holdouts import HoldoutScope

FEWEST_WITH = 10
"""``HoldoutLiftRead.enough`` is true only if at least this number of people had an outcome, in both
groups together."""


class HoldoutCreate(RequestModel):
    """A holdout to plan: a test in which some people get no campaign messages.

    Attributes:
        name: The name of the holdout.
        percent: How many of 100 people get no campaign message: 1 to 50.
        from: The first day, in UTC. If the day has already begun, the holdout begins now.
        until: The day after the last day, in UTC.
        scope: Who can be chosen to get no messages: `cold` for people who were not contacted
            before, `all` for all people.
    """

    model_config = example(
        **{"name": "What do messages bring?", "percent": 10, "from": "2026-12-01"},
        until="2027-12-01",
    )

    name: Name200
    percent: Annotated[int, Field(strict=True, ge=1, le=50)]
    since: RequestDay = Field(alias="from")
    until: RequestDay
    scope: HoldoutScope = HoldoutScope.COLD


class HoldoutPlanRead(ReadModel):
    """How many messages a holdout prevents, and when its result can be expected.

    The estimates use the first messages of campaigns that started in the last 30 days.

    Attributes:
        people: The number of people in the two groups together at the end of the holdout.
        cost_messages: The number of messages that the holdout prevents, from its beginning to its
            end.
        needed_people: The number of people that the comparison needs, in both groups together. If
            1.5 % of the people with messages and 1 % of the other people book an appointment, the
            comparison shows the effect with a probability of 80 %.
        knows_at: When `needed_people` people are expected to be assigned; null if this takes more
            than ten years.
    """

    model_config = example(people=45000, cost_messages=4500, needed_people=74000, knows_at=NOW)

    people: int
    cost_messages: int
    needed_people: int
    knows_at: Instant | None

    @classmethod
    def of(cls, plan: HoldoutPlan) -> Self:
        """Build the response from a plan."""
        return cls.model_validate(plan)


class HoldoutGroupRead(ReadModel):
    """One of the two groups of a holdout: one group gets messages, the other gets none.

    A person counts in the group to which the person was assigned, whatever happened later.

    Attributes:
        people: The number of people in the group.
        with_outcome: The number of people in the group who had an outcome after the assignment.
        rate: `with_outcome` divided by `people`, with four decimals; null if the group is empty.
        low: The lower bound of the 95 % interval of the rate.
        high: The upper bound of the 95 % interval of the rate.
    """

    model_config = example(people=900, with_outcome=9, rate="0.0100", low="0.0053", high="0.0189")

    people: int
    with_outcome: int
    rate: str | None
    low: str | None
    high: str | None

    @classmethod
    def of(cls, people: int, with_outcome: int) -> Self:
        """Build the response from the counts of a group."""
        return cls(people=people, with_outcome=with_outcome, **rate_texts(with_outcome, people))


class HoldoutLiftRead(ReadModel):
    """The effect of messages on the share of people with an outcome.

    Attributes:
        messaged: The group that gets messages.
        held: The group that gets no messages.
        difference: The rate of `messaged` minus the rate of `held`, with four decimals; null if a
            group has no people.
        low: The lower bound of the 95 % interval of the difference (Newcombe).
        high: The upper bound of the 95 % interval of the difference (Newcombe).
        enough: True if a statistical test shows a difference, and the groups together have 10 or
            more people with an outcome. The test stays valid if you read this figure every day:
            if messages have no effect, at most 5 of 100 holdouts ever show a difference.
    """

    model_config = example(difference="0.0050", low="-0.0040", high="0.0101", enough=False)

    messaged: HoldoutGroupRead
    held: HoldoutGroupRead
    difference: str | None
    low: str | None
    high: str | None
    enough: bool

    @classmethod
    def of(cls, found: Comparison) -> Self:
        """Build the response from the counts of the two groups of a holdout.

        One group gets messages, the other group gets none.
        """
        counts = (found.messaged_with, found.messaged, found.held_with, found.held)
        interval = newcombe_interval(*counts)
        difference = None
        if interval is not None:
            apart = found.messaged_with / found.messaged - found.held_with / found.held
            difference = f"{apart:.4f}"
        return cls(
            messaged=HoldoutGroupRead.of(found.messaged, found.messaged_with),
            held=HoldoutGroupRead.of(found.held, found.held_with),
            difference=difference,
            low=None if interval is None else f"{interval[0]:.4f}",
            high=None if interval is None else f"{interval[1]:.4f}",
            enough=found.messaged_with + found.held_with >= FEWEST_WITH
            and is_difference_shown(*counts),
        )


class HoldoutRead(ReadModel):
    """A holdout, with its plan and its present result.

    A holdout is a test of campaigns: some people get no campaign messages.

    Attributes:
        name: The name of the holdout.
        percent: How many of 100 people get no campaign message.
        from: When the holdout begins.
        until: When the holdout ends.
        scope: Who can be chosen to get no messages: `cold` for people who were not contacted
            before, `all` for all people.
        cost_messages: The number of messages that the holdout prevents, from its beginning to its
            end.
        knows_at: When the result can be expected; null if this takes more than ten years.
        plan: The plan in detail.
        appointments: The two groups, compared by how many people booked an appointment.
        jobs: The two groups, compared by how many people had a job done.
        created_by: Who planned the holdout.
    """

    model_config = example(
        **{"name": "What do messages bring?", "percent": 10, "from": NOW, "scope": "cold"},
        until="2027-12-01T00:00:00.000Z",
        cost_messages=4500,
        knows_at=NOW,
        created_by="olga@granite.example.com",
    ) | {"serialize_by_alias": True, "populate_by_name": True}

    id: Id
    name: str
    percent: int
    since: Instant = Field(alias="from")
    until: Instant
    scope: Annotated[str, Vocabulary(HoldoutScope)]
    cost_messages: int
    knows_at: Instant | None
    plan: HoldoutPlanRead
    appointments: HoldoutLiftRead
    jobs: HoldoutLiftRead
    created_by: str
    created_at: Instant

    @classmethod
    def of(cls, known: HoldoutResult) -> Self:
        """Build the response from a holdout."""
        holdout = known.holdout
        return cls.model_validate(
            {
                "id": holdout.id,
                "name": holdout.name,
                "percent": holdout.percent,
                "from": holdout.starts_at,
                "until": holdout.ends_at,
                "scope": holdout.scope,
                "cost_messages": known.plan.cost_messages,
                "knows_at": known.plan.knows_at,
                "plan": HoldoutPlanRead.of(known.plan),
                "appointments": HoldoutLiftRead.of(known.appointments),
                "jobs": HoldoutLiftRead.of(known.jobs),
                "created_by": holdout.created_by,
                "created_at": holdout.created_at,
            }
        )
