"""Response models of engagement."""

from typing import Annotated

from crm_api.domain.insight.engagement.score import EngagementFactor
from crm_api.domain.kit.examples import NOW, example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary


class EngagementReasonRead(ReadModel):
    """A part of the score: a factor, with its points and a reason.

    Attributes:
        factor: The factor.
        points: The points; negative if they lower the score.
        because: The reason for the points, in a sentence.
        count: The number that `because` states: the days for `recent`, a count for the other
            factors. Null if the sentence states no number. A client that writes the sentence in
            another language can use this number.
    """

    model_config = example(
        factor="replies", points=10, because="The person replied 2 times.", count=2
    )

    factor: Annotated[str, Vocabulary(EngagementFactor)]
    points: int
    because: str
    count: int | None


class EngagementRead(ReadModel):
    """How engaged a person is, with its reasons.

    Attributes:
        contact_id: The id of the contact.
        score: The sum of the points, limited to 0 to 100.
        grade: `A` for a score of 80 or more, `B` from 60, `C` from 40, `D` from 20, otherwise `E`.
        reasons: The factors that have points.
        as_of: When the score was computed.
    """

    model_config = example(score=50, grade="C", as_of=NOW)

    contact_id: Id
    score: int
    grade: str
    reasons: list[EngagementReasonRead]
    as_of: Instant
