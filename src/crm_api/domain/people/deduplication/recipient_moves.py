"""SQL that moves recipients when contacts are merged, and moves them back when a merge is undone.

A recipient is a row of ``campaign_membership``: one contact, and one message of a campaign.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.deduplication.tracks import Member, TrackVerdict

# Campaigns are locked before their recipients, as in pausing and cancelling, so that two
# transactions cannot deadlock. The lock is needed because a zone key (the states and time zones in
# which a person may live) may be added to ``campaign.zone_keys``. A recipient whose zone key is
# missing there never gets a message.
_LOCK_CAMPAIGNS = text("""
    SELECT c.id FROM campaign c
    WHERE c.id IN (SELECT m.campaign_id FROM campaign_membership m
                   WHERE m.phone = ANY(CAST(:phones AS text[])))
    ORDER BY c.id FOR NO KEY UPDATE
""")


async def lock_campaigns(session: AsyncSession, *, phones: Collection[str]) -> list[UUID]:
    """Lock the campaigns that have recipients with these phone numbers; return the campaign ids.

    The campaigns are locked in the order of their ids.
    """
    found = await session.scalars(_LOCK_CAMPAIGNS, {"phones": list(phones)})
    return list(found)


_ADD_ZONE = text("""
    UPDATE campaign c SET zone_keys = array_append(c.zone_keys, :zone_key)
    WHERE c.id = ANY(CAST(:campaign_ids AS uuid[])) AND c.status IN
          ('scheduled', 'running', 'paused', 'blocked')
      AND NOT c.zone_keys @> ARRAY[CAST(:zone_key AS text)]
""")


async def add_zone(session: AsyncSession, *, campaign_ids: Collection[UUID], zone_key: str) -> None:
    """Add a zone key to campaigns, so that recipients with this zone key can get messages.

    A zone key is a text with the states and time zones in which a person may live. Only campaigns
    that are scheduled, running, paused or blocked are changed.
    """
    values = {"campaign_ids": list(campaign_ids), "zone_key": zone_key}
    await session.execute(_ADD_ZONE, values)


_LOCK_MEMBERS = text("""
    SELECT m.id, m.campaign_id, m.step, m.contact_id, m.phone, m.status, m.sent_at
    FROM campaign_membership m
    WHERE m.id IN (
        SELECT n.id FROM campaign_membership n WHERE n.phone = ANY(CAST(:phones AS text[]))
        UNION
        SELECT n.id FROM campaign c
        CROSS JOIN generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
        JOIN campaign_membership n
          ON n.campaign_id = c.id AND n.step = s.step
         AND n.contact_id = ANY(CAST(:contact_ids AS uuid[]))
        WHERE c.id = ANY(CAST(:campaign_ids AS uuid[])))
    ORDER BY m.id FOR NO KEY UPDATE
""")


async def lock_members(
    session: AsyncSession,
    *,
    campaign_ids: Collection[UUID],
    contact_ids: Collection[UUID],
    phones: Collection[str],
) -> list[Member]:
    """Lock and return the recipients that a merge may change.

    These recipients are:

    - all with a number in ``phones``;
    - all of the contacts ``contact_ids`` in the campaigns ``campaign_ids``.
    """
    values = {
        "campaign_ids": list(campaign_ids),
        "contact_ids": list(contact_ids),
        "phones": list(phones),
    }
    rows = await session.execute(_LOCK_MEMBERS, values)
    return [Member(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name begins so


_SKIP = text("""
    UPDATE campaign_membership m
    SET status = 'skipped', skip_reason = 'merged', updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
""")

_END = text("""
    UPDATE campaign_membership m SET ended_by = 'merged', updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
""")

_MOVE = text("""
    UPDATE campaign_membership m SET contact_id = :contact_id, updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
""")

_FOLLOW = text("""
    UPDATE campaign_membership m
    SET contact_id = :contact_id, phone = :phone, zone_key = :zone_key, updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
