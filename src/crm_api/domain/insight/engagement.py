"""Compute how engaged a contact is: a score from 0 to 100, with the reasons for the score."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.kit.examples import NOW, example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.people.contacts.service import get_contact
from crm_api.platform.database import UnitOfWork, typed_row

HALF_LIFE = timedelta(days=30)
"""The points for the last reply or call are halved after each period of this length."""
_RECENT, _EACH_REPLY, _MOST_REPLIES = 40, 5, 20
_BOOKED, _BOUGHT = 15, 25
_IGNORED, _MOST_IGNORED = -3, -21
HIGHEST = 100
_GRADES = ((80, "A"), (60, "B"), (40, "C"), (20, "D"))


class EngagementFactor(StrEnum):
    """A fact about a person that makes the person's engagement score higher or lower.

    Attributes:
        RECENT: 40 points right after a reply or call, halved every 30 days.
        REPLIES: 5 points for each reply, at most 20 points.
        APPOINTMENTS: 15 points if there is at least one appointment or quote.
        BOUGHT: 25 points if there is at least one done job or paid invoice.
        IGNORED: -3 points for each campaign message since the last reply or call, down to -21
            points.
        OPTED_OUT: The person opted out, so the score is 0.
    """

    RECENT = "recent"
    REPLIES = "replies"
    APPOINTMENTS = "appointments"
    BOUGHT = "bought"
    IGNORED = "ignored"
    OPTED_OUT = "opted_out"


@dataclass(frozen=True, kw_only=True)
class EngagementFacts:
    """The facts from which the score of a person is computed.

    Attributes:
        last_heard_at: When the person last replied or called; None if never.
        replies: The number of replies.
        appointments: The number of appointments and quotes.
        bought: The number of done jobs and paid invoices.
        ignored: The number of campaign messages to the person since ``last_heard_at``.
    """

    last_heard_at: datetime | None
    replies: int
    appointments: int
    bought: int
    ignored: int
    is_opted_out: bool = False


class EngagementReasonRead(ReadModel):
    """One reason for the score: a factor, its points, and a sentence that explains the points.

    Attributes:
        factor: What the points are for, such as `replies`.
        points: The points that the factor adds to the score; negative if they lower the score.
        because: The reason for the points, in a sentence.
        count: The number on which `because` is based, for clients that write their own sentence.
            `recent` counts days since the last reply or call; other factors count replies, messages
            and so on. Null for `opted_out`.
    """

    model_config = example(
        factor="replies", points=10, because="The person replied 2 times.", count=2
    )

    factor: Annotated[str, Vocabulary(EngagementFactor)]
    points: int
    because: str
    count: int | None


@dataclass(frozen=True, kw_only=True)
class Engagement:
    """How engaged a contact is: a score from 0 to 100, a grade from A to E, and the reasons."""

    score: int
    grade: str
    reasons: list[EngagementReasonRead]


def score_engagement(facts: EngagementFacts, *, now: datetime) -> Engagement:
    """Return the engagement score of a person, from 0 to 100, with its reasons.

    The score is the sum of the points of all reasons; at least 0 and at most 100.
    """
    reasons = [one for one in _reasons(facts, now=now) if one.points]
    score = max(0, min(HIGHEST, sum(one.points for one in reasons)))
    if facts.is_opted_out:
        reasons.append(
            EngagementReasonRead(
                factor=EngagementFactor.OPTED_OUT,
                points=-score,
                because="The person opted out and gets no messages.",
                count=None,
            )
        )
        score = 0
    grade = next((name for least, name in _GRADES if score >= least), "E")
    return Engagement(score=score, grade=grade, reasons=reasons)


def _reasons(facts: EngagementFacts, *, now: datetime) -> list[EngagementReasonRead]:
    found = []
    if facts.last_heard_at is not None:
        age = max(now - facts.last_heard_at, timedelta(0))
        points = round(_RECENT * 0.5 ** (age / HALF_LIFE))
        ago = {0: "less than a day ago", 1: "a day ago"}.get(age.days, f"{age.days} days ago")
        because = f"The last reply or call was {ago}."
        found.append((EngagementFactor.RECENT, points, because, age.days))
    replies = min(_EACH_REPLY * facts.replies, _MOST_REPLIES)
    times = "once" if facts.replies == 1 else f"{facts.replies} times"
    because = f"The person replied {times}."
    found.append((EngagementFactor.REPLIES, replies, because, facts.replies))
    if facts.appointments:
        because = f"Appointments and quotes: {facts.appointments}."
        found.append((EngagementFactor.APPOINTMENTS, _BOOKED, because, facts.appointments))
    if facts.bought:
        because = f"Done jobs and paid invoices: {facts.bought}."
        found.append((EngagementFactor.BOUGHT, _BOUGHT, because, facts.bought))
    ignored = max(_IGNORED * facts.ignored, _MOST_IGNORED)
    because = f"Campaign messages without a reply: {facts.ignored}."
    found.append((EngagementFactor.IGNORED, ignored, because, facts.ignored))
    return [
        EngagementReasonRead(factor=factor, points=points, because=because, count=count)
        for factor, points, because, count in found
    ]


OPTED_OUT = "opted_out"

# The common table expression `person` contains the contact, and the duplicates that were merged
# into it.
FACTS = text("""
    WITH person AS MATERIALIZED (
        SELECT c.id, c.phone FROM contact c WHERE c.id = :contact_id
        UNION ALL
        SELECT c.id, c.phone FROM contact c WHERE c.merged_into = :contact_id
    ), heard AS MATERIALIZED (
        SELECT a.kind, a.occurred_at FROM person p
        JOIN activity a ON a.contact_id = p.id AND a.direction = 'incoming'
    ), outcome_of AS MATERIALIZED (
        SELECT o.kind FROM person p
        JOIN outcome_subject s ON s.contact_id = p.id
        JOIN outcome o ON o.id = s.outcome_id
        WHERE NOT EXISTS (SELECT FROM outcome r WHERE r.reverses_id = o.id)
    )
    SELECT (SELECT max(h.occurred_at) FROM heard h) AS last_heard_at,
           (SELECT count(*) FROM heard h WHERE h.kind = 'message') AS replies,
           (SELECT count(*) FROM outcome_of o
            WHERE o.kind IN ('appointment_booked', 'appointment_held', 'quote_sent',
                             'quote_approved')) AS appointments,
           (SELECT count(*) FROM outcome_of o
            WHERE o.kind IN ('job_done', 'invoice_paid')) AS bought,
           (SELECT count(*) FROM person p JOIN campaign_membership m ON m.phone = p.phone
            WHERE m.status IN ('sent', 'delivered')
              AND m.sent_at > coalesce((SELECT max(h.occurred_at) FROM heard h), '-infinity'))
               AS ignored
""")


async def read_engagement(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> Engagement:
    """Return how engaged a contact is: a score from 0 to 100, with its reasons.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    found = await get_contact(uow, contact_id=contact_id, now=now)
    rows = await uow.session.execute(FACTS, {"contact_id": found.contact.id})
    facts = typed_row(EngagementFacts, rows.one())
    return score_engagement(replace(facts, is_opted_out=OPTED_OUT in found.flags), now=now)


class EngagementRead(ReadModel):
    """How engaged a person is: a score, its grade and its reasons.

    Attributes:
        contact_id: The id of the contact.
        score: The sum of the points of all reasons, limited to 0 to 100.
        grade: `A` for a score of 80 or more, `B` from 60, `C` from 40, `D` from 20, otherwise `E`.
        reasons: The factors whose points are not 0, and `opted_out` if the person opted out.
        as_of: When the score was computed.
    """

    model_config = example(score=50, grade="C", as_of=NOW)

    contact_id: Id
    score: int
    grade: str
    reasons: list[EngagementReasonRead]
    as_of: Instant
