"""Link people's replies to the campaign messages to which they replied."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.database import UnitOfWork


@dataclass(frozen=True, kw_only=True)
class PersonReply:
    """A message that a person sent to a line, and whether it is an opt-out or shows interest."""

    phone: str
    line_id: UUID
    at: datetime
    is_opt_out: bool = False
    is_interested: bool = False


# A reply belongs to the newest campaign message to the number, even if the provider's answer for
# that message is not recorded yet. Statistics count people, so the recipient of the first step is
# marked too. If a person replies several times, the earliest reply counts, in any order of arrival.
NOTE_REPLIES = text("""
    WITH replied AS (
        SELECT said.position, said.at, said.is_opt_out, said.is_interested, m.campaign_id,
               m.contact_id, m.step
        FROM unnest(CAST(:positions AS integer[]), CAST(:phones AS text[]),
                    CAST(:line_ids AS uuid[]), CAST(:ats AS timestamptz[]),
                    CAST(:opt_outs AS boolean[]), CAST(:interests AS boolean[]))
            AS said (position, phone, line_id, at, is_opt_out, is_interested)
        CROSS JOIN LATERAL (
            SELECT a.membership_id FROM send_attempt a
            WHERE a.phone = said.phone AND a.line_id = said.line_id AND a.kind = 'campaign'
              AND a.status IN ('calling', 'unknown', 'parked', 'sent', 'failed', 'delivered')
              AND a.called_at <= said.at + make_interval(secs => :skew)
              AND a.created_at > said.at - interval '72 hours'
            ORDER BY a.created_at DESC LIMIT 1
        ) newest
        JOIN campaign_membership m ON m.id = newest.membership_id
    ), noted AS (
        UPDATE campaign_membership m
        SET replied_at = least(m.replied_at, x.replied_at),
            opted_out_at = least(m.opted_out_at, x.opted_out_at),
            is_interested = m.is_interested OR x.is_interested, updated_at = :now
        FROM (
            SELECT r.campaign_id, r.contact_id, marked.step, min(r.at) AS replied_at,
                   min(r.at) FILTER (WHERE r.is_opt_out) AS opted_out_at,
                   bool_or(r.is_interested) AS is_interested
            FROM replied r CROSS JOIN LATERAL (VALUES (0), (r.step)) AS marked (step)
            GROUP BY r.campaign_id, r.contact_id, marked.step
        ) x
        WHERE m.campaign_id = x.campaign_id AND m.contact_id = x.contact_id AND m.step = x.step
    )
    SELECT position, campaign_id FROM replied
""")


async def note_replies(
    uow: UnitOfWork, replies: Sequence[PersonReply], *, times: SendTimes, now: datetime
) -> list[UUID | None]:
    """Link each reply to the last campaign message that the number got in the 72 hours before.

    The recipient's ``replied_at`` becomes the instant of the person's earliest reply.

    Returns:
        The campaign of each reply, in the order of ``replies``; None if no campaign sent a message
        to the number in that time.
    """
    if not replies:
        return []
    result = await uow.session.execute(
        NOTE_REPLIES,
        {
            "positions": list(range(len(replies))),
            "phones": [reply.phone for reply in replies],
            "line_ids": [reply.line_id for reply in replies],
            "ats": [reply.at for reply in replies],
            "opt_outs": [reply.is_opt_out for reply in replies],
            "interests": [reply.is_interested for reply in replies],
            "skew": times.skew.total_seconds(),
            "now": now,
        },
    )
    campaigns = {row.position: row.campaign_id for row in result}
    return [campaigns.get(position) for position in range(len(replies))]
