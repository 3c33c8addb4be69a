"""Store which recipients replied, and end the follow-ups of people who replied or called.

Follow-ups end in the transaction that applies the event of the reply or call. Another module
creates follow-ups: when a message is recorded as sent, ``derive.DERIVE`` creates the recipient's
next step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.messaging.sends import derive
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.messaging.sends.vocabulary import EndedBy
from crm_api.platform.database import UnitOfWork

# Selects the recipients whose follow-ups may end, by the phone numbers of the person. If the number
# of a reply belongs to a merged contact, the reply is treated as a reply of the contact into which
# it was merged. `OFFSET 0` forces one index look-up per number. Without it and without statistics,
# the planner would read all recipients.
_HEARD = """
    SELECT t.phone, t.at FROM unnest(CAST(:phones AS text[]), CAST(:ats AS timestamptz[]))
        AS t (phone, at)
    UNION
    SELECT p.phone, t.at FROM unnest(CAST(:phones AS text[]), CAST(:ats AS timestamptz[]))
        AS t (phone, at)
    JOIN contact d ON d.phone = t.phone JOIN contact p ON p.id = d.merged_into
"""
_FOLLOWED = """
    SELECT m.id, m.campaign_id, m.contact_id, heard.at
    FROM heard CROSS JOIN LATERAL (
        SELECT r.id, r.campaign_id, r.contact_id, r.ended_by
        FROM campaign_membership r WHERE r.phone = heard.phone OFFSET 0
    ) m JOIN campaign c ON c.id = m.campaign_id
    WHERE m.ended_by IS NULL AND c.follow_ups <> '[]'
      AND c.status IN ('scheduled', 'running', 'paused', 'blocked')
"""

# This statement locks the rows of the recipients whose follow-ups may end. Meanwhile, another
# transaction may record a sent message of such a recipient. That transaction locks the same row and
# adds the row of the next step (the next follow-up). There are two cases:
#
# - The other transaction locks the row first. Then this statement waits until it commits. The
#   statement `END` runs after this statement, so it sees the new step.
# - The other transaction locks the row later. Then it waits until this transaction commits. It sees
#   the mark `ended_by` in the row, and adds no step.
LOCK_HEARD = text(f"""
    WITH heard AS MATERIALIZED ({_HEARD}), followed AS MATERIALIZED ({_FOLLOWED})
    SELECT m.id FROM campaign_membership m WHERE m.id = ANY(ARRAY(SELECT id FROM followed))
    ORDER BY m.id FOR NO KEY UPDATE
""")

# Follow-ups end only in a campaign that had already sent a message to one of the person's numbers
# when the person replied or called. So an old event that arrives late ends nothing. A claim
# (reservation for sending) at the same time waits for the lock of this row, or the gate (the last
# check before the call of the provider) finds the mark `ended_by`. Because of `LIMIT`, the messages
# are looked up once per recipient. As a join, the query compared each of 100 recipients with every
# recipient of the campaign (650,000 pages at 4,300 recipients).
END = text(f"""
    WITH heard AS MATERIALIZED ({_HEARD}), followed AS MATERIALIZED ({_FOLLOWED})
    UPDATE campaign_membership m
    SET ended_by = :why, updated_at = :now,
        status = CASE WHEN m.step > 0 AND m.status IN ('pending', 'review', 'held')
                      THEN 'skipped' ELSE m.status END,
        skip_reason = CASE WHEN m.step > 0 AND m.status IN ('pending', 'review', 'held')
                           THEN :why ELSE m.skip_reason END
    FROM followed w
    WHERE m.id = w.id AND m.ended_by IS NULL AND (
        SELECT true FROM campaign_membership f JOIN send_attempt a ON a.membership_id = f.id
        WHERE f.campaign_id = w.campaign_id AND f.step = 0
          AND f.contact_id = ANY(ARRAY(
              SELECT w.contact_id
              UNION ALL SELECT d.id FROM contact d WHERE d.merged_into = w.contact_id))
          AND a.called_at <= w.at + make_interval(secs => :skew)
          AND a.status NOT IN ('released', 'refused')
        LIMIT 1)
    RETURNING m.id
""")

TAKE_BACK = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        FROM campaign_membership m
        WHERE a.is_open AND a.status = 'claimed'
          AND a.phone IN (
              SELECT unnest(CAST(:phones AS text[]))
              UNION ALL
              SELECT p.phone FROM contact d JOIN contact p ON p.id = d.merged_into
              WHERE d.phone = ANY(CAST(:phones AS text[])))
          AND m.id = a.membership_id AND m.step > 0 AND m.ended_by IS NOT NULL
        RETURNING a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t SET status = 'queued', updated_at = :now
        FROM freed f WHERE t.id = f.activity_id AND t.status = 'sending'
    )
    SELECT membership_id FROM freed
""")


async def end_all_follow_ups(
    uow: UnitOfWork,
    heard: Mapping[str, datetime],
    *,
    why: EndedBy,
    times: SendTimes,
    now: datetime,
) -> None:
    """End the follow-ups of each campaign for people who replied or called after its first message.

    The recipients are locked first, the follow-ups are ended second, and claimed follow-ups are
    withdrawn last. In any other order, a follow-up that another transaction creates or claims at
    the same time would still be sent.

    Args:
        heard: For each phone number, when the person last replied or called.
    """
    if not heard:
        return
    people = {"phones": list(heard), "ats": list(heard.values())}
    if not (await uow.session.execute(LOCK_HEARD, people)).all():
        return
    values = {**people, "why": why.value, "skew": times.skew.total_seconds(), "now": now}
    if not (await uow.session.execute(END, values)).all():
        return
    freed = await uow.session.execute(TAKE_BACK, {"phones": list(heard), "now": now})
    await derive.derive_recipients(uow.session, membership_ids=list(freed.scalars()), now=now)


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
    """The campaign message to which a person replied.

    Attributes:
        step: 0 for the first message of the campaign, 1 for the first follow-up, and so on.
    """

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


# A person has one row for each step of a campaign: step 0 is the first message, and each follow-up
# is a further step. The statement changes two rows: the row of the step that the person answered,
# and the row of step 0, because statistics about people read only step 0. If a person replies
# several times, `replied_at` becomes the time of the earliest reply. The replies may be stored in
# any order.
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
    """Store in recipients' rows that the people replied, opted out, or showed interest.

    A reply changes the row of the message that it answers, and the row of the campaign's first
    message. After several replies, ``replied_at`` is the time of the earliest one.
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
