"""Mark the recipients of campaign messages who replied."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.platform.database import UnitOfWork

REPLIED_TO = """
        SELECT m.campaign_id, m.contact_id, m.step
        FROM (
            SELECT a.membership_id FROM send_attempt a
            WHERE a.phone = said.phone AND a.line_id = said.line_id AND a.kind = 'campaign'
              AND a.status IN ('calling', 'unknown', 'parked', 'sent', 'failed', 'delivered')
              AND a.called_at <= said.at + make_interval(secs => :skew)
              AND a.created_at > said.at - interval '72 hours'
            ORDER BY a.created_at DESC LIMIT 1
        ) newest
        JOIN campaign_membership m ON m.id = newest.membership_id"""
"""SQL query for the recipient to whose message a person replied.

The enclosing statement has the reply as a row ``said`` (``phone``, ``line_id``, ``at``). A reply
belongs to the newest campaign message that the number got in the 72 hours before the reply, even if
the provider's response for that message is not recorded yet. ``skew`` is the largest difference
between the clocks of this service and the provider, in seconds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepliedTo:
    """The campaign message to which a person replied; ``contact_id`` is its recipient."""

    campaign_id: UUID
    contact_id: UUID
    step: int


@dataclass(frozen=True, kw_only=True)
class PersonReply:
    """A reply to a campaign message, and whether it is an opt-out or shows interest."""

    to: RepliedTo
    at: datetime
    is_opt_out: bool = False
    is_interested: bool = False


# Statistics count people, so the recipient of the first step is marked too. If a person replies
# several times, the earliest reply counts, in any order of arrival.
NOTE_REPLIES = text("""
    UPDATE campaign_membership m
    SET replied_at = least(m.replied_at, x.replied_at),
        opted_out_at = least(m.opted_out_at, x.opted_out_at),
        is_interested = m.is_interested OR x.is_interested, updated_at = :now
    FROM (
        SELECT r.campaign_id, r.contact_id, marked.step, min(r.at) AS replied_at,
               min(r.at) FILTER (WHERE r.is_opt_out) AS opted_out_at,
               bool_or(r.is_interested) AS is_interested
        FROM unnest(CAST(:campaign_ids AS uuid[]), CAST(:contact_ids AS uuid[]),
                    CAST(:steps AS integer[]), CAST(:ats AS timestamptz[]),
                    CAST(:opt_outs AS boolean[]), CAST(:interests AS boolean[]))
            AS r (campaign_id, contact_id, step, at, is_opt_out, is_interested)
        CROSS JOIN LATERAL (VALUES (0), (r.step)) AS marked (step)
        GROUP BY r.campaign_id, r.contact_id, marked.step
    ) x
    WHERE m.campaign_id = x.campaign_id AND m.contact_id = x.contact_id AND m.step = x.step
""")


async def note_replies(uow: UnitOfWork, replies: Sequence[PersonReply], *, now: datetime) -> None:
    """Mark the recipients to whose messages people replied.

    The recipient's ``replied_at`` becomes the instant of the person's earliest reply.
    """
    if not replies:
        return
    values = {
        "campaign_ids": [reply.to.campaign_id for reply in replies],
        "contact_ids": [reply.to.contact_id for reply in replies],
        "steps": [reply.to.step for reply in replies],
        "ats": [reply.at for reply in replies],
        "opt_outs": [reply.is_opt_out for reply in replies],
        "interests": [reply.is_interested for reply in replies],
        "now": now,
    }
    await uow.session.execute(NOTE_REPLIES, values)
