"""Response models of engagement."""

from typing import Annotated

from crm_api.domain.insight.engagement.score import EngagementFactor
from crm_api.domain.kit.examples import NOW, example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary


class EngagementReasonRead(ReadModel):
    """The points of a factor.

    Attributes:
        factor: What moves the score.
        points: The points; negative if they lower the score.
        because: Why, in a sentence.
        count: The number in `because`, for a sentence in another language: days for `recent`, else
            how many. Null without a number.
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
        score: From 0 to 100: the sum of the points, within these bounds.
        grade: `A` from 80, `B` from 60, `C` from 40, `D` from 20, else `E`.
        reasons: The factors with points.
        as_of: When the score was computed.
    """

    model_config = example(score=50, grade="C", as_of=NOW)

    contact_id: Id
    score: int
    grade: str
    reasons: list[EngagementReasonRead]
    as_of: Instant
