"""Read outcomes, each with its touches.

A touch is a pair: an earlier campaign message to the person, and a reply, a call or a delivery
that followed the message.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.insight.attribution.credits import RuleSet, Touch
from crm_api.domain.insight.attribution.models import TouchClass
from crm_api.platform.database import typed_rows

CALL_WITHIN = timedelta(hours=72)
"""A phone call is assigned to only one campaign message: the last message that was sent within this
time before the call."""


@dataclass(frozen=True, kw_only=True)
class CreditedOutcome:
    """An outcome of a person, such as a paid invoice, and the touches of the person.

    A touch is a pair: an earlier campaign message to the person, and a reply, a call or a delivery
    that followed the message.
    """

    id: UUID
    kind: str
    amount_cents: int | None
    occurred_at: datetime
    person: str
    """The id of the person's contact, or the id of the outcome if no contact is known."""
    touches: list[Touch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Sent:
    outcome_id: UUID
    membership_id: UUID
    campaign_id: UUID
    variant: str
    step: int
    sent_at: datetime
    delivered_at: datetime | None
    replied_at: datetime | None
    opted_out_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Call:
    outcome_id: UUID
    at: datetime


OUTCOMES = text("""
    SELECT o.id, o.kind, o.amount_cents, o.occurred_at,
           coalesce(d.merged_into, s.contact_id, o.id)::text AS person
    FROM unnest(CAST(:ids AS uuid[])) AS asked (id)
    JOIN outcome o ON o.id = asked.id
    LEFT JOIN outcome_subject s ON s.outcome_id = o.id
    LEFT JOIN contact d ON d.id = s.contact_id
""")

# The common table expression `person` contains the contact of each outcome, and the duplicates that
# were merged into the contact. A recipient's row keeps the phone number to which the message was
# sent. So `SENT` also searches for earlier phone numbers of the person, which are in the person's
# conversations.
_PEOPLE = """
    WITH asked AS MATERIALIZED (
        SELECT o.id AS outcome_id, o.occurred_at, coalesce(d.merged_into, d.id) AS head,
               s.person_ids
        FROM unnest(CAST(:ids AS uuid[])) AS wanted (id)
        JOIN outcome o ON o.id = wanted.id
        JOIN outcome_subject s ON s.outcome_id = o.id
        JOIN contact d ON d.id = s.contact_id
    ), person AS MATERIALIZED (
        SELECT a.outcome_id, a.occurred_at, a.head AS contact_id FROM asked a
        UNION
        SELECT a.outcome_id, a.occurred_at, c.id
        FROM asked a JOIN contact c ON c.merged_into = a.head
        UNION
        SELECT a.outcome_id, a.occurred_at, one.id
        FROM asked a CROSS JOIN LATERAL unnest(a.person_ids) AS one (id)
    )
"""
# `OFFSET 0` makes PostgreSQL look up each phone number in an index, independently of the statistics
# of the table. A person gets many messages and replies to few. So a message without a reply is read
# only if the rules give credit for deliveries, or if the person called.
SENT = text(f"""
    {_PEOPLE}, number AS MATERIALIZED (
        SELECT p.outcome_id, p.occurred_at, c.phone FROM person p
        JOIN contact c ON c.id = p.contact_id
        UNION
        SELECT p.outcome_id, p.occurred_at, k.phone FROM person p
        CROSS JOIN LATERAL (
            SELECT t.phone FROM conversation t WHERE t.contact_id = p.contact_id OFFSET 0) k
    )
    SELECT n.outcome_id, m.id AS membership_id, m.campaign_id,
           coalesce(v.name, m.variant::text) AS variant, m.step, m.sent_at, m.delivered_at,
           m.replied_at, m.opted_out_at
    FROM number n
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_membership r
        WHERE r.phone = n.phone AND r.sent_at <= n.occurred_at
          AND (r.replied_at IS NOT NULL OR CAST(:is_delivered AS boolean)
               OR n.outcome_id = ANY(CAST(:called AS uuid[]))) OFFSET 0) m
    JOIN person p ON p.outcome_id = n.outcome_id AND p.contact_id = m.contact_id
    LEFT JOIN campaign_variant v ON v.campaign_id = m.campaign_id AND v.position = m.variant
    WHERE m.status IN ('sent', 'delivered') AND m.sent_at <= :as_of
""")
CALLS = text(f"""
    {_PEOPLE}
    SELECT p.outcome_id, a.occurred_at AS at FROM person p
    CROSS JOIN LATERAL (
        SELECT t.occurred_at FROM activity t
        WHERE t.contact_id = p.contact_id AND t.kind = 'call' AND t.direction = 'incoming'
          AND t.occurred_at <= least(p.occurred_at, CAST(:as_of AS timestamptz)) OFFSET 0) a
""")


async def read_outcomes(
    session: AsyncSession, *, ids: Sequence[UUID], as_of: datetime, rules: Sequence[RuleSet]
) -> list[CreditedOutcome]:
    """Return outcomes with their touches, sorted by the id of the outcome.

    The touches are only candidates: the attribution rules decide which touches get a credit.

    Args:
        as_of: Messages, replies and calls after this instant are left out.
        rules: Deliveries are touches only if one of these versions gives credit for deliveries.
    """
    wanted = {"ids": list(ids)}
    found = typed_rows(CreditedOutcome, await session.execute(OUTCOMES, wanted))
    outcomes = {one.id: one for one in found}
    is_delivered = any(one.windows[TouchClass.DELIVERED] for one in rules)
    calls = typed_rows(_Call, await session.execute(CALLS, {**wanted, "as_of": as_of}))
    values = {
        **wanted,
        "as_of": as_of,
        "is_delivered": is_delivered,
        "called": list({one.outcome_id for one in calls}),
    }
    messages: dict[UUID, list[_Sent]] = defaultdict(list)
    for one in typed_rows(_Sent, await session.execute(SENT, values)):
        messages[one.outcome_id].append(one)
        touches = _touches(one, as_of=as_of, is_delivered=is_delivered)
        outcomes[one.outcome_id].touches.extend(touches)
    for call in calls:
        answered = _answered(call, messages[call.outcome_id])
        if answered is not None:
            touch = _touch(answered, TouchClass.CALLED, call.at)
            outcomes[call.outcome_id].touches.append(touch)
    return [outcomes[one] for one in sorted(outcomes)]


def _touches(sent: _Sent, *, as_of: datetime, is_delivered: bool) -> list[Touch]:
    found = []
    if is_delivered:
        found.append(_touch(sent, TouchClass.DELIVERED, sent.delivered_at or sent.sent_at))
    if sent.replied_at is not None and sent.replied_at <= as_of and sent.opted_out_at is None:
        found.append(_touch(sent, TouchClass.REPLIED, sent.replied_at))
    return found


def _answered(call: _Call, messages: Sequence[_Sent]) -> _Sent | None:
    """Return the last of the messages that were sent in the 72 hours before a phone call.

    The result is None if no message was sent in these hours.
    """
    before = [one for one in messages if call.at - CALL_WITHIN < one.sent_at <= call.at]
    return max(before, key=lambda one: (one.sent_at, one.membership_id), default=None)


def _touch(sent: _Sent, touch_class: TouchClass, at: datetime) -> Touch:
    return Touch(
        membership_id=sent.membership_id,
        campaign_id=sent.campaign_id,
        variant=sent.variant,
        step=sent.step,
        touch_class=touch_class,
        at=at,
    )