""")


async def apply_verdict(
    session: AsyncSession,
    verdict: TrackVerdict,
    *,
    contact_id: UUID,
    phone: str,
    zone_key: str,
    now: datetime,
) -> None:
    """Change recipients of merged contacts, as ``judge_tracks`` has decided.

    The caller must have locked the rows of these recipients. ``contact_id``, ``phone`` and
    ``zone_key`` belong to the primary contact.
    """
    owner = {"contact_id": contact_id, "now": now}
    for statement, ids, values in (
        (_SKIP, verdict.skipped, {"now": now}),
        (_END, verdict.ended, {"now": now}),
        (_MOVE, verdict.moved, owner),
        (_FOLLOW, verdict.following, owner | {"phone": phone, "zone_key": zone_key}),
    ):
        if ids:
            await session.execute(statement, values | {"ids": ids})


_MOST_STEPS = 21


# The undo of a merge moves recipients back to the former duplicate. If a message to one recipient
# of the contact in a campaign was sent, or may have been sent, to another number, none of the
# contact's recipients in this campaign is moved back.
_RETURN_MEMBERS = text("""
    UPDATE campaign_membership m
    SET contact_id = :to, updated_at = :now,
        phone = CASE WHEN m.phone = :phone_of THEN :phone ELSE m.phone END,
        zone_key = CASE WHEN m.phone = :phone_of THEN :zone_key ELSE m.zone_key END
    FROM (
        SELECT t.id, t.campaign_id, t.step FROM campaign_membership t
        WHERE t.contact_id = :of AND t.campaign_id = ANY(CAST(:campaign_ids AS uuid[]))
          AND t.step = ANY(CAST(:steps AS smallint[]))
          AND t.id <> ALL(CAST(:kept_ids AS uuid[]))
    ) mine
    WHERE m.id = mine.id
      AND NOT EXISTS (
          SELECT 1 FROM campaign_membership w JOIN send_attempt a ON a.membership_id = w.id
          WHERE w.campaign_id = m.campaign_id AND w.contact_id = :of
            AND w.step = ANY(CAST(:steps AS smallint[]))
            AND w.id <> ALL(CAST(:kept_ids AS uuid[]))
            AND a.phone <> :phone AND a.status NOT IN ('released', 'refused', 'not_found'))
      AND NOT EXISTS (
          SELECT 1 FROM campaign_membership w
          WHERE w.campaign_id = m.campaign_id AND w.step = m.step AND w.id <> m.id
            AND w.contact_id = :to)
      AND NOT EXISTS (
          SELECT 1 FROM campaign_membership w
          WHERE w.campaign_id = m.campaign_id AND w.step = m.step AND w.id <> m.id
            AND w.phone = :phone)
    RETURNING m.id
""")


async def return_members(
    session: AsyncSession,
    *,
    of: UUID,
    phone_of: str,
    to: UUID,
    phone: str,
    zone_key: str,
    campaign_ids: Collection[UUID],
    kept_ids: Collection[UUID],
    now: datetime,
) -> list[UUID]:
    """Move campaign recipients from the primary contact back to a duplicate, to undo a merge.

    A recipient is not moved in these cases:

    - Its id is in ``kept_ids``.
    - A message of the same campaign was sent, or was perhaps sent, to the primary at a number other
      than ``phone``. Messages to recipients in ``kept_ids`` do not count.
    - The same step of the campaign already has a recipient with the duplicate's id or number.

    Args:
        of: The id of the primary contact.
        phone_of: The primary's number. If a moved recipient has this number, the recipient gets
            ``phone`` and ``zone_key`` instead.
        to: The id of the duplicate.
        phone: The duplicate's number.
        campaign_ids: Only recipients in these campaigns are moved.

    Returns:
        The ids of the moved recipients.
    """
    values = {
        "of": of,
        "phone_of": phone_of,
        "to": to,
        "phone": phone,
        "zone_key": zone_key,
        "campaign_ids": list(campaign_ids),
        "kept_ids": list(kept_ids),
        "steps": list(range(_MOST_STEPS)),
        "now": now,
    }
    return list(await session.scalars(_RETURN_MEMBERS, values))


# A recipient stays skipped if its message could reach a person twice, or after a later message:
#
# - The number got this message, or a later message of the campaign.
# - Another merge is still in force, and the person gets the message at the number of that merge's
#   duplicate.
_REVIVE = text("""
    UPDATE campaign_membership m
    SET status = CASE WHEN x.status = 'review' THEN 'review' ELSE 'pending' END,
        skip_reason = NULL, skipped_at = NULL, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[])) AS x (id, status), campaign k,
         contact c
    WHERE m.id = x.id AND m.status = 'skipped' AND m.skip_reason = 'merged'
      AND k.id = m.campaign_id AND k.status IN ('scheduled', 'running', 'paused', 'blocked')
      AND c.id = m.contact_id AND c.phone = m.phone AND c.deleted_at IS NULL
      AND NOT EXISTS (
          SELECT 1 FROM send_attempt a JOIN campaign_membership w ON w.id = a.membership_id
          WHERE a.phone = m.phone AND w.campaign_id = m.campaign_id AND w.step >= m.step
            AND a.called_at IS NOT NULL AND a.status NOT IN ('released', 'refused', 'not_found'))
      AND NOT EXISTS (
          SELECT 1 FROM contact d JOIN campaign_membership w ON w.contact_id = d.id
          WHERE d.merged_into = m.contact_id AND w.campaign_id = m.campaign_id AND w.step = m.step
            AND (w.sent_at IS NOT NULL OR w.status NOT IN ('skipped', 'cancelled', 'failed')))
    RETURNING m.id
""")


async def revive_skipped_members(
    session: AsyncSession, *, skipped: Mapping[UUID, str], now: datetime
) -> list[UUID]:
    """Set recipients that a merge skipped to ``pending`` or ``review``, to undo the merge.

    The contacts must be separate again. A recipient stays skipped if the campaign has ended, if its
    contact has another number now, if the person already got the message, or if the number got this
    or a later message of the campaign.

    Args:
        skipped: The ids of the recipients, with their statuses before the merge.

    Returns:
        The ids of the changed recipients. The caller derives their status.
    """
    if not skipped:
        return []
    values = {"ids": list(skipped), "statuses": list(skipped.values()), "now": now}
    return list(await session.scalars(_REVIVE, values))
