"""Read the facts about a contact, and compute its engagement."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.insight.engagement.score import (
    Engagement,
    EngagementFacts,
    score_engagement,
)
from crm_api.domain.people.contacts.service import get_contact
from crm_api.platform.database import UnitOfWork, typed_row

OPTED_OUT = "opted_out"

# The contact and the duplicates that were merged into it.
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


@dataclass(frozen=True, slots=True)
class _Facts:
    last_heard_at: datetime | None
    replies: int
    appointments: int
    bought: int
    ignored: int


async def read_engagement(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> Engagement:
    """Return the engagement of a contact, computed now.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    found = await get_contact(uow, contact_id=contact_id, now=now)
    rows = await uow.session.execute(FACTS, {"contact_id": found.contact.id})
    facts = typed_row(_Facts, rows.one())
    return score_engagement(
        EngagementFacts(
            last_heard_at=facts.last_heard_at,
            replies=facts.replies,
            appointments=facts.appointments,
            bought=facts.bought,
            ignored=facts.ignored,
            is_opted_out=OPTED_OUT in found.flags,
        ),
        now=now,
    )
